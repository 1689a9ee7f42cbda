"""The networks of an export as teachers: which labels they give the test images, and how often these are right.

The pseudo-labels on which a fold trains come from the networks of the export that held out the same fold. So nothing of
the images that a fold holds out reaches its training part, neither as an image nor by way of a label. Networks of other
folds have trained on these images, and so have those of other splits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from search.study_setup.data_folder import progress_line
from search.study_setup.rules import TEST_IMAGES, AgainstTheRules
from search.study_setup.second_study import LINES
from search.workflow.second_study.method import CannotTrainAgain, Method, advice_to_fine_tune
from search.workflow.single.exported_ensemble import ExportedModel
from search.workflow.single.held_out import held_out_fold
from storage.records.study_rows import PseudoLabels
from storage.values import SEARCH_SPLIT
from studies.spec import PSEUDO_LABELS
from trainer.conversion.single.soup import SoupMaker
from trainer.evaluation.pseudo_labels import (
    NO_LABEL,
    PROBABILITY,
    Precision,
    judge_gate,
    most_labels,
    pseudo_labels,
)
from trainer.inference.model_folder import Member
from trainer.inference.networks.torch_networks import read_weights
from trainer.recipe.recipe import LINEAR_PROBE

UNLIKE = 0.7
"""Ratio of the shares of test images and of held-out training images that pass the gate, below which test images seem
to look different."""
FEWEST_TEACHERS = 2
"""Networks of a fold's committee: one alone is always unanimous."""


class CannotLabel(CannotTrainAgain):
    """The networks of an export cannot give the test images labels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenLabels:
    """Pseudo-labels for the trainings of the folds of the search, with their estimated precision."""

    values: NDArray[np.int64]
    """By fold, the class of each test image or `NO_LABEL`: int64 ``(K, m)``."""
    teachers: int
    """Networks of each fold's committee."""
    precision: Precision
    """Of the same gate on the training images, each judged by the committee that has not seen it."""

    @property
    def by_fold(self) -> list[int]:
        """Number of labels for each fold."""
        return [int(count) for count in (self.values != NO_LABEL).sum(axis=1)]

    def lines(self) -> list[str]:
        """What the labels are and how good, a sentence each."""
        least, most = min(self.by_fold), max(self.by_fold)
        counts = f"{least}" if least == most else f"{least} to {most}"
        of_test = float(np.mean(self.by_fold)) / self.values.shape[1]
        of_training = self.precision.accepted / max(1, self.precision.images)
        unlike = (
            f"But {of_test:.0%} of the test images pass the gate, of the training images {of_training:.0%}: test "
            "images seem to look different (`search check` compares them), and then the gate is right less often."
        )
        return [
            f"{counts} of {self.values.shape[1]} test images get a pseudo-label in each fold: all {self.teachers} "
            f"networks that held out the fold agree, with a mean probability of {PROBABILITY:g} or more, within the "
            "quotas of the classes.",
            f"The same gate is right on {self.precision}, on training images that these networks have not seen.",
            *([unlike] if of_test < UNLIKE * of_training else []),
        ]


