"""One work item from start to end: assign an Optuna trial, train, store the outcome, report it to Optuna."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Collection
from typing import Any

import optuna

from search.runtime.failures import Action, Policy, WorkerLeaves, policy_for
from search.runtime.gpus.usage import BUSY
from search.study_state.gpu_sharing import is_first_measured, sharing_lines
from search.study_state.optuna_attributes import EPOCHS_ATTRIBUTE, PROBE_ATTRIBUTE
from search.tuning.probing.give_up import give_up_probe
from search.tuning.probing.next_trial import begin_next_trial
from search.tuning.report_to_optuna import report_to_optuna
from search.tuning.restore_optuna import is_replaced, optuna_study
from search.tuning.stagnation import stop_if_stagnant
from search.tuning.suggest import sample
from search.worker.dead_workers import stop_after_failures
from search.worker.lease import LeaseKeeper
from search.worker.limits.gpu_wait import GpuBusy
from search.worker.limits.limit import Limit, NoLimit
from search.worker.pausing import end_hopeless
from search.worker.retention import remove_outranked_weights
from search.worker.study_context import StudyContext
from search.worker.task import LeaseLost, Paused, Task, describe
from storage.database.outages import is_outage
from storage.errors import StorageError, StorageUnavailableError
from storage.optuna_storage.optuna_trials import running_trial
from storage.queue.items import WorkItem
from storage.values import GIVEN_UP_NOTE, PROBE_NOTE, TOO_LATE_NOTE, Failure, TrialOutcome, TrialStatus, WorkKind
from trainer.common.memory_errors import is_out_of_memory, shortage_in_words
from trainer.inference.printable import excerpt

MAX_REASON = 2_000  # characters of a stored message

log = logging.getLogger(__name__)


def run_item(
    context: StudyContext,
    item: WorkItem,
    stop_requested: Callable[[], bool],
    orphans: Collection[int] = (),
    *,
    overdue: Callable[[], bool] = lambda: False,
    limit: Limit | None = None,
    is_time_for_trial: Callable[[], bool] = lambda: True,
) -> bool:
    """Run a work item that this worker has just taken.

    Afterwards one of these holds: the outcome is stored and reported to Optuna; the trial is paused; the item is
    released because ``stop_requested`` or because of its ``limit``; another worker has taken it over; the item is
    discarded because no probe waits and the budget or the time is used up, or because its probe would end too late.
    Errors in the training are handled by the policies of `search.runtime.failures`.

    Args:
        stop_requested: whether to stop after the current epoch.
        orphans: numbers of orphaned trials (`search.worker.dead_workers.orphaned_trials`); a search item takes one of
            them instead of asking Optuna for a new trial.
        overdue: whether to abandon the training immediately; its last checkpoint stays.
        limit: what the study's deadline leaves of the training; None: no limit.
        is_time_for_trial: whether the study's deadline allows another trial that is no probe.

    Returns:
        Whether there was something to train: false for a discarded item.

    Raises:
        WorkerLeaves: the item is released or has failed, and the worker's next item would fail the same way.
        GpuBusy: the item is released, because other programs hold the GPU's memory.
        Exception: the database is gone for good; the item stays leased until its lease expires.
    """
    with LeaseKeeper(context.stores.queue, item, lease=context.lease) as lease:
        try:
            trial = None
            if item.kind is WorkKind.SEARCH:
                assigned, trial = _assign_trial(context, item, orphans, is_time_for_trial)
                if trial is None:
                    context.stores.queue.discard(item)
                    return False
                if assigned is None:
                    return True
                item = assigned
            task = Task(
                item=item,
                trial=trial,
                lease=lease,
                stop_requested=stop_requested,
                overdue=overdue,
                limit=limit or NoLimit(),
            )
            outcome = context.train(context, task)
        except LeaseLost:
            log.info("%s was taken over by another worker; its training here is dropped", describe(item))
            return True
        except GpuBusy as problem:
            if context.stores.queue.release(item):
                log.warning("%s is left to other workers: %s", describe(item), problem)
            raise
        except Exception as error:
            if is_outage(error):
                raise
            if is_replaced(context.stores, context.optuna_study):
                _continue_on_restored_study(context, item)
            else:
                _handle_error(context, item, lease, error)
            return True
        if isinstance(outcome, Paused):
            _pause(context, item, outcome)
        elif outcome is not None:
            _store(context, item, outcome)
        elif task.limit.missed is not None and item.note.get(PROBE_NOTE):
            _give_up(context, item, lease, task.limit.missed)
        elif context.stores.queue.release(item, note=_too_late(context, item, task.limit)):
            log.info("%s is released; the next worker continues it", describe(item))
        return True


def _too_late(context: StudyContext, item: WorkItem, limit: Limit) -> dict[str, Any] | None:
    """The note of a trial that would miss the deadline, see `TOO_LATE_NOTE`; None for another item."""
    if limit.missed is None or item.kind is not WorkKind.SEARCH:
        return None
    ended = context.stores.trials.count(context.study.id, WorkKind.SEARCH)
    return {TOO_LATE_NOTE: [limit.missed, context.stores.database.now(), ended], GIVEN_UP_NOTE: limit.given_up}


def _store(context: StudyContext, item: WorkItem, outcome: TrialOutcome) -> None:
    """Store the outcome, report it to Optuna, and remove files that only the training needed."""
    try:
        stored = context.stores.queue.store(item, outcome)
    except StorageError as error:
        if is_outage(error) or outcome.status is TrialStatus.FAILED:
            raise
        # The same outcome would fail again, so a failure is stored in its place.
        log.error("%s cannot be stored:\n%s", describe(item), traceback.format_exc())
        _store(context, item, TrialOutcome(status=TrialStatus.FAILED, failure=Failure.BUG, reason=_reason(error)))
        return
    if not stored:
        log.info("%s was taken over by another worker; its result here is dropped", describe(item))
        return
    context.artifacts.remove_checkpoint(context.study.name, item.id)
    _report(context, item)
    record = context.stores.trials.record_of(item.id)
    if record is not None:
        context.trackers.on_trial_end(context.tracked, record)
    if outcome.status is TrialStatus.FAILED:
        stop_after_failures(context.stores, context.study.id)
    elif item.kind is WorkKind.SEARCH:
        if outcome.status is TrialStatus.FINISHED:
            remove_outranked_weights(context.stores, context.study, context.artifacts)
        end_hopeless(context)
        stop_if_stagnant(context.stores, context.study.name)
    log.info("%s: %s", describe(item), outcome.reason or outcome.status)
    _log_sharing(context, outcome)


def _log_sharing(context: StudyContext, outcome: TrialOutcome) -> None:
    """After the first trial that was measured on a model of GPU, log whether another worker per GPU would pay."""
    if BUSY in outcome.machine:
        records = context.stores.trials.records(context.study.id, kind=WorkKind.SEARCH)
        if is_first_measured(records, outcome.machine):
            for line in sharing_lines(context.study.name, records):
                log.info("%s", line)


def _pause(context: StudyContext, item: WorkItem, paused: Paused) -> None:
    """Pause a trial whose checkpoint is written; its trial in Optuna keeps running."""
    try:
        done = context.stores.queue.pause(item, paused.reached, paused.outcome)
    except StorageError as error:
        if is_outage(error):
            raise
        log.error("%s cannot be paused:\n%s", describe(item), traceback.format_exc())
        _store(context, item, paused.outcome)
        return
    if not done:
        log.info("%s was taken over by another worker; its pause here is dropped", describe(item))
        return
    log.info("%s: paused after epoch %d of %d", describe(item), paused.outcome.epochs_done, paused.reached.epochs)
    end_hopeless(context)
    stop_if_stagnant(context.stores, context.study.name)


def _give_up(context: StudyContext, item: WorkItem, lease: LeaseKeeper, deadline: float) -> None:
    """End a probe that would end too late for ``deadline``; other trials wait for more time with their checkpoints."""
    if lease.check() and give_up_probe(context.stores, context.study, item, deadline):
        context.artifacts.remove_checkpoint(context.study.name, item.id)
        log.info("%s is given up: it would end too late", describe(item))


def _report(context: StudyContext, item: WorkItem) -> None:
    """Report a stored outcome to Optuna; if its study was deleted meanwhile, to the restored study."""
    stores, study = context.stores, context.optuna_study
    if is_replaced(stores, study):
        study = optuna_study(stores, context.study.stored)
    report_to_optuna(stores, context.study.id, study, item.id)


def _continue_on_restored_study(context: StudyContext, item: WorkItem) -> None:
    """Release an item whose trial was deleted with Optuna's study: its training continues as the restored trial."""
    optuna_study(context.stores, context.study.stored)
    if context.stores.queue.release(item):
        log.warning("%s was deleted in Optuna; it is restored, and the next worker continues it", describe(item))


