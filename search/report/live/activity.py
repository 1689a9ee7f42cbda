"""What each worker of a study does at the moment: its training, the scores of its epochs, its speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from search.runtime.heartbeat import processes_present
from search.study_state.optuna_attributes import EPOCHS_ATTRIBUTE, teacher_under_way
from search.study_state.snapshot import StudySnapshot
from search.study_state.stages import confirmation_name
from search.study_state.training_costs import is_fine_tuned
from storage.queue.items import HeldItem
from storage.records.workers import Role
from storage.stores import Stores
from storage.values import PROBE_NOTE, TrialRecord, WorkKind

SAME_ESTIMATE = 1e-3  # seconds by which two estimates from the same trainings differ: the clock is read in between


@dataclass(frozen=True, kw_only=True)
class WorkerActivity:
    """A live worker of a study, and the training that it holds."""

    name: str
    host: str
    device: str
    seen: float
    """Its latest heartbeat, Unix seconds on the database's clock."""
    doing: str
    """For people, such as ``trial 7 epoch 2/9``, or ``idle``."""
    kind: WorkKind | None = None
    """None: it holds no work item."""
    trial: int | None = None
    """Number of the trial or probe."""
    is_probe: bool = False
    epochs: int | None = None
    """Number of epochs of the trial; None: unknown."""
    scores: tuple[float, ...] = ()
    """Mean out-of-fold probability of the true class after each epoch of the trial that has ended, 0 to 1."""
    images_per_second: float | None = None
    """Speed of its training, all folds together; None: unknown. See `ActivityReader`."""
    seconds: float | None = None
    """For how long it has been at work without epochs: a probe, a confirmation or a refit. See `ActivityReader`."""


def read_workers(stores: Stores, snapshot: StudySnapshot) -> list[WorkerActivity]:
    """The live workers that work on a study or are free for any, by name. Their speeds are unknown."""
    study = snapshot.study
    held = {item.worker: item for item in stores.queue.held(study.id)}
    trials = _running_trials(stores, study.name) if held else {}
    return [
        WorkerActivity(
            name=process.name,
            host=process.host,
            device=process.device,
            seen=process.seen,
            **_activity(held.get(process.name), trials),
        )
        for process in processes_present(stores.workers, study.id)
        if process.role is Role.WORKER
    ]


def _activity(item: HeldItem | None, trials: dict[int, FrozenTrial]) -> dict[str, Any]:
    """The fields of `WorkerActivity` that follow from a work item."""
    if item is None:
        return {"doing": "idle"}
    if item.kind is WorkKind.CONFIRM:
        return {"doing": f"confirming {confirmation_name(item)}", "kind": item.kind}
    if item.kind is not WorkKind.SEARCH:
        return {"doing": f"a {item.kind}", "kind": item.kind}
    if item.trial_number is None:
        return {"doing": "asking for a trial", "kind": item.kind}
    if item.note.get(PROBE_NOTE):
        probe = f"probe {item.trial_number}"
        return {"doing": probe, "kind": item.kind, "trial": item.trial_number, "is_probe": True}
    trial = trials.get(item.trial_number)
    scores = {} if trial is None else trial.intermediate_values
    epochs = None if trial is None else trial.user_attrs.get(EPOCHS_ATTRIBUTE)
    total = epochs if type(epochs) is int and epochs > 0 else None
    done = 0 if trial is None else trial.last_step or 0
    epoch = done + 1 if total is None else min(done + 1, total)
    step = "" if trial is None else teacher_under_way(trial) or f"epoch {epoch}/{total or '?'}"
    return {
        "doing": f"trial {item.trial_number} {step}".rstrip(),
        "kind": item.kind,
        "trial": item.trial_number,
        "epochs": total,
        "scores": tuple(scores[k] for k in sorted(scores)),
    }


def _running_trials(stores: Stores, name: str) -> dict[int, FrozenTrial]:
    """Optuna's running trials by number; none where another program has deleted its study."""
    try:
        study = stores.optuna_study(name)
    except KeyError:
        return {}
    return {trial.number: trial for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}


@dataclass(frozen=True, kw_only=True)
class Activity:
    """The workers of a study, and the curve of its leader."""

    workers: Sequence[WorkerActivity] = ()
    leader_scores: tuple[float, ...] = ()
    """As `WorkerActivity.scores`, of the best trial so far."""
    seconds_to_end: float | None = None
    """Expected seconds until the end of the export; None: unknown."""