def committees(export: ExportedModel, folds: int) -> list[list[tuple[Member, Path]]]:
    """By fold, the networks of an export that held it out, on the split of the search.

    Args:
        folds: number of folds of the study.

    Raises:
        CannotLabel: a fold has fewer than `FEWEST_TEACHERS`.
    """
    found: list[list[tuple[Member, Path]]] = [[] for _ in range(folds)]
    for member in export.model.members if export.splits else ():
        for path in member.weights:
            place = held_out_fold(path, export.splits[0])
            if place is not None and place[0] == SEARCH_SPLIT:
                found[place[1]].append((member, path))
    fewest = min(map(len, found))
    if fewest < FEWEST_TEACHERS:
        name = export.study.name
        trainings = max(len(member.weights) // folds for member in export.model.members)
        seeds = trainings + FEWEST_TEACHERS - fewest
        why = f"only {fewest} network{'s' * (fewest != 1)} of its export held out each fold of the search"
        if not export.splits:
            why, seeds = "the networks of its export trained on all images (--full-data)", FEWEST_TEACHERS
        advice = f"`search export-best --study {name} --seeds {seeds}` trains more"
        if export.splits and all(recipe.method == LINEAR_PROBE for recipe in export.recipes):
            advice = (
                "Its recipes are linear probes, whose seeds are all alike, so fine-tuned recipes have to take part. "
                + advice_to_fine_tune(export.study)
            )
        raise CannotLabel(
            f"study {name} cannot give pseudo-labels: {why}, and {FEWEST_TEACHERS} are needed that can disagree. "
            f"{advice}"
        )
    return found


def give_labels(
    export: ExportedModel,
    folds: NDArray[np.int64],
    *,
    device: str,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> GivenLabels:
    """Predict the test images and, to judge the gate, the held-out images with the committee of each fold.

    Args:
        folds: of each training image, on the split of the search, ``(n,)``.
        device: where the networks compute.
        on_step: called with the number of finished and of all networks.

    Raises:
        CannotLabel: there are no test images, too few networks, or no image passes the gate.
    """
    images = export.images
    tested, labelled = len(images.test_ids), len(images.train_ids)
    if not tested:
        raise CannotLabel(f"{images.root} has no test images, so there is nothing to label")
    if list(export.model.class_names) != list(images.class_names):
        raise CannotLabel(f"the export of study {export.study.name} has other classes than the images")
    groups = committees(export, int(folds.max()) + 1)
    total, done = sum(map(len, groups)), 0
    makers: dict[int, SoupMaker] = {}
    values, judged = [], []
    for fold, networks in enumerate(groups):
        held_out = np.flatnonzero(folds == fold)
        on_test, on_held_out = [], []
        for member, path in networks:
            if id(member) not in makers:
                makers[id(member)] = SoupMaker(member, device=device)
            maker = makers[id(member)]
            pixels, state = export.pixels(member, with_test=True), read_weights(path)
            on_test.append(maker.predict(state, pixels.test))
            on_held_out.append(maker.predict(state, np.asarray(pixels.train[held_out])))
            done += 1
            on_step(done, total)
        values.append(pseudo_labels(np.stack(on_test), most=most_labels(labelled, tested, tested)))
        judged.append((np.stack(on_held_out), images.y[held_out]))
    labels = np.stack(values)
    if (labels == NO_LABEL).all():
        raise CannotLabel(
            f"no test image passes the gate of the pseudo-labels: the networks of study {export.study.name} never "
            f"agree with a mean probability of {PROBABILITY:g} or more"
        )
    return GivenLabels(
        values=labels,
        teachers=min(map(len, groups)),
        precision=judge_gate(judged, labelled=labelled, test_images=tested),
    )


def _check_export(export: ExportedModel) -> None:
    """Check that an export may label test images.

    Raises:
        AgainstTheRules: the rules of its study forbid it.
        CannotLabel: its images may have several labels.
    """
    study = export.study
    if not study.spec.rules.use_test_images:
        raise AgainstTheRules(f"{TEST_IMAGES} of study {study.name} forbids pseudo-labels: they learn from test images")
    if export.images.several_labels:
        raise CannotLabel(
            f"images of study {study.name} may have several labels, and pseudo-labels give one class to an image"
        )


def _labels(export: ExportedModel, folds: NDArray[np.int64], device: str, console: Console) -> PseudoLabels:
    """`give_labels` with a progress line."""
    with progress_line(console, "Labelling the test images …") as update:
        given = give_labels(
            export,
            folds,
            device=device,
            on_step=lambda done, total: update(f"Labelling the test images: {done} of {total} networks"),
        )
    return PseudoLabels(values=given.values, about={LINES: given.lines()})


WITH_PSEUDO_LABELS = Method(purpose=PSEUDO_LABELS, check_export=_check_export, give_labels=_labels)