def _handle_error(context: StudyContext, item: WorkItem, lease: LeaseKeeper, error: Exception) -> None:
    """Log an error that ended the training, and apply its policy. Called while ``error`` is being handled.

    Raises:
        WorkerLeaves: the policy ends the worker.
    """
    if lease.lost:
        log.info("%s was taken over by another worker; its error here is dropped: %s", describe(item), error)
        return
    policy = policy_for(error)
    # The message alone explains trouble with a disk or file; other errors need their type and the traceback.
    is_explained = policy.failure in (Failure.DISK, Failure.DATA, Failure.WEIGHTS)
    reason = _message(error) if is_explained and str(error).strip() else _reason(error)
    if is_out_of_memory(error):
        reason = excerpt(" ".join(shortage_in_words(error).split()), MAX_REASON)
    log.error("%s failed:\n%s", describe(item), reason if is_explained else traceback.format_exc())
    _apply(policy, context, item, reason)


def _apply(policy: Policy, context: StudyContext, item: WorkItem, reason: str) -> None:
    if policy.action is Action.FAIL:
        _store(context, item, TrialOutcome(status=TrialStatus.FAILED, failure=policy.failure, reason=reason))
    elif context.stores.queue.release(item, count_as_lost_worker=True):
        log.info("%s is released for another attempt", describe(item))
    if policy.leave is not None:
        raise WorkerLeaves(f"this worker cannot go on here: {reason}", policy.leave)


