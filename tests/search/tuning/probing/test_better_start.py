"""Probes of several starting weights of one backbone: what they say, and the trial that follows from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from rich.console import Console
from safetensors.torch import save_file

from search.report.probe_table import StartsView, starts_lines
from search.study_setup.create_study import create_study
from search.study_state.optuna_attributes import ORIGIN_ATTRIBUTE, PROBE_ATTRIBUTE
from search.study_state.snapshot import read_snapshot
from search.worker.study_context import StudyContext
from storage.stores import Stores
from storage.values import EpochCurve, TrialOutcome, TrialStatus, WorkKind
from tests.search.instant_training import pretending
from tests.search.small_study import STUDY, make_context, study_plan, work_on

FILE = STUDY.replace('init = "scratch"\n', "").replace(
    "[space]\n", '[space]\ninit = ["first", "second", "scratch"]\n', 1
)


@pytest.fixture
def context(stores: Stores, tmp_path: Path, competition_folder: Path) -> Iterator[StudyContext]:
    """A study that may begin with two checkpoints or random weights; its trainings are instant."""
    weights = tmp_path / "weights"
    weights.mkdir()
    torch.manual_seed(0)
    for name in ("first", "second"):
        save_file(timm.create_model("test_resnet", num_classes=5).state_dict(), weights / f"{name}.safetensors")
    file = tmp_path / "starts.toml"
    file.write_text(FILE)
    study = create_study(stores, study_plan(file, competition_folder, "probe.enlarge=1", budget=2))
    found = replace(make_context(stores, study, competition_folder, tmp_path / "home"), weights_dir=weights)
    yield found
    found.loader.close()


def with_probes(context: StudyContext, gain: float) -> StudyContext:
    """Trainings are pretended; the probe of ``second`` gives every true class ``gain`` more than that of ``first``."""
    instant = pretending(context, lambda task: 0.7)

    def train(context: StudyContext, task: object) -> TrialOutcome:
        outcome = instant.train(context, task)  # type: ignore[arg-type]
        assert isinstance(outcome, TrialOutcome)
        recipe = task.item.recipe or {}  # type: ignore[attr-defined]
        noise = np.random.default_rng(len(str(recipe["init"]))).normal(0.0, 0.01, len(context.images.y))
        noise -= noise.mean()
        true_class = (0.5 + gain * (recipe["init"] == "second") + noise).astype(np.float16)
        curve = EpochCurve(
            epoch=1,
            metric=outcome.value or 0.0,
            mean_true_probability=float(true_class.mean()),
            train_loss=1.0,
            seconds=1.0,
            fold_metrics=(0.5, 0.5),
            true_class=true_class,
        )
        return replace(outcome, curves=(curve,), mean_true_probability=float(true_class.mean()))

    return replace(context, train=train)


@pytest.mark.parametrize(
    "gain, verdict", [(0.1, "second helps."), (-0.1, "second does not help."), (0.0, "No difference")]
)
def test_the_probes_say_whether_other_weights_help(context: StudyContext, gain: float, verdict: str) -> None:
    work_on(with_probes(context, gain))
    snapshot = read_snapshot(context.stores, context.study.name)
    (line,) = starts_lines(context.stores, snapshot)
    assert verdict in line and "test_resnet at 32 px from second" in line
    found = re.search(r", ([+-]\d\.\d{4}) ± (\d\.\d{4}) against first", line)
    assert found is not None
    assert float(found[1]) == pytest.approx(gain, abs=4 * float(found[2]))
    console = Console(record=True, width=300)
    view = StartsView(context.stores, console)
    view.update(snapshot)
    view.update(snapshot)
    assert console.export_text().count("from second") == 1


@pytest.mark.parametrize("gain", [0.1, -0.1])
def test_a_better_start_is_tried_next(context: StudyContext, gain: float) -> None:
    work_on(with_probes(context, gain))
    trials = [t for t in context.optuna_study.get_trials(deepcopy=False) if PROBE_ATTRIBUTE not in t.user_attrs]
    probed = [t for t in trials if str(t.user_attrs.get(ORIGIN_ATTRIBUTE, "")).startswith("probed: begins with second")]
    assert len(probed) == (gain > 0)
    if probed:
        records = context.stores.trials.records(context.study.id, kind=WorkKind.SEARCH, status=TrialStatus.FINISHED)
        (record,) = [r for r in records if r.number == probed[0].number]
        default = context.spec.default_recipe()
        assert record.recipe == {**default, "init": "second"}
    assert len([r for r in context.stores.trials.records(context.study.id) if not r.is_probe]) == 2
