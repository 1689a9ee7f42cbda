"""Probes on enlarged images, on a real study with tiny networks and checkpoints that the tests make."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest

from search.study_state.optuna_attributes import ORIGIN_ATTRIBUTE, PROBE_ATTRIBUTE
from search.study_state.study import read_study
from search.tuning.probing.next_trial import NO_TIME, NOT_ENLARGED, begin_next_trial
from search.tuning.restore_optuna import optuna_study
from search.worker.run_item import run_item
from search.worker.study_context import StudyContext
from storage.values import TrialRecord, TrialStatus, WorkKind
from tests.search.small_study import work_on
from tests.search.tuning.probing.networks import NETWORKS, Make


def probes_of(context: StudyContext) -> list[TrialRecord]:
    records = context.stores.trials.records(context.study.id, kind=WorkKind.SEARCH)
    return [record for record in records if record.is_probe]


def sizes_of(context: StudyContext) -> list[int]:
    return [(record.recipe or {})["image_size"] for record in probes_of(context)]


def test_the_best_backbones_are_probed_again_after_all_were_compared(make: Make) -> None:
    context = make(1)
    work_on(context)
    sizes = sizes_of(context)
    assert sizes[:2] == [32, 32] and min(sizes[2:]) > 32 and len(sizes) == 4
    assert all(record.status is TrialStatus.FINISHED for record in probes_of(context))
    # The backbone with the better probe comes first.
    assert (probes_of(context)[2].recipe or {})["backbone"] == context.probes.ranked[0].name
    # Backbones are compared at one size.
    assert {backbone.name for backbone in context.probes.ranked} == set(NETWORKS)
    assert context.probes.settled == {record.number for record in probes_of(context)[:2]}


def test_backbones_beyond_the_best_are_not_probed_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.tuning.probing.next_trial.LEAST_KEPT", 1)
    context = make(0)
    work_on(context)
    assert len(sizes_of(context)) == 3
    ended = [trial for trial in context.optuna_study.get_trials() if trial.user_attrs.get("reason") == NOT_ENLARGED]
    assert len(ended) == 1
    assert context.stores.queue.take(context.study.id, "worker-z", 60.0) is None, "nothing is left to do"


def test_restoring_optuna_keeps_the_size(make: Make) -> None:
    context = make(0)
    before = {trial.number: trial.user_attrs for trial in context.optuna_study.get_trials()}
    stores, study = context.stores, context.study
    optuna.delete_study(study_name=study.name, storage=stores.optuna_storage)
    restored = optuna_study(stores, study.stored)
    assert {trial.number: trial.user_attrs for trial in restored.get_trials()} == before
    work_on(replace(context, optuna_study=restored))
    assert max(sizes_of(context)) > 32


def test_the_origin_names_the_size(make: Make) -> None:
    context = make(0)
    work_on(context)
    origins = {trial.number: trial.user_attrs[ORIGIN_ATTRIBUTE] for trial in context.optuna_study.get_trials()}
    for record in probes_of(context):
        assert f"at {(record.recipe or {})['image_size']} px" in origins[record.number or 0]


def test_probes_on_enlarged_images_that_would_end_too_late_do_not_begin(make: Make) -> None:
    context = make(1)
    stores, study = context.stores, context.study
    for _ in NETWORKS:
        item = stores.queue.take(study.id, "worker-a", 60.0)
        assert item is not None and run_item(context, item, lambda: False)
    ended = [replace(record, seconds=1000.0) for record in context.probes.read()]
    context.probes.read = lambda: ended  # type: ignore[method-assign]
    now = stores.database.now()
    stores.studies.set_deadline(study.id, now + 100.0, period_began=now)
    begun = begin_next_trial(stores, read_study(stores, study.name), context.optuna_study, context.probes)
    assert begun is not None and PROBE_ATTRIBUTE not in begun.user_attrs
    reasons = [trial.user_attrs.get("reason") for trial in context.optuna_study.get_trials(deepcopy=False)]
    assert reasons.count(NO_TIME) == 2


def test_the_best_backbone_is_probed_again_even_after_the_share_of_the_probes(make: Make) -> None:
    context = make(1)
    stores, study = context.stores, context.study
    for _ in NETWORKS:
        item = stores.queue.take(study.id, "worker-a", 60.0)
        assert item is not None and run_item(context, item, lambda: False)
    now = stores.database.now()
    stores.studies.set_deadline(study.id, now + 3600.0, period_began=now - 9 * 3600.0)
    begun = begin_next_trial(stores, read_study(stores, study.name), context.optuna_study, context.probes)
    assert begun is not None and PROBE_ATTRIBUTE in begun.user_attrs
    assert context.probes.ranked[0].name in begun.user_attrs[ORIGIN_ATTRIBUTE]
    reasons = [trial.user_attrs.get("reason") for trial in context.optuna_study.get_trials(deepcopy=False)]
    assert reasons.count(NO_TIME) == 1, "that of the other backbone"
