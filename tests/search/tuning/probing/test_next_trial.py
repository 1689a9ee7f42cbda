"""A search that begins with probes, on a real study with tiny networks and checkpoints that the tests make."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import timm
import torch
from optuna.trial import TrialState
from safetensors.torch import save_file

from search.study_setup.create_study import create_study
from search.study_state.optuna_attributes import ORIGIN_ATTRIBUTE, PROBE_ATTRIBUTE
from search.study_state.snapshot import read_snapshot
from search.study_state.study import Study
from search.tuning.probing import backbones, next_trial
from search.tuning.probing.backbones import ProbeResults
from search.tuning.probing.next_trial import CLEARLY_WORSE, NO_TIME, begin_next_trial
from search.tuning.restore_optuna import optuna_study
from search.worker.study_context import StudyContext
from storage.stores import Stores
from storage.values import TrialRecord, TrialStatus, WorkKind
from tests.databases import DIALECTS
from tests.search.small_study import STUDY, make_context, study_plan, work_on

pytestmark = pytest.mark.parametrize("dialect", DIALECTS, indirect=True)

SWEEP = (
    STUDY.replace('backbone = "test_resnet"\n', "").replace('init = "scratch"', 'init = "start"')
    + """
[probe]
enlarge = 1

[final]
seeds = 2
"""
)
CHOICES = ["test_resnet", "test_efficientnet"]


def write_study(file: Path, backbones: list[str]) -> Path:
    names = ", ".join(f'"{name}"' for name in backbones)
    file.write_text(SWEEP.replace("[space]\n", f"[space]\nbackbone = [{names}]\n"))
    return file


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A checkpoint that fits only test_resnet."""
    folder = tmp_path / "weights"
    folder.mkdir()
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", num_classes=5).state_dict(), folder / "start.safetensors")
    return folder


def context_of(stores: Stores, study: Study, folder: Path, tmp_path: Path, weights: Path) -> StudyContext:
    from dataclasses import replace

    return replace(make_context(stores, study, folder, tmp_path / "home"), weights_dir=weights)


@pytest.fixture
def context(stores: Stores, tmp_path: Path, competition_folder: Path, weights: Path) -> Iterator[StudyContext]:
    """A study of one backbone that can be probed; its budget is one trial."""
    file = write_study(tmp_path / "sweep.toml", ["test_resnet"])
    study = create_study(stores, study_plan(file, competition_folder, budget=1))
    found = context_of(stores, study, competition_folder, tmp_path, weights)
    yield found
    found.loader.close()


def records_of(context: StudyContext) -> list[TrialRecord]:
    return list(context.stores.trials.records(context.study.id, kind=WorkKind.SEARCH))


def test_the_probe_comes_first_and_does_not_count(context: StudyContext) -> None:
    work_on(context)
    probe, trained = records_of(context)
    assert (probe.is_probe, probe.status, probe.epochs_done) == (True, TrialStatus.FINISHED, 1)
    assert (trained.is_probe, trained.number) == (False, 0)
    assert probe.number != 0
    snapshot = read_snapshot(context.stores, context.study.name)
    assert snapshot.counted == 1
    assert {candidate.number for candidate in snapshot.ranking} == {probe.number, 0}


def test_optuna_shows_the_probe_as_a_complete_trial(context: StudyContext) -> None:
    work_on(context)
    probe = records_of(context)[0]
    trial = context.optuna_study.trials[probe.number or 0]
    assert trial.state is TrialState.COMPLETE
    assert trial.user_attrs[PROBE_ATTRIBUTE] is True
    assert trial.user_attrs[ORIGIN_ATTRIBUTE].startswith("probe: test_resnet at 32 px")
    assert trial.params.keys() == context.optuna_study.trials[0].params.keys()


def test_a_probe_predicts_all_images_and_keeps_its_networks(context: StudyContext) -> None:
    work_on(context)
    probe = records_of(context)[0]
    assert context.stores.trials.prediction(probe.id, "oof").shape == (30, 3)
    assert context.stores.trials.prediction(probe.id, "test").shape == (6, 3)
    assert len(probe.networks or {}) == 2


def test_restoring_optuna_keeps_the_probe(context: StudyContext) -> None:
    work_on(context)
    before = context.optuna_study.trials
    optuna.delete_study(study_name=context.study.name, storage=context.stores.optuna_storage)
    after = optuna_study(context.stores, context.study.stored).trials
    assert [(t.state, t.params, t.user_attrs, t.value) for t in after] == [
        (t.state, t.params, t.user_attrs, pytest.approx(t.value)) for t in before
    ]


def test_a_backbone_that_cannot_be_probed_fails_alone(
    stores: Stores, tmp_path: Path, competition_folder: Path, weights: Path
) -> None:
    file = write_study(tmp_path / "sweep.toml", CHOICES)
    study = create_study(stores, study_plan(file, competition_folder, budget=1))
    context = context_of(stores, study, competition_folder, tmp_path, weights)
    work_on(context)
    context.loader.close()
    records = {record.recipe["backbone"]: record for record in records_of(context) if record.is_probe and record.recipe}
    assert records["test_resnet"].status is TrialStatus.FINISHED
    assert records["test_efficientnet"].status is TrialStatus.FAILED
    assert "start" in records["test_efficientnet"].reason
    assert stores.trials.consecutive_failures(study.id) == 0


@pytest.fixture
def sweep(stores: Stores, tmp_path: Path, competition_folder: Path) -> Study:
    """A study of four backbones, none of them probed yet."""
    names = ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"]
    return create_study(stores, study_plan(write_study(tmp_path / "sweep.toml", names), competition_folder, budget=9))


