"""MLflow: a parent run for each study, a child run for each training, with metrics, parameters and pictures."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import unquote

from search.tracking.tracker import EpochScores, TrackedExport, TrackedStudy, Training, scalars
from storage.values import TrialRecord, TrialStatus

# A server that is away must not hold up a training for minutes; MLflow would repeat a request seven times.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.store.db import utils

utils.MAX_RETRY_COUNT = 3  # of a database that does not answer; MLflow's ten take 100 s
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # a line for each retry, before our own warning

EXPERIMENT = "retable"
"""Experiment of all runs, unless the variable MLFLOW_EXPERIMENT_NAME names another."""
KEY_TAG = "retable.key"
"""Tag that identifies the study or training of a run."""
LONGEST_PARAM = 500  # characters
_PARENT_TAG, _NAME_TAG = "mlflow.parentRunId", "mlflow.runName"
_ENDED = {TrialStatus.FINISHED: "FINISHED", TrialStatus.PRUNED: "KILLED", TrialStatus.FAILED: "FAILED"}


class MlflowTracker:
    """Finds the runs of a study and a training by their tag, so that every worker goes on with the same run.

    Args:
        uri: MLflow's tracking URI.
        lock: holds off the other workers of the database while a parent run is looked for or created.
    """

    def __init__(self, uri: str, lock: Callable[[], AbstractContextManager[None]]) -> None:
        self._lock = lock
        with lock():  # workers that start at once would create the same tables
            self._client = MlflowClient(tracking_uri=uri)
            self._experiment = self._experiment_id(uri)
        self._parents: dict[str, str] = {}
        self._open: tuple[str, int] | None = None  # training and attempt of the run
        self._run = ""

    def on_epoch(self, training: Training, scores: EpochScores) -> None:
        run = self._run_of(training)
        values = scalars(training.study, scores)
        if any(scores.epoch == known.step for known in self._history(run, "loss/train")):
            return  # an earlier attempt has logged the epoch and was killed before its checkpoint
        now = int(1000 * time.time())
        self._client.log_batch(run, [Metric(name, value, now, scores.epoch) for name, value in values.items()])

    def on_trial_end(self, training: Training, record: TrialRecord, pictures: Sequence[Path]) -> None:
        run = self._run_of(training)
        params = [Param(name, str(value)[:LONGEST_PARAM]) for name, value in sorted(training.settings.items())]
        for first in range(0, len(params), 100):  # the most that one request takes
            self._client.log_batch(run, params=params[first : first + 100])
        ends = {"score": record.value, "score_standard_error": record.value_se, "minutes": record.seconds / 60.0}
        known = self._client.get_run(run).data.metrics
        for name, value in ends.items():
            if value is not None and math.isfinite(value) and name not in known:
                self._client.log_metric(run, name, value)
        self._client.set_tag(run, "retable.ended", record.reason or str(record.status))
        for picture in pictures:
            self._client.log_artifact(run, str(picture))
        self._client.set_terminated(run, _ENDED.get(record.status, "FAILED"))
        self._open = None

    def on_export(self, study: TrackedStudy, export: TrackedExport) -> None:
        parent = self._parent_of(study)
        if export.score is not None and math.isfinite(export.score):
            self._client.log_metric(parent, f"export_{study.metric}", export.score)
        self._client.set_tag(parent, "retable.export", str(export.folder))
        for file in (*export.pictures, *export.files):
            self._client.log_artifact(parent, str(file), "export")
        self._client.set_terminated(parent, "FINISHED")

    def close(self) -> None:
        self._open = None

    def _experiment_id(self, uri: str) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        artifacts = None
        if uri.startswith("sqlite:///"):  # else they would go to the current folder of this worker
            artifacts = Path(unquote(uri.removeprefix("sqlite:///"))).with_suffix(".artifacts").as_uri()
        try:
            return str(self._client.create_experiment(name, artifact_location=artifacts))
        except MlflowException:  # a worker of another database was faster
            found = self._client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)

    def _parent_of(self, study: TrackedStudy) -> str:
        if study.key not in self._parents:
            with self._lock():
                self._parents[study.key] = self._find(study.key) or self._create(study.key, {_NAME_TAG: study.name})
        return self._parents[study.key]

    def _run_of(self, training: Training) -> str:
        """The child run of a training. Only one worker trains it, so nothing is locked."""
        key = training.key, training.attempt
        if self._open != key:
            tags = {_PARENT_TAG: self._parent_of(training.study), _NAME_TAG: training.name}
            self._run = self._find(training.key) or self._create(training.key, tags)
            self._open = key
        return self._run

    def _find(self, key: str) -> str:
        """The id of the run with this key; empty if there is none."""
        runs = self._client.search_runs([self._experiment], f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
        return str(runs[0].info.run_id) if runs else ""

    def _create(self, key: str, tags: dict[str, str]) -> str:
        return str(self._client.create_run(self._experiment, tags={**tags, KEY_TAG: key}).info.run_id)

    def _history(self, run: str, name: str) -> Sequence[Metric]:
        found: Sequence[Metric] = self._client.get_metric_history(run, name)
        return found
