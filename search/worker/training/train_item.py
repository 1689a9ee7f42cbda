"""Training of a work item: cross-validate its recipe within the limits of time, memory and pruning."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from search.runtime.gpus.seat import gpu_share
from search.runtime.gpus.usage import UsageMeter
from search.study_state.optuna_attributes import EPOCHS_ATTRIBUTE
from search.worker.limits.gpu_wait import GpuWait
from search.worker.limits.limit import OutOfTime, TooSlow
from search.worker.pausing import RungKeeper
from search.worker.retention import may_be_exported, only_best_predict
from search.worker.task import LeaseLost, Paused, Task
from search.worker.training.outcome import outcome_of
from search.worker.training.save_networks import save_networks, trained_on
from search.worker.training.teaching import teach
from storage.optuna_storage.optuna_trials import stored_trial
from storage.values import (
    FULL_DATA_SPLIT,
    PREDICTED_NOTE,
    SHORTENED_NOTE,
    TrialOutcome,
    WorkKind,
)
from trainer.recipe.recipe import LINEAR_PROBE, Recipe

if TYPE_CHECKING:
    from search.worker.study_context import StudyContext
    from trainer.evaluation.ambiguity import Average
    from trainer.training.results import CVResult, EpochReport, Verdict

log = logging.getLogger(__name__)


def train(context: StudyContext, task: Task) -> TrialOutcome | Paused | None:
    """Cross-validate the item's recipe.

    Returns:
        The outcome, or that of a trial that pauses at a rung; None: the training was stopped, and its checkpoint is
        left for the next worker.

    Raises:
        LeaseLost: another worker holds the item.
        GpuBusy: other programs hold the GPU's memory; the checkpoint is left for another worker.
    """
    from trainer.training.folds.memory.device_memory import GpuOccupied

    recipe, gpu_wait = Recipe.from_flat(task.item.recipe or {}), GpuWait(task)
    while True:
        try:
            outcome = _train(context, task, recipe)
            if outcome is not None or not task.limit.ends_at_checkpoint():
                return outcome
            log.info("%s has no time for another epoch: it ends with those of its checkpoint", task.name)
            continue
        except TooSlow as slow:
            recipe = _shorten(context, task, slow)
            continue
        except OutOfTime as problem:
            log.info("%s is released: %s", task.name, problem)
            return None
        except GpuOccupied as problem:
            shortage, reason = problem.shortage, str(problem)
        # Outside the handler: inside, the exception would keep the memory of the failed training.
        context.release_memory()
        if not gpu_wait.until_over(shortage, reason):
            return None


def _train(context: StudyContext, task: Task, recipe: Recipe) -> TrialOutcome | Paused | None:
    """Cross-validate ``recipe``; as `train`.

    Raises:
        TooSlow: a shorter recipe should be trained instead.
        OutOfTime: the item should be released.
    """
    from trainer.networks.view_averaging import FLIPS
    from trainer.training.cross_validation import cross_validate
    from trainer.training.results import Verdict
    from trainer.training.teaching.pseudo_rows import without_pseudo_rows

    begun = time.monotonic()
    task.limit.fit(recipe)
    if task.limit.is_unknown(recipe):
        _rehearse(context, task, recipe)
    item, lease = task.item, task.lease
    in_search = item.kind is WorkKind.SEARCH
    rungs = RungKeeper(context, item, recipe.epochs)
    epoch_callback = _epoch_callback(context, task, recipe, rungs)
    in_epochs = 0.0

    def on_epoch(report: EpochReport) -> Verdict:
        nonlocal in_epochs
        in_epochs += report.seconds
        usage.mark()
        verdict = epoch_callback(report)
        context.trackers.on_epoch(context.tracked, item, report)
        return verdict

    def on_resume(report: EpochReport) -> Verdict:
        # A worker that was killed between writing the checkpoint and pausing the trial leaves the rung unrecorded.
        if rungs.pauses(report):
            return Verdict.PAUSE
        # The time that is left may not suffice for another epoch: the training then ends with those that it has.
        return task.limit.after_epoch(recipe, report)

    def worth_keeping(last: EpochReport, average: Average | None) -> bool:
        return may_be_exported(context.stores, context.study, recipe, last, average)

    split, origin = None if item.split == FULL_DATA_SPLIT else item.split, trained_on(context, recipe)
    data, in_earlier_attempts = context.training_data(recipe, split), 0.0
    if context.study.is_self_distilled:
        teaching = teach(context, task, recipe, data)
        if teaching.ended is not None:
            return _without_student(context, task, teaching.ended, begun)
        data, in_earlier_attempts = replace(data, soft_targets=teaching.targets), teaching.earlier_seconds
    with UsageMeter(context.device) as usage:
        result = cross_validate(
            recipe,
            data,
            metric=context.study.metric,
            seed=item.seed,
            device=context.device,
            on_epoch=on_epoch,
            on_batch=lambda share: task.limit.on_batch(recipe, share),
            on_resume=on_resume,
            abandon=lambda: lease.lost or task.overdue() or task.limit.passed(),
            checkpoint=context.artifacts.checkpoint(context.study.name, item.id),
            weights_dir=context.weights_dir,
            keep_models=True,
            # The export chooses among these, unless the recipe fixes them. A shortened trial has no time for them.
            views=FLIPS if recipe.tta == "none" and not task.limit.reason else ("identity",),
            worth_keeping=worth_keeping if in_search else None,
            predict_test="if kept" if in_search and only_best_predict(context.study, recipe, context.images) else True,
            loader=context.loader,
        )
    if data.left_out is not None:
        result = without_pseudo_rows(result, len(context.images.y))
    result = replace(result, machine={**result.machine, **usage.found(lambda: gpu_share(context.home, context.cores))})
    if lease.lost:
        raise LeaseLost
    if result.status == "stopped":
        return None
    pauses = result.status == "paused"
    if pauses:  # how the trial ends if it never continues
        result = replace(result, status="pruned", reason=f"pruned after epoch {result.epochs_done} of {recipe.epochs}")
    networks = save_networks(context, task, result, origin) if result.models else {}
    outcome = outcome_of(result, context.study.metric, context.targets)
    reason = outcome.reason or task.limit.reason
    overhead = max(0.0, time.monotonic() - begun - in_epochs) + in_earlier_attempts
    outcome = replace(outcome, reason=reason, overhead=overhead, networks=networks)
    return Paused(reached=rungs.paused, outcome=outcome) if pauses and rungs.paused is not None else outcome


def _without_student(context: StudyContext, task: Task, ended: CVResult, begun: float) -> TrialOutcome | None:
    """The outcome of an item of self-distillation of which a teacher has not finished; None: it was stopped.

    Args:
        begun: when the item began to train, on the monotonic clock.

    Raises:
        LeaseLost: another worker holds the item.
    """
    if task.lease.lost:
        raise LeaseLost
    if ended.status == "stopped":
        return None
    return replace(outcome_of(ended, context.study.metric, context.targets), overhead=time.monotonic() - begun)


def _rehearse(context: StudyContext, task: Task, recipe: Recipe) -> None:
    """Predict the length of a training of unknown cost, and record it for the plan that people see.

    Raises:
        TooSlow, OutOfTime: as `_train`.
        LeaseLost: another worker holds the item.
    """
    from trainer.training.throughput import rehearse_epoch

    speed = rehearse_epoch(
        recipe,
        images=len(context.images.y),
        folds=context.study.length_in_folds,
        num_classes=len(context.images.class_names),
        device=context.device,
        weights_dir=context.weights_dir,
    )
    if speed is None:
        return
    seconds = task.limit.rehearsed(recipe, speed)
    log.info("%s: a rehearsal of a few steps predicts %.0f s, %.1f s an epoch", task.name, seconds, speed.epoch)
    item = task.item
    assert item.trial_number is not None, "only trials are rehearsed"
    note = _predicted(task, seconds)
    if context.stores.queue.assign_trial(item, item.trial_number, recipe.to_flat(), note) is None:
        raise LeaseLost


def _predicted(task: Task, seconds: float) -> dict[str, Any]:
    """The note of an item whose training takes about ``seconds``, perhaps because it was shortened."""
    shortened = {SHORTENED_NOTE: task.limit.reason} if task.limit.reason else {}
    return {**task.item.note, PREDICTED_NOTE: seconds, **shortened}


def _shorten(context: StudyContext, task: Task, slow: TooSlow) -> Recipe:
    """Assign the shorter recipe to the trial, and remove the checkpoint of the longer one.

    Raises:
        LeaseLost: another worker holds the item.
    """
    log.info("%s is %s", task.name, slow.reason)
    trial = task.trial
    assert trial is not None, "only trials are shortened"
    context.artifacts.remove_checkpoint(context.study.name, task.item.id)
    note = None if slow.recipe.method == LINEAR_PROBE else _predicted(task, slow.seconds)
    if context.stores.queue.assign_trial(task.item, trial.number, slow.recipe.to_flat(), note) is None:
        raise LeaseLost
    trial.set_user_attr(EPOCHS_ATTRIBUTE, slow.recipe.epochs)
    return slow.recipe


def _epoch_callback(
    context: StudyContext, task: Task, recipe: Recipe, rungs: RungKeeper
) -> Callable[[EpochReport], Verdict]:
    """The function that `cross_validate` calls after each epoch: logs, reports to Optuna, decides whether to go on."""
    from trainer.training.results import Verdict

    trial = task.trial
    # An earlier attempt may have reported epochs already.
    reported = set() if trial is None or task.item.attempt == 1 else set(stored_trial(trial).intermediate_values)

    def on_epoch(report: EpochReport) -> Verdict:
        log.info("%s: epoch %d of %d, %s", task.name, report.epoch, report.epochs, _progress(context, report))
        if not task.lease.check():
            raise LeaseLost
        if trial is not None and np.isfinite(report.mean_true_probability) and report.epoch not in reported:
            trial.report(report.mean_true_probability, report.epoch)
        pauses = rungs.pauses(report)
        if task.stop_requested():
            return Verdict.PAUSE if pauses else Verdict.STOP
        verdict = task.limit.after_epoch(recipe, report)
        if pauses and verdict is not Verdict.FINISH:
            return Verdict.PAUSE
        if verdict is Verdict.STOP:
            log.info("%s is released: it would end too late for the deadline", task.name)
        if verdict is not Verdict.CONTINUE:
            return verdict
        if trial is not None and context.pruner.gives_up(trial, report):
            return Verdict.PRUNE
        return Verdict.CONTINUE

    return on_epoch


def _progress(context: StudyContext, report: EpochReport) -> str:
    if not np.isfinite(report.metric):
        return f"training loss {report.train_loss:.4f}, {report.seconds:.1f} s"
    return (
        f"{context.study.metric} {report.metric:.4f}, "
        f"true-class probability {report.mean_true_probability:.4f}, "
        f"training loss {report.train_loss:.4f}, {report.seconds:.1f} s"
    )
