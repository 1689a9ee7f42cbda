"""The interface of a tracker, and what it is given: plain values of a training, an epoch and an export."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from storage.values import TrialRecord, WorkKind


@dataclass(frozen=True, kw_only=True)
class TrackedStudy:
    """The study of a training."""

    key: str
    """Identifies the study among those of all databases."""
    name: str
    metric: str
    sampled: Collection[str] = ()
    """Fields of the recipe that the study samples."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training that begins, continues or has ended."""

    study: TrackedStudy
    work_id: int
    """Of the work item: the same after an interruption."""
    attempt: int
    """Rises each time a worker takes the work item. A new attempt may repeat epochs that the last one tracked."""
    kind: WorkKind
    number: int | None
    """Of the search trial; None for confirmations and refits."""
    split: int
    seed: int
    settings: Mapping[str, str | int | float | bool]
    """The recipe, flat."""
    is_probe: bool = False

    @property
    def key(self) -> str:
        """Identifies the training among those of all databases."""
        return f"{self.study.key}/{self.work_id}"

    @property
    def name(self) -> str:
        """A file name that is unique in the study: ``trial-7``, ``confirm-31-split-1-seed-0``."""
        if self.kind is WorkKind.SEARCH and self.number is not None:
            return f"{'probe' if self.is_probe else 'trial'}-{self.number}"
        return f"{self.kind}-{self.work_id}-split-{self.split}-seed-{self.seed}"


class EpochScores(Protocol):
    """The scores of all folds after the same number of epochs; NaN where no image was held out."""

    @property
    def epoch(self) -> int: ...

    @property
    def metric(self) -> float: ...

    @property
    def mean_true_probability(self) -> float: ...

    @property
    def fold_metrics(self) -> tuple[float, ...]: ...

    @property
    def train_loss(self) -> float: ...

    @property
    def seconds(self) -> float: ...


@dataclass(frozen=True, kw_only=True)
class TrackedExport:
    """An export of the study."""

    folder: Path
    score: float | None
    """Of the final model on held-out images, or from confirmations; None without one."""
    pictures: Sequence[Path]
    """PNG files."""
    files: Sequence[Path]
    """Further files of a moderate size."""


class Tracker(Protocol):
    """Records trainings elsewhere. Any exception of a method ends its use in this process, never a training.

    Calls come from one thread. A killed worker leaves a training without an end. The next worker goes on with it, with
    a higher attempt, and may repeat the epochs after the last checkpoint, with equal values.
    """

    def on_epoch(self, training: Training, scores: EpochScores) -> None:
        """An epoch has ended."""

    def on_trial_end(self, training: Training, record: TrialRecord, pictures: Sequence[Path]) -> None:
        """A search trial, confirmation or refit has ended, and its outcome is stored."""

    def on_export(self, study: TrackedStudy, export: TrackedExport) -> None:
        """The study was exported."""

    def close(self) -> None:
        """Write what is left; the process ends."""


def scalars(study: TrackedStudy, scores: EpochScores) -> dict[str, float]:
    """The finite numbers of an epoch by name: ``accuracy/all``, ``accuracy/fold0``, ``loss/train`` ..."""
    named = {
        f"{study.metric}/all": scores.metric,
        **{f"{study.metric}/fold{fold}": value for fold, value in enumerate(scores.fold_metrics)},
        "probability_of_true_class/all": scores.mean_true_probability,
        "loss/train": scores.train_loss,
        "seconds/epoch": scores.seconds,
    }
    return {name: float(value) for name, value in named.items() if value == value and abs(value) != float("inf")}
