"""Probes that are given up for the deadline, on real studies with tiny networks and checkpoints that the tests make."""

from __future__ import annotations

from dataclasses import replace

import pytest
from optuna.trial import TrialState

from search.report.live.progress import status_line
from search.study_state.optuna_attributes import PROBE_ATTRIBUTE, PROBE_SIZE_ATTRIBUTE, RETRY_ATTRIBUTE
from search.study_state.snapshot import read_snapshot
from search.study_state.stages import search_is_over
from search.study_state.study import read_study
from search.study_state.time_left import GIVE_UPS
from search.tuning.probing.give_up import TOO_LATE, enqueue_given_up, give_up_waiting_probes
from search.worker.lease import LEASE
from search.worker.limits.deadline_guard import DeadlineGuard
from search.worker.limits.limit import NoLimit, OutOfTime
from search.worker.limits.time_limit import TimeLimit
from search.worker.run_item import run_item
from search.worker.study_context import StudyContext
from storage.queue.items import WorkItem
from storage.values import TrialStatus, WorkKind
from tests.databases import DIALECTS
from tests.search.small_study import work_on
from tests.search.tuning.probing.networks import NETWORKS, Make
from trainer.recipe.recipe import LINEAR_PROBE, Recipe

everywhere = pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


@pytest.fixture
def make(make: Make) -> Make:
    """Makes a worker's context for a new study of two networks, a budget and an hour."""

    def context_of(budget: int) -> StudyContext:
        context = make(budget)
        now = context.stores.database.now()
        context.stores.studies.set_deadline(context.study.id, now + 3600.0, period_began=now)
        return replace(context, study=read_study(context.stores, context.study.name))

    return context_of


