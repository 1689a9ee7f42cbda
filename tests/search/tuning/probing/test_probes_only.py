"""A study with a budget of 0: its probes, and nothing else, on real networks and checkpoints that the tests make."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from optuna.trial import TrialState
from safetensors.torch import save_file

import search.worker.loop
from search.report.live.progress import status_line
from search.report.summary import print_ranking
from search.runtime.console import open_console
from search.study_setup.create_study import create_study
from search.study_state.optuna_attributes import PROBE_ATTRIBUTE
from search.study_state.snapshot import read_snapshot
from search.study_state.stages import search_is_over
from search.study_state.study import read_study
from search.tuning.probing.backbones import ProbeResults
from search.tuning.probing.next_trial import NO_TIME, begin_next_trial
from search.tuning.retry import retry_failed
from search.worker.lease import LEASE
from search.worker.run_item import run_item
from search.worker.study_context import StudyContext
from storage.optuna_storage.optuna_trials import end_waiting
from storage.queue.items import WorkItem
from storage.stores import Stores
from storage.values import Failure, StudyState, TrialRecord, TrialStatus, WorkKind
from tests.search.small_study import STUDY, make_context, study_plan, work_on

GOOD, TRUNCATED, MISLABELLED, MISSING = "test_resnet", "test_convnext", "test_vit", "test_efficientnet"
PROBES_ONLY = STUDY.replace('backbone = "test_resnet"\n', "").replace('"scratch"', '"pretrained"')
PROBES_ONLY += "\n[probe]\nenlarge = 1\n"
Make = Callable[[list[str]], StudyContext]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A good, a truncated and a mislabelled file; one of `MISSING` is not there."""
    folder = tmp_path / "weights"
    folder.mkdir()
    torch.manual_seed(0)
    for name in (GOOD, TRUNCATED):
        save_file(timm.create_model(name, num_classes=10).state_dict(), folder / f"{name}.safetensors")
    save_file(timm.create_model(GOOD, num_classes=10).state_dict(), folder / f"{MISLABELLED}.safetensors")
    damaged = folder / f"{TRUNCATED}.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1000])
    return folder


