"""The mean of the weights of an export's networks, and what it loses and gains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from search.study_setup.data_folder import progress_line
from search.study_state.study_targets import read_targets
from search.workflow.single.card import SingleFacts
from search.workflow.single.comparison import Comparison, Single, compare
from search.workflow.single.distil import oof_of
from search.workflow.single.exported_ensemble import ExportedModel
from search.workflow.single.held_out import batches_of, score_held_out
from search.workflow.single.nested_scores import nested_scores, single_blend
from trainer.conversion.single.ingredients import Ingredient
from trainer.conversion.single.soup import SoupMaker
from trainer.evaluation.temperature_scaling import fit_temperature
from trainer.inference.model_folder import Member

MOST_TEST_IMAGES = 1000
"""Test images, evenly spaced, on which the single network is compared with the ensemble."""
STATISTICS_IMAGES = 512
"""Training images from which running statistics are computed: means, which more of them hardly change."""
SPEED_IMAGES = 64
"""Training images on which the speed is measured where there are no test images."""


def make_soup(export: ExportedModel, ingredients: Sequence[Ingredient], console: Console) -> tuple[Single, SingleFacts]:
    """The mean of the weights of ``ingredients``, and what it loses and gains."""
    member = next(m for m in export.model.members if ingredients[0].weights in m.weights)
    blend = single_blend(export.model.blend)
    maker = SoupMaker(member, several_labels=blend.several_labels)
    stored = export.pixels(member, with_test=True).train
    chosen_rows: list[int] = []

    def pixels(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.asarray(stored[rows])

    with progress_line(console, "Averaging weights …") as update:
        held_out = score_held_out(
            maker,
            ingredients,
            export.folds(),
            lambda: nested_scores(export),
            pixels,
            _spread,
            on_step=lambda done, total: update(f"Held-out images: {done} of {total} parts"),
        )

        def training() -> list[NDArray[np.uint8]]:
            rows = _spread(np.arange(len(stored)))
            chosen_rows.extend(rows.tolist())
            return batches_of(rows, pixels)

        single = Single(member=member, state=maker.soup(ingredients, training), blend=blend)
        update("Comparing with the ensemble …")
        comparison, speed = compare_with(export, single)
    return single, SingleFacts(
        study=export.study.name,
        metric=export.study.metric,
        networks=export.networks,
        averaged=len(ingredients),
        statistics=len(chosen_rows),
        held_out=held_out,
        comparison=comparison,
        speed=speed,
    )


def _spread(rows: NDArray[np.int64], most: int = STATISTICS_IMAGES) -> NDArray[np.int64]:
    """At most ``most`` of the rows, in random order, so that every batch has images of all classes."""
    return np.random.default_rng(0).permutation(rows)[:most]


def compare_with(export: ExportedModel, single: Single) -> tuple[Comparison | None, Comparison]:
    """The comparison on test images (None without any), and that with the measured speed."""
    tested = len(export.images.test_ids) > 0
    available = len(export.images.test_ids) if tested else len(export.images.train_ids)
    most = MOST_TEST_IMAGES if tested else SPEED_IMAGES
    rows = np.unique(np.linspace(0, available - 1, min(most, available), dtype=np.int64))

    def pixels(member: Member, chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
        opened = export.pixels(member, with_test=True)
        return np.asarray((opened.test if tested else opened.train)[chosen])

    temperature = 1.0
    if tested and export.oof_file.is_file():
        temperature = fit_temperature(read_targets(export.stores, export.study), oof_of(export))
    found = compare(export.model, single, pixels, rows, temperature)
    return (found if tested else None), found
