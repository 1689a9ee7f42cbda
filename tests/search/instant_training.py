"""Replace a context's training: outcomes have random predictions of a given accuracy, and take no time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from search.worker.study_context import StudyContext
from search.worker.task import Task
from storage.values import TrialOutcome, TrialStatus
from trainer.common.randomness import random_generator
from trainer.evaluation.ambiguity import expected_average
from trainer.evaluation.metrics import score, standard_error
from trainer.evaluation.targets import Targets
from trainer.recipe.recipe import FIELDS

SECONDS = 10.0


def pretending(
    context: StudyContext, quality: Callable[[Task], float], seconds: Callable[[Task], float] = lambda task: SECONDS
) -> StudyContext:
    """A copy of ``context`` whose trainings return random predictions at once.

    Args:
        quality: probability, 0 to 1, that an image's true class has the largest predicted probability.
        seconds: reported duration of a training.
    """

    def train(context: StudyContext, task: Task) -> TrialOutcome:
        y, classes = context.images.y, len(context.images.class_names)
        # Without the defaults, so that a new field of recipes leaves the draws as they are.
        own = {name: value for name, value in (task.item.recipe or {}).items() if value != FIELDS[name].default}
        draws = random_generator(task.item.split, task.item.seed, str(sorted(own.items())))
        right = draws.random(len(y)) < quality(task)
        oof = draws.uniform(0.0, 0.3, (len(y), classes)).astype(np.float32)
        oof[np.arange(len(y)), np.where(right, y, (y + 1) % classes)] += 1.0
        oof /= oof.sum(axis=1, keepdims=True)
        test = draws.dirichlet(np.ones(classes), len(context.images.test_ids)).astype(np.float32)
        average = expected_average(Targets(y), oof, [])
        return TrialOutcome(
            status=TrialStatus.FINISHED,
            value=score("accuracy", Targets(y), oof),
            value_se=standard_error("accuracy", Targets(y), oof),
            mean_true_probability=float(oof[np.arange(len(y)), y].mean()),
            brier=average.brier,
            ambiguity=average.ambiguity,
            temperature=average.temperature,
            epochs_done=3,
            seconds=seconds(task),
            predictions={"oof": oof, "test": test},
        )

    return replace(context, train=train)