@pytest.fixture
def make(
    stores: Stores, tmp_path: Path, competition_folder: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Make]:
    """Makes a worker's context for a new study of the given backbones and no trials."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(search.worker.loop, "POLL_INTERVAL", 0.01)
    made: list[StudyContext] = []

    def context_of(backbones: list[str]) -> StudyContext:
        file = tmp_path / "probes.toml"
        names = ", ".join(f'"{name}"' for name in backbones)
        file.write_text(PROBES_ONLY.replace("[space]\n", f"[space]\nbackbone = [{names}]\n"))
        study = create_study(stores, study_plan(file, competition_folder, "search.trials=0", budget=None))
        assert study.budget == 0
        made.append(replace(make_context(stores, study, competition_folder, tmp_path / "home"), weights_dir=weights))
        return made[-1]

    yield context_of
    for context in made:
        context.loader.close()


def records_of(context: StudyContext) -> list[TrialRecord]:
    return list(context.stores.trials.records(context.study.id, kind=WorkKind.SEARCH))


def take(context: StudyContext, worker: str = "worker-a") -> WorkItem:
    item = context.stores.queue.take(context.study.id, worker, LEASE)
    assert item is not None
    return item


def run(context: StudyContext, item: WorkItem) -> bool:
    return run_item(context, item, lambda: False)


def is_over(context: StudyContext) -> bool:
    return search_is_over(read_snapshot(context.stores, context.study.name))


def assert_idle(context: StudyContext) -> None:
    """Nothing is left, and a worker that looks again creates nothing."""
    assert is_over(context)
    items = context.stores.queue.states(context.study.id)
    work_on(context)
    assert context.stores.queue.states(context.study.id) == items
    assert context.stores.queue.take(context.study.id, "worker-z", LEASE) is None


def test_each_backbone_is_probed_and_bad_ones_fail_alone(make: Make) -> None:
    context = make([GOOD, TRUNCATED, MISLABELLED, MISSING])
    assert not is_over(context)
    work_on(context)
    records = {str((record.recipe or {})["backbone"]): record for record in records_of(context)}
    assert records[GOOD].status is TrialStatus.FINISHED
    bad = {name: record for name, record in records.items() if name != GOOD}
    assert bad.keys() == {TRUNCATED, MISLABELLED, MISSING}
    assert {record.failure for record in bad.values()} == {Failure.WEIGHTS}
    assert all(name in record.reason for name, record in bad.items())
    assert all(len(record.reason) < 1000 for record in bad.values())
    assert all(record.is_probe for record in records.values())
    assert context.optuna_study.trials[0].state is TrialState.WAITING
    assert_idle(context)


def test_the_status_counts_probes(make: Make) -> None:
    context = make([GOOD, MISLABELLED])
    name = context.study.name
    before = read_snapshot(context.stores, name)
    assert (before.probes_planned, before.probes_waiting, before.probes_ended) == (2, 2, 0)
    assert "0/2 probes" in status_line(before, "") and "trial" not in status_line(before, "")
    work_on(context)
    after = read_snapshot(context.stores, name)
    assert (after.probes_waiting, after.probes_ended, after.counted) == (0, 2, 0)
    assert "2/2 probes" in status_line(after, "") and "1 failed" in status_line(after, "")
    assert after.seconds_left() is None


def test_headings_name_probes_as_such(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    context = make([GOOD])
    work_on(context)
    snapshot = read_snapshot(context.stores, context.study.name)
    print_ranking(open_console(), snapshot)
    alone = " ".join(capsys.readouterr().out.split())
    assert "the best finished probes probe accuracy" in alone and "Ended: 1 finished" in alone and "rial" not in alone
    trial = replace(snapshot.records[0], number=9, note={}, recipe={**(snapshot.records[0].recipe or {}), "epochs": 2})
    both = replace(snapshot, ended=replace(snapshot.ended, trials=(*snapshot.records, trial)))
    print_ranking(open_console(), both)
    assert "the best finished trials and probes trial/probe accuracy" in " ".join(capsys.readouterr().out.split())


def test_two_workers_share_the_probes(make: Make) -> None:
    context = make([GOOD, TRUNCATED])
    first, second = take(context), take(context, "worker-b")
    assert context.stores.queue.take(context.study.id, "worker-c", LEASE) is None
    other = replace(context, worker="worker-b", probes=ProbeResults(context.stores, context.study.id, context.spec))
    assert run(context, first) and run(other, second)
    assert len({record.number for record in records_of(context)}) == 2
    assert_idle(context)


def test_a_probe_whose_worker_was_killed_is_made_again(make: Make) -> None:
    context = make([GOOD])

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    killed = replace(context, train=die)
    with pytest.raises(KeyboardInterrupt):
        run(killed, take(context))
    assert not is_over(context)
    assert context.stores.queue.probes(context.study.id) == (1, 0)
    assert context.stores.recovery.expire_worker("worker-a") == 1
    work_on(replace(context, worker="worker-b"))
    (record,) = records_of(context)
    assert (record.status, record.worker, record.attempt) == (TrialStatus.FINISHED, "worker-b", 2)
    assert_idle(context)


def test_a_probe_whose_worker_was_killed_before_it_was_assigned_is_made(make: Make) -> None:
    context = make([GOOD])
    take(context, "dead")
    assert begin_next_trial(context.stores, context.study, context.optuna_study, context.probes) is not None
    context.stores.recovery.expire_worker("dead")
    work_on(context)
    (record,) = records_of(context)
    assert record.status is TrialStatus.FINISHED
    assert_idle(context)


def test_an_orphaned_probe_is_made_although_orphans_were_looked_for_just_now(make: Make) -> None:
    context = make([GOOD])
    begin_next_trial(context.stores, context.study, context.optuna_study, context.probes)
    item = take(context)
    assert not run(context, item)  # without orphans
    assert item.id not in context.stores.queue.states(context.study.id)
    assert not is_over(context)
    work_on(context)
    assert [record.status for record in records_of(context)] == [TrialStatus.FINISHED]


def test_probes_have_all_the_time_of_a_study_without_trials(make: Make) -> None:
    context = make([GOOD, MISLABELLED])
    stores, study_id = context.stores, context.study.id
    run(context, take(context))
    now = stores.database.now()
    stores.studies.set_deadline(study_id, now + 3600.0, period_began=now - 9 * 3600.0)
    late = replace(context, study=read_study(stores, context.study.name))
    assert run(late, take(late))
    assert stores.queue.probes(study_id) == (2, 0)


def test_probes_without_time_are_cancelled_for_good(make: Make) -> None:
    """Probes that are retried after the budget is used up: the item that was created for them finds nothing to do."""
    context = make([GOOD, MISSING])
    stores, study_id, name = context.stores, context.study.id, context.study.name
    stores.studies.set_budget(study_id, 1)
    work_on(replace(context, study=read_study(stores, name)))
    assert retry_failed(stores, context.study).trials == 1
    now = stores.database.now()
    stores.studies.set_deadline(study_id, now + 3600.0, period_began=now - 9 * 3600.0)
    late = replace(context, study=read_study(stores, name))
    item = take(late)
    assert not run(late, item)
    assert item.id not in stores.queue.states(study_id)
    assert context.optuna_study.trials[-1].user_attrs["reason"] == NO_TIME
    assert stores.queue.probes(study_id) == (2, 0)
    assert_idle(late)


def test_a_crash_while_probes_are_cancelled_leaves_no_loop(make: Make) -> None:
    context = make([GOOD, TRUNCATED])
    for trial in context.optuna_study.trials:
        if PROBE_ATTRIBUTE in trial.user_attrs:
            end_waiting(context.optuna_study, trial.number, NO_TIME)
    assert context.stores.queue.probes(context.study.id) == (2, 2)
    work_on(context)
    assert context.stores.queue.probes(context.study.id) == (0, 0)
    assert context.stores.queue.states(context.study.id) == {}
    assert_idle(context)


def test_a_stopped_study_is_over_although_probes_wait(make: Make) -> None:
    context = make([GOOD])
    context.stores.studies.set_state(context.study.id, StudyState.STOPPED, "by hand")
    assert is_over(context)


def test_a_failed_probe_can_be_retried(make: Make, weights: Path) -> None:
    context = make([MISSING])
    work_on(context)
    assert is_over(context)
    save_file(timm.create_model(MISSING, num_classes=10).state_dict(), weights / f"{MISSING}.safetensors")
    assert retry_failed(context.stores, context.study).trials == 1
    assert not is_over(context)
    work_on(context)
    assert [record.status for record in records_of(context)] == [TrialStatus.FAILED, TrialStatus.FINISHED]
    assert_idle(context)


def test_trials_may_follow_once_the_budget_grows(make: Make) -> None:
    context = make([GOOD])
    work_on(context)
    context.stores.studies.set_budget(context.study.id, 1)
    assert not is_over(context)
    work_on(replace(context, study=read_study(context.stores, context.study.name)))
    probe, trial = records_of(context)
    assert (probe.is_probe, trial.is_probe, trial.number) == (True, False, 0)
    assert is_over(context)


def test_waiting_probes_keep_a_search_from_being_over(make: Make) -> None:
    """Probes that are retried after the budget is used up."""
    context = make([GOOD, MISSING])
    work_on(context)
    context.stores.studies.set_budget(context.study.id, 1)
    work_on(replace(context, study=read_study(context.stores, context.study.name)))
    assert is_over(context)
    retry_failed(context.stores, context.study)
    assert not is_over(context)
    work_on(context)
    assert is_over(context)
    assert sum(record.counts for record in records_of(context)) == 1
