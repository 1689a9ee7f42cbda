"""A probe on still larger images follows where trials gain nothing over the probes."""

from __future__ import annotations

from dataclasses import replace

import optuna

from search.study_state.optuna_attributes import ORIGIN_ATTRIBUTE, PROBE_ATTRIBUTE, PROBE_SIZE_ATTRIBUTE
from search.study_state.snapshot import read_snapshot
from search.study_state.stages import search_is_over
from search.study_state.study import Study, read_study
from search.study_state.training_costs import finished_probes
from search.tuning.probing.backbones import ProbeResults
from search.tuning.probing.further_probe import enqueue_last_probe, further_size
from search.tuning.probing.next_trial import begin_next_trial
from search.worker.limits.deadline_guard import DeadlineGuard
from search.worker.run_item import run_item
from search.worker.study_context import StudyContext
from storage.values import StudyState, TrialOutcome, TrialStatus, WorkKind
from tests.search.small_study import work_on
from tests.search.tuning.probing.networks import Make


def make_probes(context: StudyContext) -> float:
    """End all probes with which the study begins; returns the best score."""
    stores, study = context.stores, context.study
    for _ in range(4):
        item = stores.queue.take(study.id, "worker-a", 60.0)
        assert item is not None and run_item(context, item, lambda: False)
    records = stores.trials.records(study.id, kind=WorkKind.SEARCH)
    assert all(record.is_probe and record.status is TrialStatus.FINISHED for record in records)
    return max(record.value or 0.0 for record in records)


def begin(context: StudyContext) -> optuna.Trial:
    study = read_study(context.stores, context.study.name)
    begun = begin_next_trial(context.stores, study, context.optuna_study, context.probes)
    assert begun is not None
    return begun


def end_trial(context: StudyContext, value: float, *, seconds: float = 1.0) -> None:
    """End the next trial, which is no probe, with a score."""
    item = context.stores.queue.take(context.study.id, "worker-a", 60.0)
    begun = begin(context)
    assert item is not None and PROBE_ATTRIBUTE not in begun.user_attrs
    named = context.stores.queue.assign_trial(item, begun.number, context.spec.default_recipe())
    outcome = TrialOutcome(
        status=TrialStatus.FINISHED, value=value, brier=0.5, ambiguity=0.0, epochs_done=1, seconds=seconds
    )
    assert named is not None and context.stores.queue.store(named, outcome)


def test_the_best_probe_is_made_again_on_larger_images_once(make: Make) -> None:
    context = make(4)
    best = make_probes(context)
    end_trial(context, best - 0.01)
    begun = begin(context)
    probes = finished_probes(context.stores.trials.records(context.study.id))
    surest = max(probes, key=lambda record: record.mean_true_probability or 0.0)
    backbone = str((surest.recipe or {})["backbone"])
    size = further_size(backbone, context.spec.probe.enlarge)
    assert begun.user_attrs[PROBE_SIZE_ATTRIBUTE] == size and size is not None
    assert f"{backbone} at {size} px" in begun.user_attrs[ORIGIN_ATTRIBUTE]
    others = [trial.user_attrs.get(PROBE_SIZE_ATTRIBUTE, 0) for trial in context.optuna_study.get_trials()]
    assert others.count(size) == 1 and max(others) == size
    again = replace(context, probes=ProbeResults(context.stores, context.study.id, context.spec))
    assert PROBE_ATTRIBUTE not in begin(again).user_attrs, "another worker makes it no second time"


def test_a_trial_that_gains_leaves_it_out(make: Make) -> None:
    context = make(4)
    best = make_probes(context)
    end_trial(context, best + 0.01)
    end_trial(context, best - 0.01)
    assert PROBE_ATTRIBUTE not in begin(context).user_attrs


def test_before_a_trial_has_ended_nothing_is_known(make: Make) -> None:
    context = make(4)
    make_probes(context)
    assert PROBE_ATTRIBUTE not in begin(context).user_attrs
    assert PROBE_ATTRIBUTE not in begin(context).user_attrs