class ForTooLate(NoLimit):
    """A limit for which every probe is too slow."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    def fit(self, recipe: Recipe) -> None:
        if recipe.method == LINEAR_PROBE:
            self.missed = self._deadline
            raise OutOfTime("one epoch takes about 40 s, and 3 s are left for it")


def take(context: StudyContext) -> WorkItem:
    item = context.stores.queue.take(context.study.id, context.worker, LEASE)
    assert item is not None
    return item


def run(context: StudyContext, *, too_late: bool = False) -> None:
    deadline = context.study.deadline
    assert deadline is not None
    item = take(context)
    assert run_item(context, item, lambda: False, limit=ForTooLate(deadline) if too_late else None)


def states_of(context: StudyContext) -> list[TrialState]:
    trials = context.optuna_study.get_trials(deepcopy=False)
    return [trial.state for trial in trials if PROBE_ATTRIBUTE in trial.user_attrs]


def with_more_time(context: StudyContext, seconds: float | None) -> StudyContext:
    stores, study_id = context.stores, context.study.id
    now = stores.database.now()
    deadline = None if seconds is None else now + seconds
    stores.studies.set_deadline(study_id, deadline, period_began=now)
    return replace(context, study=read_study(stores, context.study.name))


@on_sqlite
def test_a_probe_that_is_given_up_ends_in_optuna_with_its_reason(make: Make) -> None:
    context = make(0)
    run(context)
    run(context, too_late=True)
    given_up = [t for t in context.optuna_study.get_trials() if t.user_attrs.get("reason") == TOO_LATE]
    assert [(t.state, t.user_attrs["missed_deadline"]) for t in given_up] == [(TrialState.FAIL, context.study.deadline)]
    assert TrialState.RUNNING not in states_of(context)


@everywhere
def test_a_probe_that_is_given_up_counts_neither_as_planned_nor_as_waiting(make: Make) -> None:
    context = make(0)
    name = context.study.name
    planned = read_snapshot(context.stores, name).probes_planned
    for _ in NETWORKS:
        run(context)
    run(context, too_late=True)
    snapshot = read_snapshot(context.stores, name)
    assert (snapshot.probes_planned, snapshot.waiting, snapshot.running) == (planned - 1, 0, 0)
    work_on(context)
    snapshot = read_snapshot(context.stores, name)
    assert f"{planned - 1}/{planned - 1} probes" in status_line(snapshot, "")
    assert search_is_over(snapshot)
    assert context.stores.queue.take(context.study.id, "worker-z", LEASE) is None


@on_sqlite
def test_trials_follow_a_probe_that_is_given_up_on_enlarged_images(make: Make) -> None:
    context = make(1)
    for _ in NETWORKS:
        run(context)
    for _ in NETWORKS:
        run(context, too_late=True)
    work_on(context)
    trials = [r for r in context.stores.trials.records(context.study.id, kind=WorkKind.SEARCH) if not r.is_probe]
    assert [record.status for record in trials] == [TrialStatus.FINISHED]
    assert TrialState.RUNNING not in states_of(context)
    assert search_is_over(read_snapshot(context.stores, context.study.name))


@on_sqlite
@pytest.mark.parametrize("seconds", [7200.0, None])
def test_more_time_makes_it_again_once(make: Make, seconds: float | None) -> None:
    context = make(0)
    for _ in NETWORKS:
        run(context)
    run(context, too_late=True)
    assert enqueue_given_up(context.stores, context.study) == 0, "the deadline is the same"
    later = with_more_time(context, seconds)
    assert enqueue_given_up(later.stores, later.study) == 1
    assert enqueue_given_up(later.stores, later.study) == 0
    again = later.optuna_study.get_trials()[-1]
    assert again.user_attrs[PROBE_ATTRIBUTE] is True and RETRY_ATTRIBUTE in again.user_attrs
    original = later.optuna_study.get_trials()[again.user_attrs[RETRY_ATTRIBUTE]]
    assert again.user_attrs[PROBE_SIZE_ATTRIBUTE] == original.user_attrs[PROBE_SIZE_ATTRIBUTE]
    work_on(later)
    records = {r.number: r for r in later.stores.trials.records(later.study.id, kind=WorkKind.SEARCH)}
    assert records[again.number].status is TrialStatus.FINISHED and records[again.number].is_probe
    assert set(states_of(later)) == {TrialState.COMPLETE, TrialState.FAIL}
    assert search_is_over(read_snapshot(later.stores, later.study.name))


@on_sqlite
def test_no_probe_is_made_again_after_the_share_of_probes(make: Make) -> None:
    context = make(1)
    for _ in NETWORKS:
        run(context)
    run(context, too_late=True)
    stores, now = context.stores, context.stores.database.now()
    stores.studies.set_deadline(context.study.id, now + 7200.0, period_began=now - 9 * 7200.0)
    assert enqueue_given_up(stores, read_study(stores, context.study.name)) == 0


@everywhere
def test_a_killed_probe_is_given_up_at_the_deadline(make: Make) -> None:
    context = make(0)
    run(context)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_item(replace(context, train=die), take(context), lambda: False)
    give_up_waiting_probes(context.stores, context.study)
    assert TrialState.RUNNING in states_of(context), "its worker may live"
    context.stores.recovery.expire_worker(context.worker)
    give_up_waiting_probes(context.stores, context.study)
    assert TrialState.RUNNING not in states_of(context)
    assert read_snapshot(context.stores, context.study.name).waiting == 0
    later = with_more_time(context, 7200.0)
    assert enqueue_given_up(later.stores, later.study) == 1


@on_sqlite
def test_a_worker_that_died_while_it_gave_up_a_probe_leaves_nothing(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = make(0)
    run(context)
    queue_class = type(context.stores.queue)

    def die(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(queue_class, "discard", die)
        with pytest.raises(KeyboardInterrupt):
            run(context, too_late=True)
    context.stores.recovery.expire_worker(context.worker)
    run(context, too_late=True)
    snapshot = read_snapshot(context.stores, context.study.name)
    assert (snapshot.waiting, snapshot.running) == (0, 0)
    assert states_of(context).count(TrialState.FAIL) == 1


@on_sqlite
def test_probes_that_miss_their_share_keep_no_worker_from_trials(make: Make) -> None:
    context = make(1)
    run(context)
    guard, study = DeadlineGuard(context.stores), context.study
    probe = Recipe.from_flat({**study.spec.default_recipe(), "method": LINEAR_PROBE, "epochs": 1})
    assert WorkKind.SEARCH in guard.kinds_to_begin(study)
    for number in range(GIVE_UPS):
        limit = guard.limit(study, replace(take(context), id=number), lambda: False)
        assert isinstance(limit, TimeLimit)
        limit.fit(probe)
        limit.missed = study.deadline
    assert WorkKind.SEARCH in guard.kinds_to_begin(study)
