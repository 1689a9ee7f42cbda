"""One work item from start to end: trial, recipe, training, store, tell."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import optuna

from search.runtime.failures import Action, Policy, WorkerLeaves, policy_for
from search.study_state.optuna_attributes import EPOCHS_ATTRIBUTE
from search.tuning.stagnation import stop_if_stalled
from search.tuning.suggest import sample
from search.tuning.tell import tell
from search.worker.dead_workers import stop_after_failures
from search.worker.lease import LeaseKeeper
from search.worker.retention import forget_the_beaten
from search.worker.study_context import StudyContext
from search.worker.task import LeaseLost, Task, called
from storage.database.outages import is_outage
from storage.errors import StorageError, StorageUnavailableError
from storage.optuna_storage import running_trial
from storage.queue.items import WorkItem
from storage.values import Failure, TrialOutcome, TrialStatus, WorkKind
from trainer.recipe.recipe import Recipe

if TYPE_CHECKING:
    from trainer.training.results import EpochReport

log = logging.getLogger(__name__)


def run_item(
    context: StudyContext,
    item: WorkItem,
    stop_requested: Callable[[], bool],
    orphans: Collection[int] = (),
    *,
    overdue: Callable[[], bool] = lambda: False,
    out_of_time: Callable[[Recipe, EpochReport], bool] = lambda recipe, report: False,
) -> None:
    """Run a work item that this worker has just taken.

    When this returns, the outcome is stored and told, or the item was handed back because ``stop_requested``, or
    another worker holds it. What goes wrong in the training is dealt with as `search.runtime.failures` says.

    Args:
        stop_requested: whether to stop after the epoch under way.
        orphans: Optuna trials that nobody works on; one of them is taken on before a new one is asked for.
        overdue: whether to leave the training at once, for the last checkpoint to be continued from.
        out_of_time: whether a training would end too late for the study's deadline; then it is handed back, as above.

    Raises:
        WorkerLeaves: the item is taken care of, but this worker would only meet the same trouble again.
        Exception: the database is gone for good; the item stays leased until its lease runs out.
    """
    with LeaseKeeper(context.stores.queue, item, lease=context.lease) as lease:
        try:
            trial = None
            if item.kind is WorkKind.SEARCH:
                named, trial = _name(context, item, orphans)
                if named is None:
                    return
                item = named
            task = Task(
                item=item,
                trial=trial,
                lease=lease,
                stop_requested=stop_requested,
                overdue=overdue,
                out_of_time=out_of_time,
            )
            outcome = context.train(context, task)
        except LeaseLost:
            log.info("%s was taken over by another worker and is dropped here", called(item))
            return
        except Exception as error:
            if is_outage(error):
                raise
            if lease.lost:
                log.info("%s was taken over by another worker; what failed here is dropped: %s", called(item), error)
                return
            policy = policy_for(error)
            # What is wrong with a disk or a file is plain from the message; everything else is for those who mend it.
            plain = policy.failure in (Failure.DISK, Failure.DATA, Failure.WEIGHTS)
            log.error("%s failed:\n%s", called(item), _reason(error) if plain else traceback.format_exc())
            _settle_failure(context, item, policy, _reason(error))
            return
        if outcome is None:
            if context.stores.queue.release(item):
                log.info("%s is handed back; the next worker goes on with it", called(item))
            return
        _keep(context, item, outcome)


def _keep(context: StudyContext, item: WorkItem, outcome: TrialOutcome) -> None:
    """Store the outcome, tell it, and remove what only its training needed."""
    try:
        stored = context.stores.queue.store(item, outcome)
    except StorageError as error:
        if is_outage(error) or outcome.status is TrialStatus.FAILED:
            raise
        # Storing it again would fail again, and so would training it again.
        log.error("%s cannot be stored:\n%s", called(item), traceback.format_exc())
        _keep(context, item, TrialOutcome(status=TrialStatus.FAILED, failure=Failure.BUG, reason=_reason(error)))
        return
    if not stored:
        log.info("%s was taken over by another worker; its result here is dropped", called(item))
        return
    context.artifacts.remove_checkpoint(context.study.name, item.id)
    tell(context.stores, context.study.id, context.optuna_study, item.id)
    if outcome.status is TrialStatus.FAILED:
        stop_after_failures(context.stores, context.study.id)
    elif item.kind is WorkKind.SEARCH:
        if outcome.status is TrialStatus.FINISHED:
            forget_the_beaten(context.stores, context.study, context.artifacts)
        stop_if_stalled(context.stores, context.study.name)
    log.info("%s: %s", called(item), outcome.reason or outcome.status)


def _settle_failure(context: StudyContext, item: WorkItem, policy: Policy, reason: str) -> None:
    if policy.action is Action.FAIL:
        _keep(context, item, TrialOutcome(status=TrialStatus.FAILED, failure=policy.failure, reason=reason))
    elif context.stores.queue.release(item, count_attempt=True):
        log.info("%s is handed back for another attempt", called(item))
    if policy.leave is not None:
        raise WorkerLeaves(f"this worker cannot go on here: {reason}", policy.leave)


def _name(context: StudyContext, item: WorkItem, orphans: Collection[int]) -> tuple[WorkItem | None, optuna.Trial]:
    """The item with its trial number and recipe (None: the lease was lost), and the Optuna trial it stands for."""
    study, begun = context.optuna_study, item.trial_number
    if begun is not None:
        return item, running_trial(study, begun)
    for number in orphans:
        try:
            return _take_on(context, item, number)
        except StorageUnavailableError:
            raise
        except (StorageError, optuna.exceptions.UpdateFinishedTrialError):
            log.info("trial %d was taken care of by another process first", number)
    # Asked once: should the answer be lost, the trial that Optuna made meanwhile is an orphan like any other.
    with context.stores.optuna_storage.one_look():
        trial = study.ask()
        return _name_as(context, item, trial)


def _take_on(context: StudyContext, item: WorkItem, orphan: int) -> tuple[WorkItem | None, optuna.Trial]:
    trial = running_trial(context.optuna_study, orphan)
    return _name_as(context, item, trial)


def _name_as(context: StudyContext, item: WorkItem, trial: optuna.Trial) -> tuple[WorkItem | None, optuna.Trial]:
    backend = context.stores.optuna_storage
    with backend.collecting(trial) as writes:
        recipe = sample(trial, context.spec)
        trial.set_user_attr(EPOCHS_ATTRIBUTE, recipe.epochs)
    if not backend.write(writes):
        raise optuna.exceptions.UpdateFinishedTrialError(f"trial {trial.number} was ended by somebody else")
    return context.stores.queue.assign_trial(item, trial.number, recipe.to_flat()), trial


def _reason(error: Exception) -> str:
    """What failed and where, on one line; the worker's log has the traceback."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message} ({where.name}, line {where.lineno})"
