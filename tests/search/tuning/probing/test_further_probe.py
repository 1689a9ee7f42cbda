"""A probe on still larger images follows where trials gain nothing over the probes."""

from __future__ import annotations

from dataclasses import replace

import optuna

from search.study_state.optuna_attributes import ORIGIN_ATTRIBUTE, PROBE_ATTRIBUTE, PROBE_SIZE_ATTRIBUTE
from search.study_state.study import read_study
from search.tuning.probing.backbones import ProbeResults
from search.tuning.probing.further_probe import further_size
from search.tuning.probing.next_trial import begin_next_trial
from search.worker.run_item import run_item
from search.worker.study_context import StudyContext
from storage.values import TrialOutcome, TrialStatus, WorkKind
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


def end_trial(context: StudyContext, value: float) -> None:
    """End the next trial, which is no probe, with a score."""
    item = context.stores.queue.take(context.study.id, "worker-a", 60.0)
    begun = begin(context)
    assert item is not None and PROBE_ATTRIBUTE not in begun.user_attrs
    named = context.stores.queue.assign_trial(item, begun.number, context.spec.default_recipe())
    outcome = TrialOutcome(
        status=TrialStatus.FINISHED, value=value, brier=0.5, ambiguity=0.0, epochs_done=1, seconds=1.0
    )
    assert named is not None and context.stores.queue.store(named, outcome)


def test_the_best_probe_is_made_again_on_larger_images_once(make: Make) -> None:
    context = make(4)
    best = make_probes(context)
    end_trial(context, best - 0.01)
    begun = begin(context)
    leader = max(
        context.stores.trials.records(context.study.id, kind=WorkKind.SEARCH), key=lambda record: record.value or 0.0
    )
    backbone = str((leader.recipe or {})["backbone"])
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


def test_a_whole_search_makes_it_beside_its_budget(make: Make) -> None:
    context = make(2, "recipe.optimizer.lr=1e-6", "recipe.head=random")
    work_on(context)
    records = context.stores.trials.records(context.study.id, kind=WorkKind.SEARCH)
    assert sum(record.counts for record in records) == 2
    sizes = sorted((record.recipe or {})["image_size"] for record in records if record.is_probe)
    backbones = {str((record.recipe or {})["backbone"]) for record in records}
    assert sizes[-1] in {further_size(name, context.spec.probe.enlarge) for name in backbones} and len(sizes) == 5
    assert context.stores.queue.take(context.study.id, "worker-z", 60.0) is None