def test_it_has_to_end_in_time(make: Make) -> None:
    context = make(4)
    end_trial(context, make_probes(context) - 0.01)
    now = context.stores.database.now()
    context.stores.studies.set_deadline(context.study.id, now + 1.0, period_began=now)
    assert PROBE_ATTRIBUTE not in begin(context).user_attrs
    assert context.probes.may_go_further, "with more time it may still be made"


def test_without_enlarged_probes_there_is_none(make: Make) -> None:
    context = make(4, "probe.enlarge=1")
    stores, study = context.stores, context.study
    for _ in range(2):
        item = stores.queue.take(study.id, "worker-a", 60.0)
        assert item is not None and run_item(context, item, lambda: False)
    end_trial(context, -1.0)
    assert PROBE_ATTRIBUTE not in begin(context).user_attrs


def leave(context: StudyContext, seconds: float) -> Study:
    """Set the deadline of the study that many seconds from now; it has as much time again behind it."""
    now = context.stores.database.now()
    context.stores.studies.set_deadline(context.study.id, now + seconds, period_began=now - seconds)
    return read_study(context.stores, context.study.name)


def test_a_search_that_trained_nothing_ends_with_it(make: Make) -> None:
    context = make(4)
    make_probes(context)
    study = leave(context, 300.0)
    number = enqueue_last_probe(context.stores, study)
    assert number is not None and enqueue_last_probe(context.stores, study) is None, "once"
    snapshot = read_snapshot(context.stores, study.name)
    assert snapshot.probes_waiting == 1
    for in_time in (True, False):
        assert not search_is_over(replace(snapshot, in_time_for_trial=in_time))
    assert search_is_over(replace(snapshot, seconds_to_deadline=-1.0)), "it may begin no more"
    # A worker without time for a trial makes the probe, and nothing after it.
    for makes in (True, False):
        item = context.stores.queue.take(study.id, "worker-a", 60.0)
        assert item is not None
        assert run_item(context, item, lambda: False, is_time_for_trial=lambda: False) is makes
    record = context.stores.trials.records(study.id)[-1]
    assert (record.number, record.is_probe, record.status) == (number, True, TrialStatus.FINISHED)
    assert len(context.stores.trials.records(study.id)) == 5


def test_a_worker_takes_it_where_no_trial_fits(make: Make) -> None:
    context = make(4)
    end_trial(context, make_probes(context) - 0.01, seconds=10_000.0)
    guard, study = DeadlineGuard(context.stores), leave(context, 300.0)
    assert WorkKind.SEARCH not in guard.kinds_to_begin(study)
    assert enqueue_last_probe(context.stores, study) is not None
    assert WorkKind.SEARCH in guard.kinds_to_begin(study) and not guard.is_time_for_trial(study)


def test_a_search_ends_without_it(make: Make) -> None:
    """Where it was stopped, has no time left, or a trial is better."""
    context = make(4)
    best = make_probes(context)
    assert enqueue_last_probe(context.stores, leave(context, 10.0)) is None
    study = leave(context, 300.0)
    context.stores.studies.set_state(study.id, StudyState.STOPPED)
    assert enqueue_last_probe(context.stores, read_study(context.stores, study.name)) is None
    context.stores.studies.set_state(study.id, StudyState.RUNNING)
    end_trial(context, best + 0.01)
    assert enqueue_last_probe(context.stores, read_study(context.stores, study.name)) is None


def test_a_whole_search_makes_it_beside_its_budget(make: Make) -> None:
    context = make(2, "recipe.optimizer.lr=1e-6", "recipe.head=random")
    work_on(context)
    records = context.stores.trials.records(context.study.id, kind=WorkKind.SEARCH)
    assert sum(record.counts for record in records) == 2
    sizes = sorted((record.recipe or {})["image_size"] for record in records if record.is_probe)
    backbones = {str((record.recipe or {})["backbone"]) for record in records}
    assert sizes[-1] in {further_size(name, context.spec.probe.enlarge) for name in backbones} and len(sizes) == 5
    assert context.stores.queue.take(context.study.id, "worker-z", 60.0) is None