def _assign_trial(
    context: StudyContext, item: WorkItem, orphans: Collection[int], is_time_for_trial: Callable[[], bool]
) -> tuple[WorkItem | None, optuna.Trial | None]:
    """Assign an Optuna trial and its recipe to a search item.

    The trial is the one that the item already has, or an orphaned one, or a new one.

    Returns:
        The item with trial number and recipe (None: the lease was lost), and the trial (None: no probe waits, and the
        budget or the time is used up).
    """
    study = context.optuna_study
    if item.trial_number is not None:
        return item, running_trial(study, item.trial_number)

    def has_room() -> bool:
        return is_time_for_trial() and context.stores.queue.has_room(item)

    for number in orphans:
        try:
            if PROBE_ATTRIBUTE not in running_trial(study, number).user_attrs and not has_room():
                continue
            return _assign_recipe(context, item, running_trial(study, number))
        except StorageUnavailableError:
            raise
        except (StorageError, optuna.exceptions.UpdateFinishedTrialError):
            log.info("trial %d was handled by another process first", number)
    # Other workers' trials are read once. If an outage loses the answer, the begun trial becomes an orphan.
    with context.stores.optuna_storage.reading_once():
        trial = begin_next_trial(context.stores, context.study, study, context.probes, has_room)
        return (None, None) if trial is None else _assign_recipe(context, item, trial)


def _assign_recipe(context: StudyContext, item: WorkItem, trial: optuna.Trial) -> tuple[WorkItem | None, optuna.Trial]:
    """Sample the trial's recipe and assign both to the item, as in `_assign_trial`.

    Raises:
        UpdateFinishedTrialError: another process has ended the trial.
    """
    backend = context.stores.optuna_storage
    with backend.collecting(trial) as writes:
        recipe = sample(trial, context.spec)
        trial.set_user_attr(EPOCHS_ATTRIBUTE, recipe.epochs)
    if not backend.write(writes):
        raise optuna.exceptions.UpdateFinishedTrialError(f"trial {trial.number} was ended by another process")
    note = {PROBE_NOTE: True} if PROBE_ATTRIBUTE in trial.user_attrs else None
    return context.stores.queue.assign_trial(item, trial.number, recipe.to_flat(), note), trial


def _reason(error: Exception) -> str:
    """Type, message and place of an error, on one line."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {_message(error)} ({where.name}, line {where.lineno})"


def _message(error: Exception) -> str:
    """The message of an error on one line."""
    return excerpt(" ".join(str(error).split()), MAX_REASON)
