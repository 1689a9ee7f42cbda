"""Small values for the storage tests: a data set, an outcome, a curve, and a clock."""

from __future__ import annotations

import numpy as np
from sqlalchemy import ColumnElement, Double, literal

from storage.queue.items import WorkItem
from storage.queue.work_queue import WorkQueue
from storage.records.datasets import StoredDataset
from storage.records.study_rows import StoredStudy
from storage.values import EpochCurve, TrialOutcome, TrialStatus

PROCESSES = 8
LEASE = 100.0  # seconds
RECIPE = {"backbone": "resnet10t", "optimizer.lr": 0.001, "epochs": 3}


class StandingClock:
    """A database clock in Unix seconds that moves only by `forward`."""

    def __init__(self, seconds: float = 1_000_000.0) -> None:
        self.seconds = seconds

    def __call__(self) -> ColumnElement[float]:
        return literal(self.seconds, Double())

    def forward(self, seconds: float) -> None:
        """Advance the clock."""
        self.seconds += seconds


def stored_dataset(fingerprint: str = "f" * 64) -> StoredDataset:
    """A data set of four training and two test images in two classes."""
    return StoredDataset(
        fingerprint=fingerprint,
        class_names=("cat", "dog"),
        train_ids=("a.jpg", "b.jpg", "c.jpg", "d.jpg"),
        test_ids=("x", "ÿ"),
        y=np.array([0, 1, 0, 1]),
        groups=np.array([0, 1, 2, 2, 3, 0]),
        summary={"reader": "table", "sizes": [224, 224]},
    )


def finished(value: float = 0.75, epochs: int = 2) -> TrialOutcome:
    """Outcome of a finished trial on the images of `stored_dataset`."""
    rng = np.random.default_rng(0)
    return TrialOutcome(
        status=TrialStatus.FINISHED,
        value=value,
        value_se=0.1,
        mean_true_probability=0.6,
        brier=0.35,
        ambiguity=0.04,
        temperature=0.8,
        epochs_done=epochs,
        seconds=12.5,
        machine={"device": "cpu", "micro_batch": 16},
        curves=tuple(curve(epoch) for epoch in range(1, epochs + 1)),
        predictions={"oof": rng.random((4, 2), dtype=np.float32), "test": rng.random((2, 2), dtype=np.float32)},
    )


def curve(epoch: int) -> EpochCurve:
    """Values of one epoch on the images of `stored_dataset`, with NaN for one fold."""
    return EpochCurve(
        epoch=epoch,
        metric=0.5 + epoch / 100,
        mean_true_probability=0.4,
        train_loss=1.25,
        seconds=3.0,
        fold_metrics=(0.5, float("nan")),
        true_class=np.array([0.1, 0.25, 0.5, 1.0], dtype=np.float16),
    )


def take(queue: WorkQueue, study: StoredStudy, worker: str = "w1") -> WorkItem:
    """Take the next item for `LEASE` seconds. There has to be one."""
    item = queue.take(study.id, worker, LEASE)
    assert item is not None
    return item


def take_assigned(queue: WorkQueue, study: StoredStudy, number: int, worker: str = "w1") -> WorkItem:
    """Take the next item and assign the trial with that number to it."""
    item = queue.assign_trial(take(queue, study, worker), number, {**RECIPE, "epochs": number + 1})
    assert item is not None
    return item