def results(stores: Stores, study: Study, behind: dict[str, float]) -> ProbeResults:
    """Results as if the probes had ended like this."""
    found = ProbeResults(stores, study.id, study.spec)
    found.read = lambda: []  # type: ignore[method-assign]
    found.ranked = [
        backbones.ProbedBackbone(name=name, score=0.9 - distance / 100, behind=distance)
        for name, distance in sorted(behind.items(), key=lambda item: item[1])
    ]
    return found


def end_probes(stores: Stores, study: Study) -> optuna.Study:
    found = stores.optuna_study(study.name)
    for trial in found.get_trials(deepcopy=False):
        if PROBE_ATTRIBUTE in trial.user_attrs:
            stores.optuna_storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
            found.tell(trial.number, 0.5)
    return found


def test_the_best_probed_backbone_comes_first_and_then_the_default_recipe(stores: Stores, sweep: Study) -> None:
    found = end_probes(stores, sweep)
    behind = {"test_resnet": 2.0, "test_vit": 0.0, "test_efficientnet": 1.0, "test_convnext": 9.0}
    probes = results(stores, sweep, behind)
    begun = [begin_next_trial(stores, sweep, found, probes) for _ in range(3)]
    names = [next_trial.backbone_of(found.trials[trial.number]) for trial in begun]
    assert names == ["test_vit", "test_resnet", "test_efficientnet"]
    assert begun[1].number == 0, "others are compared with the default recipe"
    assert {record.number for record in stores.enqueued.all(sweep.id)} >= {trial.number for trial in begun}


def test_backbones_that_are_clearly_worse_are_not_trained(stores: Stores, sweep: Study) -> None:
    found = end_probes(stores, sweep)
    found.enqueue_trial({"backbone": "test_convnext"}, user_attrs={"epochs": 3})
    behind = {"test_resnet": 20.0, "test_vit": 0.0, "test_efficientnet": 1.0, "test_convnext": 12.0}
    probes = results(stores, sweep, {**behind, "another": 0.5})
    for _ in range(5):
        begin_next_trial(stores, sweep, found, probes)
    ended = {t.user_attrs.get("reason"): next_trial.backbone_of(t) for t in found.trials if t.state is TrialState.FAIL}
    assert ended == {CLEARLY_WORSE: "test_convnext"}
    assert found.trials[0].state is TrialState.RUNNING  # the default recipe, with which others are compared


def test_probes_give_way_once_they_had_their_share_of_the_time(stores: Stores, sweep: Study) -> None:
    stores.studies.set_deadline(sweep.id, stores.database.now() + 10.0, period_began=stores.database.now() - 990.0)
    from search.study_state.study import read_study

    probes = results(stores, sweep, {"test_resnet": 0.0})
    probes.read = lambda: [object()]  # type: ignore[method-assign,list-item,return-value]
    found = stores.optuna_study(sweep.name)
    trial = begin_next_trial(stores, read_study(stores, sweep.name), found, probes)
    assert trial.number == 0
    left_out = [t for t in found.trials if PROBE_ATTRIBUTE in t.user_attrs]
    assert {t.state for t in left_out} == {TrialState.FAIL}
    assert {t.user_attrs["reason"] for t in left_out} == {NO_TIME}


def test_a_backbone_whose_probe_failed_is_still_trained(stores: Stores, sweep: Study) -> None:
    found = end_probes(stores, sweep)
    found.enqueue_trial({"backbone": "test_convnext"}, user_attrs={"epochs": 3})
    probes = results(stores, sweep, {"test_resnet": 0.0, "test_vit": 1.0, "test_efficientnet": 50.0, "another": 60.0})
    begun = [begin_next_trial(stores, sweep, found, probes) for _ in range(5)]
    names = {next_trial.backbone_of(found.trials[trial.number]) for trial in begun if trial is not None}
    assert "test_convnext" in names


def test_probes_that_another_worker_begins_meanwhile_are_not_settled(
    stores: Stores, sweep: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the trials and the attempt to begin one, another worker begins all probes."""
    found = stores.optuna_study(sweep.name)
    monkeypatch.setattr(next_trial, "_begin_probe", lambda *_: None)
    probes = ProbeResults(stores, sweep.id, sweep.spec)
    assert begin_next_trial(stores, sweep, found, probes) is not None
    assert not probes.settled


def test_workers_share_the_probes(stores: Stores, sweep: Study) -> None:
    found = stores.optuna_study(sweep.name)
    probes = ProbeResults(stores, sweep.id, sweep.spec)
    begun = [begin_next_trial(stores, sweep, found, probes).number for _ in range(4)]
    own = [t.number for t in found.trials if PROBE_ATTRIBUTE in t.user_attrs]
    assert begun == own


def test_trial_0_gets_a_backbone_whose_probe_succeeded(
    stores: Stores, tmp_path: Path, competition_folder: Path, weights: Path
) -> None:
    """The checkpoint fits the second backbone only."""
    file = write_study(tmp_path / "sweep.toml", CHOICES[::-1])
    study = create_study(stores, study_plan(file, competition_folder, budget=1))
    context = context_of(stores, study, competition_folder, tmp_path, weights)
    try:
        assert study.spec.default_recipe()["backbone"] == "test_efficientnet"
        work_on(context)
    finally:
        context.loader.close()
    records = stores.trials.records(study.id, kind=WorkKind.SEARCH)
    (first,) = [record for record in records if record.number == 0]
    assert first.status is TrialStatus.FINISHED and (first.recipe or {})["backbone"] == "test_resnet"
    enqueued = {record.number: record.params for record in stores.enqueued.all(study.id)}
    assert enqueued[0]["backbone"] == "test_resnet"
