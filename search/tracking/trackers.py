"""The trackers of a process. A tracker that fails is left out from then on, with one warning."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self

from search.tracking.options import TrackingOptions
from search.tracking.tracker import EpochScores, TrackedExport, TrackedStudy, Tracker, Training
from storage.database.locks import Purpose, exclusive
from storage.database.urls import without_passwords
from storage.queue.items import WorkItem
from storage.values import PROBE_NOTE, TrialRecord
from trainer.inference.printable import cause_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from storage.stores import Stores

CURVES = "learning_curves.png"
"""File name of the picture of a trial's learning curves."""

log = logging.getLogger(__name__)


def _tensorboard(folder: Path) -> Tracker:
    from search.tracking.tensorboard_events import TensorBoardTracker

    return TensorBoardTracker(folder)


def _mlflow(uri: str, lock: Callable[[], AbstractContextManager[None]]) -> Tracker:
    from search.tracking.mlflow_runs import MlflowTracker

    return MlflowTracker(uri, lock)


def _openers(options: TrackingOptions, stores: Stores) -> dict[str, Callable[[], Tracker]]:
    """Functions that open the trackers of ``options``, by the name in messages."""
    openers: dict[str, Callable[[], Tracker]] = {}
    if options.tensorboard is not None:
        openers["TensorBoard"] = partial(_tensorboard, options.tensorboard)
    if options.mlflow is not None:
        openers["MLflow"] = partial(_mlflow, options.mlflow, partial(exclusive, stores.database, Purpose.STUDIES))
    return openers


class Trackers:
    """Hands every event to all trackers. A context manager, which closes them."""

    def __init__(
        self, openers: Mapping[str, Callable[[], Tracker]] | None = None, stores: Stores | None = None
    ) -> None:
        """
        Args:
            openers: functions that open a tracker at its first event, by the name in messages.
            stores: from which the curves of ended trials are read for pictures; None: without pictures.
        """
        self._openers = dict(openers or {})
        self._open: dict[str, Tracker] = {}
        self._stores = stores

    @classmethod
    def of(cls, options: TrackingOptions, stores: Stores) -> Self:
        """The trackers of ``options``."""
        return cls(_openers(options, stores), stores)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for name in list(self._open):
            self._call(name, lambda tracker: tracker.close())

    def __bool__(self) -> bool:
        return bool(self._openers)

    def on_epoch(self, study: TrackedStudy, item: WorkItem, scores: EpochScores) -> None:
        """An epoch of a work item has ended."""
        self._call_all(lambda tracker: tracker.on_epoch(training_of_item(study, item), scores))

    def on_trial_end(self, study: TrackedStudy, record: TrialRecord) -> None:
        """The outcome of a search trial, confirmation or refit is stored."""
        if not self:
            return
        with self._pictures(study, record) as pictures:
            self._call_all(lambda tracker: tracker.on_trial_end(training_of_record(study, record), record, pictures))

    def on_export(self, study: TrackedStudy, export: TrackedExport) -> None:
        """The study was exported."""
        self._call_all(lambda tracker: tracker.on_export(study, export))

    def _call_all(self, call: Callable[[Tracker], None]) -> None:
        for name in list(self._openers):
            self._call(name, call)

    def _call(self, name: str, call: Callable[[Tracker], None]) -> None:
        try:
            if name not in self._open:
                self._open[name] = self._openers[name]()
            call(self._open[name])
        except Exception as problem:  # of another library: whatever it is, the training is more important
            self._openers.pop(name, None)
            self._open.pop(name, None)
            # MLflow quotes its URI, which may hold a password.
            log.warning("%s is left out from now on: %s", name, without_passwords(cause_of(problem)))

    @contextmanager
    def _pictures(self, study: TrackedStudy, record: TrialRecord) -> Iterator[tuple[Path, ...]]:
        """The pictures of an ended trial in a folder that lasts as long as the block."""
        from search.tracking.learning_curves import draw_curves

        curves = () if self._stores is None else self._stores.trials.curves(record.id)
        with TemporaryDirectory(prefix="retable-") as folder:
            picture = Path(folder) / CURVES
            name = training_of_record(study, record).name
            try:
                if len(curves) > 1:
                    draw_curves(picture, title=f"{study.name}: {name}", metric=study.metric, curves=curves)
            except OSError as problem:
                log.warning("the learning curves of %s are not drawn: %s", name, problem)
            yield (picture,) if picture.is_file() else ()


def training_of_item(study: TrackedStudy, item: WorkItem) -> Training:
    """The training of a work item."""
    return Training(
        study=study,
        work_id=item.id,
        attempt=item.attempt,
        kind=item.kind,
        number=item.trial_number,
        split=item.split,
        seed=item.seed,
        settings=item.recipe or {},
        is_probe=item.note.get(PROBE_NOTE) is True,
    )


def training_of_record(study: TrackedStudy, record: TrialRecord) -> Training:
    """The training of a stored outcome."""
    return Training(
        study=study,
        work_id=record.work_id,
        attempt=record.attempt,
        kind=record.kind,
        number=record.number,
        split=record.split,
        seed=record.seed,
        settings=record.recipe or {},
        is_probe=record.is_probe,
    )
