"""Value types that the stores accept and return, and constants of the trials. No SQL."""

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

_TEXT_LIMIT = 4000  # characters

RENAMED_VALUES = {("init", "imagenet"): "pretrained"}
"""New value by field and old value, as in `trainer.recipe.recipe`: rows may hold the old one."""
ADDED_FIELDS = {
    "method": "fine_tune",
    "head": "random",
    "norm": "batch",
    "tune": "all",
    "lora_rank": 8,
    "lora_alpha": 16.0,
    "wise_ft": False,
    "suspicious_labels": "keep",
}
"""Fields of a recipe that rows may lack, with the value that they had before they were settings: their default."""


class WorkKind(StrEnum):
    """The purpose of a work item."""

    SEARCH = "search"
    """A trial whose recipe the sampler draws."""
    CONFIRM = "confirm"
    """The cross-validation of a finalist on a fresh split."""
    REFIT = "refit"
    """The training of one member of the exported model."""


class WorkState(StrEnum):
    """The state of a work item. ``stored`` and ``failed`` are final; each comes with a trial record."""

    QUEUED = "queued"
    LEASED = "leased"
    STORED = "stored"
    FAILED = "failed"


class TrialStatus(StrEnum):
    """How a training ended. All but ``failed`` count against the budget, because the sampler learns from them."""

    FINISHED = "finished"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    FAILED = "failed"


class Failure(StrEnum):
    """The cause of a failed training. `search.runtime.failures` lists the reaction to each."""

    MEMORY = "memory"
    """A batch of one image exceeds the memory of the device, or the process repeatedly ran out of memory."""
    DATA = "data"
    """The worker cannot read some images."""
    WEIGHTS = "weights"
    """Pre-trained weights are missing."""
    DISK = "disk"
    """The disk is full."""
    DEVICE = "device"
    """The GPU or its driver broke down."""
    LOST = "lost"
    """Several workers vanished or broke down while they trained it."""
    BUG = "bug"
    """Anything else."""


class StudyState(StrEnum):
    """Which work items of a study workers may take."""

    RUNNING = "running"
    """All."""
    PAUSED = "paused"
    """None."""
    STOPPED = "stopped"
    """Confirmations and refits, no search trials."""


@dataclass(frozen=True, kw_only=True)
class EpochCurve:
    """Scores of a trial after one epoch. Numbers that are not finite are stored as NULL and read as NaN."""

    epoch: int
    """From 1."""
    metric: float
    """Of all out-of-fold predictions together; higher is better."""
    mean_true_probability: float
    """Mean out-of-fold probability of the true class, 0 to 1."""
    train_loss: float
    seconds: float
    """Duration of the epoch, all folds together."""
    fold_metrics: tuple[float, ...]
    """The metric of each fold's validation images."""
    true_class: npt.NDArray[np.float16]
    """Out-of-fold probability of the true class of each training image, float16 ``(n,)``."""


@dataclass(frozen=True, kw_only=True)
class TrialOutcome:
    """The result of a training, successful or not, as a worker stores it.

    Raises:
        StorageError: the ``value`` of a finished trial is not finite, ``failure`` does not fit ``status``, or an array
            has the wrong number of dimensions.
    """

    status: TrialStatus
    failure: Failure | None = None
    """The cause; None unless failed."""
    reason: str = ""
    """Explanation for the user, such as the error message of a failure."""
    value: float | None = None
    """The metric after the last trained epoch; higher is better. None where no image was held out (a refit on all
    images), so that there is no score."""
    value_se: float | None = None
    """Standard error of ``value``."""
    mean_true_probability: float | None = None
    """Mean out-of-fold probability of the true class after the last trained epoch, 0 to 1."""
    brier: float | None = None
    """Expected Brier score of the average of the fold models (`trainer.evaluation.ambiguity`); lower is better."""
    ambiguity: float | None = None
    """How much lower ``brier`` is than the Brier score of a single fold model."""
    temperature: float | None = None
    """Softmax temperature, above 0, that ``brier`` and ``ambiguity`` are computed at."""
    epochs_done: int = 0
    seconds: float = 0.0
    """Training time: the sum over the epochs, of all attempts."""
    overhead: float = 0.0
    """Seconds of the last attempt beside its epochs: reading pixels, building networks, predicting, saving weights."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    """Description of the machine; plain JSON."""
    curves: tuple[EpochCurve, ...] = ()
    """One for each epoch."""
    predictions: Mapping[str, npt.NDArray[np.floating[Any]]] = field(default_factory=dict)
    """Class probabilities by name (``oof``, ``test``, ``oof.hflip`` ...), stored as float32 ``(images, classes)``."""
    networks: Mapping[str, str] | None = None
    """SHA-256 (hex) of each weights file that was kept (`storage.artifacts.ArtifactFolder.digests`); None: unknown."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", TrialStatus(self.status))
        if (self.status is TrialStatus.FAILED) != (self.failure is not None):
            raise StorageError(f"a trial has a failure if and only if it failed: {self.status}, {self.failure!r}")
        if self.status is TrialStatus.FINISHED and self.value is not None and not math.isfinite(self.value):
            raise StorageError(f"the value of a finished trial must be finite, not {self.value!r}")
        for curve in self.curves:
            if curve.true_class.ndim != 1:
                raise StorageError(f"epoch {curve.epoch}: true_class has shape {curve.true_class.shape}, not (images,)")
        for name, proba in self.predictions.items():
            if proba.ndim != 2:
                raise StorageError(f"predictions {name!r} have shape {proba.shape}, not (images, classes)")


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """A stored `TrialOutcome`. `storage.records.trials.TrialStore` reads its curves and predictions separately."""

    id: int
    work_id: int
    study_id: int
    kind: WorkKind
    number: int | None
    """Optuna's trial number; None for confirmations, refits, and failures that came before the trial was created."""
    split: int
    seed: int
    recipe: dict[str, Any] | None
    """All fields of the recipe, flat; None for a failure that came before it was drawn."""
    machine: dict[str, Any]
    note: dict[str, Any]
    """The note of the work item."""
    worker: str | None
    """Name of the worker that stored it."""
    attempt: int
    status: TrialStatus
    failure: Failure | None
    reason: str
    value: float | None
    value_se: float | None
    mean_true_probability: float | None
    brier: float | None
    """As in `TrialOutcome`, like the next two; None unless finished with images held out."""
    ambiguity: float | None
    temperature: float | None
    epochs_done: int
    seconds: float
    finished: float
    """Unix seconds on the database's clock."""
    overhead: float = 0.0
    """As in `TrialOutcome`; 0 in records of earlier releases."""
    networks: dict[str, str] | None = None
    """As in `TrialOutcome`; None if an earlier release trained it."""

    @property
    def cost(self) -> float:
        """Seconds of a worker: epochs and overhead."""
        return self.seconds + self.overhead

    @property
    def repeated_trial(self) -> int:
        """Number of the search trial whose recipe a confirmation repeats.

        Raises:
            StorageError: the record does not say it.
        """
        number: object = self.note.get(TRIAL_NOTE)
        if type(number) is not int:
            raise StorageError(f"trial record {self.id} does not say which trial it repeats: the database is damaged")
        return number

    @property
    def repeats_probe(self) -> bool:
        """Whether a confirmation repeats a probe."""
        return self.note.get(OF_PROBE_NOTE) is True

    @property
    def counts(self) -> bool:
        """Whether it counts against the budget. Failures and probes do not: the sampler learns nothing from them."""
        return self.status is not TrialStatus.FAILED and not self.is_probe

    @property
    def is_probe(self) -> bool:
        """Whether it is one of the linear probes with which a study begins."""
        return self.note.get(PROBE_NOTE) is True