class ActivityReader:
    """Reads the workers of one study again and again, with their speeds, and with the time of work without epochs since
    it was first seen.

    The speed of a worker is that of the epochs that have ended between two looks. Until the second epoch of its first
    trial has ended, it is that of the last training that the worker has ended.
    """

    def __init__(
        self,
        stores: Stores,
        *,
        seconds_to_end: Callable[[StudySnapshot], float | None] = lambda snapshot: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            seconds_to_end: as in `Activity`.
            monotonic: monotonic time in seconds.
        """
        self._stores, self._seconds_to_end, self._monotonic = stores, seconds_to_end, monotonic
        self._images: int | None = None  # an epoch of all folds trains on so many
        self._looks: dict[str, tuple[int, int, float]] = {}  # trial, ended epochs, and the time of the last new epoch
        self._speeds: dict[str, float] = {}
        self._begun: dict[str, tuple[str, float]] = {}  # what a worker does, and the time when that was first seen
        self._estimate: tuple[float, float] | None = None  # seconds to the end, and the time of the estimate
        self._leader: int | None = None
        self._leader_scores: tuple[float, ...] = ()

    def read(self, snapshot: StudySnapshot) -> Activity:
        """The present activity of the snapshot's study."""
        return Activity(
            workers=[
                self._with_seconds(self._with_speed(worker, snapshot))
                for worker in read_workers(self._stores, snapshot)
            ],
            leader_scores=self._scores_of_leader(snapshot),
            seconds_to_end=self._counted_down(self._seconds_to_end(snapshot)),
        )

    def _counted_down(self, estimate: float | None) -> float | None:
        """An estimate that stays the same until a training ends, less the time since it was made."""
        now = self._monotonic()
        if estimate is None or self._estimate is None or abs(estimate - self._estimate[0]) > SAME_ESTIMATE:
            self._estimate = None if estimate is None else (estimate, now)
        return None if self._estimate is None else max(0.0, self._estimate[0] - (now - self._estimate[1]))

    def _with_seconds(self, worker: WorkerActivity) -> WorkerActivity:
        now = self._monotonic()
        if worker.kind is None or (worker.kind is WorkKind.SEARCH and not worker.is_probe):
            self._begun.pop(worker.name, None)
            return worker
        doing, begun = self._begun.get(worker.name, ("", now))
        if doing != worker.doing:
            begun = now
        self._begun[worker.name] = worker.doing, begun
        return replace(worker, seconds=now - begun)

    def _with_speed(self, worker: WorkerActivity, snapshot: StudySnapshot) -> WorkerActivity:
        if worker.kind is not WorkKind.SEARCH or worker.epochs is None:
            return worker
        assert worker.trial is not None, "only a trial has epochs"
        now, done = self._monotonic(), len(worker.scores)
        trial, before, then = self._looks.get(worker.name, (-1, 0, now))
        if trial != worker.trial:
            self._looks[worker.name] = (worker.trial, done, now)
        elif done > before:
            if before and now > then:  # the first epoch ends after the networks were built
                self._speeds[worker.name] = self._images_of(snapshot, done - before) / (now - then)
            self._looks[worker.name] = (worker.trial, done, now)
        speed = self._speeds.get(worker.name) or self._speed_before(worker.name, snapshot)
        return replace(worker, images_per_second=speed)

    def _speed_before(self, worker: str, snapshot: StudySnapshot) -> float | None:
        """By the last training of a worker that has ended."""
        of_worker = (record for record in reversed(snapshot.records) if record.worker == worker)
        record = next((record for record in of_worker if _is_measured(record)), None)
        return None if record is None else self._images_of(snapshot, record.epochs_done) / record.seconds

    def _images_of(self, snapshot: StudySnapshot, epochs: int) -> int:
        """Number of images that the folds train on, together, in a number of epochs."""
        if self._images is None:
            study = snapshot.study
            self._images = study.images_per_epoch(len(self._stores.datasets.get(study.fingerprint).y))
        return self._images * epochs

    def _scores_of_leader(self, snapshot: StudySnapshot) -> tuple[float, ...]:
        leader = snapshot.ranking[0].number if snapshot.ranking else None
        if leader != self._leader:
            record = next(record for record in snapshot.records if record.number == leader)
            self._leader = leader
            self._leader_scores = tuple(c.mean_true_probability for c in self._stores.trials.curves(record.id))
        return self._leader_scores


def _is_measured(record: TrialRecord) -> bool:
    return is_fine_tuned(record) and record.epochs_done > 0 and record.seconds > 0.0
