"""What the stores take and give back: plain values, checked once at the door."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from storage.errors import StorageError

_REASON_LIMIT = 4000  # characters


class WorkKind(StrEnum):
    """What a work item is for: a sampled trial, a finalist on a fresh split, or a part of the export."""

    SEARCH = "search"
    CONFIRM = "confirm"
    REFIT = "refit"


class WorkState(StrEnum):
    """Where a work item stands. ``stored`` and ``failed`` are final, each with a trial record."""

    QUEUED = "queued"
    LEASED = "leased"
    STORED = "stored"
    FAILED = "failed"


class TrialStatus(StrEnum):
    """How a training ended. All but ``failed`` count against the budget: they tell the sampler something."""

    FINISHED = "finished"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    FAILED = "failed"


class Failure(StrEnum):
    """Why a training failed, as far as it matters for what is to be done about it."""

    MEMORY = "memory"
    """One image at a time is too much for the device, or its process ran out of memory again and again."""
    DATA = "data"
    """Images that the worker cannot read."""
    WEIGHTS = "weights"
    """Pre-trained weights that are not at hand."""
    DISK = "disk"
    """No room to write."""
    DEVICE = "device"
    """The GPU or its driver broke down."""
    LOST = "lost"
    """Workers that vanished while they trained it."""
    BUG = "bug"
    """Anything else."""


class StudyState(StrEnum):
    """``paused``: no work is given out. ``stopped``: no search any more, but confirmation and refits."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


@dataclass(frozen=True, kw_only=True)
class EpochCurve:
    """One epoch of a trial. A number that is not finite is stored as missing and read back as NaN."""

    epoch: int
    """From 1."""
    metric: float
    soft: float
    """Mean out-of-fold probability of the true class, 0 to 1."""
    train_loss: float
    seconds: float
    fold_metrics: tuple[float, ...]
    true_class: npt.NDArray[np.float16]
    """Out-of-fold probability of the true class of each training image, float16 ``(n,)``."""


@dataclass(frozen=True, kw_only=True)
class TrialOutcome:
    """What a worker hands over when a training ended, however it ended.

    ``predictions`` are class probabilities by name (``oof``, ``test``, ``oof.hflip`` ...), stored as float32
    ``(images, classes)``.

    Raises:
        StorageError: a finished trial with a ``value`` that is not finite, or arrays of impossible shape.
    """

    status: TrialStatus
    failure: Failure | None = None
    """What kind of failure, of a failed trial."""
    reason: str = ""
    value: float | None = None
    """The metric at the last epoch; a pruned trial's is that of the epoch at which it ended. None where nothing was
    held out (a refit on all images), so that nothing could be scored."""
    value_se: float | None = None
    soft: float | None = None
    brier: float | None = None
    """Of the average of the fold models, as it may be expected to be (`trainer.evaluation.ambiguity`): lower is
    better.
    """
    ambiguity: float | None = None
    """By how much that is better than one model's."""
    temperature: float | None = None
    """At which the models are averaged for both, above 0."""
    epochs_done: int = 0
    seconds: float = 0.0
    machine: Mapping[str, Any] = field(default_factory=dict)
    curves: tuple[EpochCurve, ...] = ()
    predictions: Mapping[str, npt.NDArray[np.floating[Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", TrialStatus(self.status))
        if (self.status is TrialStatus.FAILED) != (self.failure is not None):
            raise StorageError(f"a trial that {self.status} has failure={self.failure!r}")
        if self.status is TrialStatus.FINISHED and self.value is not None and not math.isfinite(self.value):
            raise StorageError(f"a finished trial has a finite value, not {self.value!r}")
        for curve in self.curves:
            if curve.true_class.ndim != 1:
                raise StorageError(f"epoch {curve.epoch}: true_class has shape {curve.true_class.shape}, not (images,)")
        for name, proba in self.predictions.items():
            if proba.ndim != 2:
                raise StorageError(f"predictions {name!r} have shape {proba.shape}, not (images, classes)")


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """A stored outcome, without its curves and predictions (see `storage.records.trials.TrialStore`)."""

    id: int
    work_id: int
    study_id: int
    kind: WorkKind
    number: int | None
    """Optuna's trial number; None if the work failed before a trial was asked for."""
    split: int
    seed: int
    recipe: dict[str, Any] | None
    """The complete recipe that ran, flat; None if the work failed before it was known."""
    machine: dict[str, Any]
    note: dict[str, Any]
    """As given with the work item."""
    worker: str | None
    attempt: int
    status: TrialStatus
    failure: Failure | None
    """None unless failed."""
    reason: str
    value: float | None
    value_se: float | None
    soft: float | None
    brier: float | None
    """As in `TrialOutcome`, like the next two; None unless finished with images held out."""
    ambiguity: float | None
    temperature: float | None
    epochs_done: int
    seconds: float
    finished: float
    """Unix seconds, database's clock."""

    @property
    def counts(self) -> bool:
        """Whether it counts against the budget: a failure tells the sampler nothing."""
        return self.status is not TrialStatus.FAILED


def recipe_hash(recipe: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a flat recipe, independent of the order of its fields.

    Raises:
        StorageError: a value that JSON cannot hold.
    """
    try:
        text = json.dumps(dict(recipe), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StorageError(f"a recipe holds texts, finite numbers and booleans: {error}") from error
    return hashlib.sha256(text.encode()).hexdigest()


def finite_or_none(number: float | None) -> float | None:
    """A number for the database: SQLite would turn NaN into NULL on its own, PostgreSQL and JSON would not."""
    return None if number is None or not math.isfinite(number) else float(number)


def storable_text(text: str) -> str:
    """``text`` as both databases can hold it: no NUL, no half characters (of undecodable file names), not endless."""
    clean = text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode("utf-8")
    return clean if len(clean) <= _REASON_LIMIT else clean[: _REASON_LIMIT - 2] + " …"


DEFAULT_TRIAL = 0
"""Number of the default recipe's trial."""


FULL_DATA_SPLIT = -1
"""Split of a refit that trains on all images and holds nothing out."""


SEARCH_SPLIT = 0
"""The split that all search trials use; confirmation uses others."""


TRIAL_NOTE = "trial"
"""Key in the note of a confirmation's work item: the number of the search trial whose recipe it repeats."""