def current_value(parameter: str, value: Any) -> Any:
    """The value that stands for a stored one today (`RENAMED_VALUES`).

    Args:
        parameter: a field of a flat recipe, or a sampled parameter: the field, or the field, ``@`` and a word.
    """
    return RENAMED_VALUES.get((parameter.partition("@")[0], value), value) if isinstance(value, str) else value


def with_added_fields(recipe: dict[str, Any]) -> dict[str, Any]:
    """A stored recipe with the `ADDED_FIELDS` that it lacks; a partial recipe, without `init`, stays as it is."""
    return {**ADDED_FIELDS, **recipe} if "init" in recipe else recipe


def recipe_hash(recipe: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a flat recipe, independent of the order of its fields.

    A value and the one that it replaced (`RENAMED_VALUES`) have the same hash, and so have a recipe with the defaults
    of `ADDED_FIELDS` and one without these fields: stored hashes stay valid.

    Raises:
        StorageError: JSON cannot represent a value.
    """
    as_first_stored = {k: v for k, v in recipe.items() if k not in ADDED_FIELDS or v != ADDED_FIELDS[k]}
    try:
        text = json.dumps(
            {**as_first_stored, **_old_values(recipe)}, sort_keys=True, separators=(",", ":"), allow_nan=False
        )
    except (TypeError, ValueError) as error:
        raise StorageError(f"a recipe may hold only texts, finite numbers and booleans: {error}") from error
    return hashlib.sha256(text.encode()).hexdigest()


def _old_values(recipe: Mapping[str, Any]) -> dict[str, str]:
    return {field: old for (field, old), new in RENAMED_VALUES.items() if recipe.get(field) == new}


def finite_or_none(number: float | None) -> float | None:
    """``number``, or None where it is not finite: SQLite would store NaN as NULL, PostgreSQL and JSON would not."""
    return None if number is None or not math.isfinite(number) else float(number)


def storable_text(text: str) -> str:
    """``text`` as SQLite and PostgreSQL can store it, cut to 4,000 characters.

    Escapes NUL and lone surrogates, which come from file names that cannot be decoded.
    """
    clean = text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode("utf-8")
    return clean if len(clean) <= _TEXT_LIMIT else clean[: _TEXT_LIMIT - 2] + " …"


DEFAULT_TRIAL = 0
"""Optuna's number of the trial that runs the default recipe."""


FULL_DATA_SPLIT = -1
"""Split of a refit that trains on all images and holds nothing out."""


SEARCH_SPLIT = 0
"""The split that all search trials use. Confirmations use others."""


PROBE_NOTE = "probe"
"""Key in the note of a search item and in the attributes of an enqueued trial: true if the trial is one of the linear
probes with which a study begins.
"""
PREDICTED_NOTE = "predicted_seconds"
"""Entry in the note of a search item: the seconds of its training that a rehearsal of a few steps predicts."""

SHORTENED_NOTE = "shortened"
"""Entry in the note of a search item: how its training was shortened for the deadline, a text for people."""

TOO_LATE_NOTE = "too_late"
"""Entry in the note of a search item that a worker has released because it would end too late: the deadline, the time
of the release (both Unix seconds), and the number of search trials that had ended by then.
"""

GIVEN_UP_NOTE = "given_up"
"""Entry beside `TOO_LATE_NOTE`: why the trial would end too late, a text for people."""


RUNGS_NOTE = "rungs"
"""Key in the note of a search item: its number of epochs, and its value at each rung that it has reached."""


TRIAL_NOTE = "trial"
"""Key in the note of a confirmation's work item: the number of the search trial whose recipe it repeats."""

OF_PROBE_NOTE = "of_probe"
"""Key in the note of a confirmation's work item: true if that trial is a probe."""
