"""Names of the user attributes that Retable sets on Optuna's trials, and suffixes of the sibling studies in Optuna."""

from __future__ import annotations

from optuna.trial import FrozenTrial

from storage.optuna_storage.optuna_trials import ENDED_BECAUSE
from storage.values import PROBE_NOTE, WorkKind

EPOCHS_ATTRIBUTE = "epochs"
"""Attribute of every trial: the number of epochs of its recipe."""

ORIGIN_ATTRIBUTE = "origin"
"""Attribute of every trial that no sampler proposed: ``SOURCE: DETAILS``, see `search.tuning.warm_starts`."""

SIBLINGS: dict[WorkKind, str] = {WorkKind.CONFIRM: ".confirm", WorkKind.REFIT: ".final"}
"""Suffixes that turn the name of a study into the names of the Optuna studies with its confirmations and refits."""

PROBE_ATTRIBUTE = PROBE_NOTE
"""Attribute of a trial that is one of the linear probes with which a study begins: true."""

PROBE_SIZE_ATTRIBUTE = "probe_size"
"""Attribute of a probe on images larger than those of the study's trials: their side in pixels."""

TEACHERS_ATTRIBUTE = "teachers"
"""Attribute of a trial of self-distillation: the numbers of its finished teachers and of all of them."""

WORK_ATTRIBUTE = "work_item"
"""Attribute of every ended trial with a record: the id of its work item."""

REASON_ATTRIBUTE = ENDED_BECAUSE
"""Attribute of a trial that failed, was pruned or never began: why."""

GIVEN_UP_ATTRIBUTE = "missed_deadline"
"""Attribute of a probe that was given up: the deadline of the study that it would have missed, Unix seconds."""

RETRY_ATTRIBUTE = "retry_of"
"""Attribute of a trial that repeats a failed one or a probe that was given up: the number of that trial."""

SECONDS_ATTRIBUTE = "seconds"
"""Attribute of every ended trial: seconds of training."""

OBJECTIVE_ATTRIBUTE = "search_objective"
"""Attribute of every finished trial: the value that samplers maximise (`search.statistics.ranking.objective`)."""


def teacher_under_way(trial: FrozenTrial) -> str:
    """The teacher that trains for a trial of self-distillation, such as ``teacher 3/10``; empty: none trains."""
    match trial.user_attrs.get(TEACHERS_ATTRIBUTE):
        case [int(done), int(total)] if 0 <= done < total:
            return f"teacher {done + 1}/{total}"
    return ""


def objective_of_trial(trial: FrozenTrial) -> float | None:
    """The value of a finished trial that samplers maximise: of its attribute, else its own value.

    Trials that an earlier release has ended lack the attribute, because that value is their own.
    """
    stored = trial.user_attrs.get(OBJECTIVE_ATTRIBUTE)
    return float(stored) if isinstance(stored, int | float) else trial.value
