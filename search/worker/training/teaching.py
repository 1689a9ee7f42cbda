"""The teachers of a work item of self-distillation, trained before its students under the same lease and limits."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from search.study_state.optuna_attributes import TEACHERS_ATTRIBUTE
from search.worker.task import LeaseLost, Task
from trainer.recipe.recipe import Recipe

if TYPE_CHECKING:
    from search.worker.study_context import StudyContext
    from trainer.training.results import EpochReport, TrainingData, Verdict
    from trainer.training.teaching.teachers import Teaching

log = logging.getLogger(__name__)


def teach(context: StudyContext, task: Task, recipe: Recipe, data: TrainingData) -> Teaching:
    """Train the teachers of an item, and make the soft targets of its students.

    Finished teachers are kept beside the item's checkpoint until its outcome is stored, so that the next worker trains
    only those that are left.

    Raises:
        LeaseLost: another worker holds the item.
        GpuOccupied: other programs hold the GPU's memory.
    """
    from trainer.training.results import Verdict
    from trainer.training.teaching.soft_targets import fold_pairs
    from trainer.training.teaching.teachers import train_teachers

    item, lease, total = task.item, task.lease, len(fold_pairs(data.num_folds))
    shown = -1

    def show(done: int) -> None:
        nonlocal shown
        if task.trial is not None and done != shown:  # refits have no trial
            task.trial.set_user_attr(TEACHERS_ATTRIBUTE, [done, total])
            shown = done

    def on_epoch(done: int, report: EpochReport) -> Verdict:
        score = f"{context.study.metric} {report.metric:.4f}, training loss {report.train_loss:.4f}"
        where = f"teacher {done + 1} of {total}, epoch {report.epoch} of {report.epochs}"
        log.info("%s: %s, %s, %.1f s", task.name, where, score, report.seconds)
        if not lease.check():
            raise LeaseLost
        show(done + (report.epoch == report.epochs))
        return Verdict.STOP if task.stop_requested() else Verdict.CONTINUE

    show(0)
    teaching = train_teachers(
        recipe,
        data,
        metric=context.study.metric,
        seed=item.seed,
        device=context.device,
        on_epoch=on_epoch,
        folder=context.artifacts.checkpoint(context.study.name, item.id).parent,
        weights_dir=context.weights_dir,
        loader=context.loader,
        abandon=lambda: lease.lost or task.overdue() or task.limit.passed(),
    )
    if teaching.targets is not None:
        show(total)
    return teaching
