"""Names of the user attributes that Retable gives to Optuna's trials, and of its sibling studies."""

from __future__ import annotations

from storage.values import WorkKind

EPOCHS_ATTRIBUTE = "epochs"
"""User attribute of every trial: its total number of epochs."""


ORIGIN_ATTRIBUTE = "origin"
"""User attribute of trials that no sampler proposed: who did, a colon, and what is known of it."""


SIBLINGS: dict[WorkKind, str] = {WorkKind.CONFIRM: ".confirm", WorkKind.REFIT: ".final"}
"""What is added to a study's name for the Optuna study that shows its confirmations and refits."""

WORK_ATTRIBUTE = "work_item"


RETRY_ATTRIBUTE = "retry_of"
"""User attribute of a trial: the number of the failed one that it repeats."""


SECONDS = "seconds"
"""User attribute of an ended trial: what its training took."""
