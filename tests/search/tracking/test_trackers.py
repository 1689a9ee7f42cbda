"""Trackers hold what the trainings did, once, whatever happens to the workers; and their failures end no training."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from search.engines.interface import WorkerCommand
from search.engines.process import Seat, _environment
from search.runtime.signals import StopSignals
from search.tracking.options import MLFLOW_VARIABLE, TENSORBOARD_VARIABLE, TrackingError, TrackingOptions
from search.tracking.tracker import EpochScores, TrackedExport, TrackedStudy, Training
from search.tracking.trackers import Trackers, training_of_record
from search.worker.study_context import StudyContext
from storage.database.urls import remember_passwords
from storage.values import TrialRecord, TrialStatus, WorkKind
from tests.search.small_study import work_on

STUDY = TrackedStudy(key="base/1", name="colours", metric="accuracy", sampled=("optimizer.lr",))
TRAINING = Training(
    study=STUDY,
    work_id=7,
    attempt=1,
    kind=WorkKind.SEARCH,
    number=3,
    split=0,
    seed=0,
    settings={"backbone": "test_resnet", "optimizer.lr": 0.01, "epochs": 4, "wise_ft": False},
)


@dataclass(frozen=True)
class Scores:
    epoch: int
    metric: float = 0.5
    mean_true_probability: float = 0.4
    fold_metrics: tuple[float, ...] = (0.4, float("nan"))
    train_loss: float = 1.0
    seconds: float = 2.0


@pytest.fixture
def record(context: StudyContext) -> TrialRecord:
    """The outcome of a real training of three epochs."""
    signals = StopSignals()
    work_on(context, signals)
    return context.stores.trials.records(context.study.id)[0]


@dataclass
class Broken:
    """A tracker whose disk is full."""

    calls: int = 0

    def on_epoch(self, training: Training, scores: EpochScores) -> None:
        self.calls += 1
        raise OSError(28, "No space left on device: https://ann:secret@tracker.example/api")

    def on_trial_end(self, training: Training, record: TrialRecord, pictures: Sequence[Path]) -> None:
        self.calls += 1

    def on_export(self, study: TrackedStudy, export: TrackedExport) -> None:
        self.calls += 1

    def close(self) -> None:
        self.calls += 1


def test_a_failing_tracker_ends_no_training_and_warns_once(
    context: StudyContext, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Broken()
    with Trackers({"Broken": lambda: broken}, context.stores) as trackers:
        work_on(replace(context, trackers=trackers))
    records = context.stores.trials.records(context.study.id)
    assert [record.status for record in records] == [TrialStatus.FINISHED] * 3
    assert broken.calls == 1 and not trackers
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert [line for line in warnings if "Broken is left out from now on" in line] == [
        line for line in warnings if "No space left" in line
    ]
    assert len([line for line in warnings if "Broken" in line]) == 1 and "secret" not in caplog.text


def test_a_tracker_that_cannot_be_opened_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Broken:
        raise ConnectionError("no route to the server")

    trackers = Trackers({"Away": fail})
    for _ in range(2):
        trackers.on_export(STUDY, TrackedExport(folder=Path(), score=None, pictures=(), files=()))
    assert caplog.text.count("Away is left out from now on: no route to the server") == 1


def events_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0})
    read.Reload()
    return {tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


@pytest.fixture
def tensorboard(tmp_path: Path) -> Iterator[Path]:
    pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")
    yield tmp_path / "tb"


def test_tensorboard_holds_every_epoch_and_fold_of_a_real_training(context: StudyContext, tensorboard: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = TrackingOptions(tensorboard=tensorboard)
    with Trackers.of(options, context.stores) as trackers:
        work_on(replace(context, trackers=trackers))
    for record in context.stores.trials.records(context.study.id):
        folder = tensorboard / "colours" / f"trial-{record.number}"
        curves = context.stores.trials.curves(record.id)
        events = events_of(folder)
        for fold in range(2):
            assert events[f"accuracy/fold{fold}"] == [
                (c.epoch, pytest.approx(c.fold_metrics[fold], abs=1e-6)) for c in curves
            ]
        assert events["loss/train"] == [(c.epoch, pytest.approx(c.train_loss, rel=1e-5)) for c in curves]
        assert events["score/accuracy"] == [(3, pytest.approx(record.value, abs=1e-6))]
        read = EventAccumulator(str(folder))
        read.Reload()
        assert read.Tags()["images"] == ["learning_curves"]
        assert "_hparams_/session_start_info" in read.summary_metadata


def test_tensorboard_shows_no_epoch_twice_after_a_kill(tensorboard: Path) -> None:
    from search.tracking.tensorboard_events import TensorBoardTracker

    killed = TensorBoardTracker(tensorboard)
    for epoch in (1, 2, 3):
        killed.on_epoch(TRAINING, Scores(epoch))
    # Its checkpoint held epoch 2. It never closed its file.
    resumed = TensorBoardTracker(tensorboard)
    for epoch in (3, 4):
        resumed.on_epoch(replace(TRAINING, attempt=2), Scores(epoch))
    resumed.close()
    assert [step for step, _ in events_of(tensorboard / "colours" / "trial-3")["accuracy/all"]] == [1, 2, 3, 4]
    killed.close()


@pytest.fixture
def mlflow_uri(tmp_path: Path) -> str:
    pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")
    return f"sqlite:///{tmp_path}/ml.db"


def test_mlflow_has_a_run_of_the_study_and_one_child_a_trial(
    context: StudyContext, record: TrialRecord, mlflow_uri: str, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    from search.tracking.mlflow_runs import MlflowTracker

    picture = tmp_path / "learning_curves.png"
    picture.write_bytes(b"PNG")
    training = training_of_record(STUDY, record)
    killed = MlflowTracker(mlflow_uri, nullcontext)
    for epoch in (1, 2):
        killed.on_epoch(training, Scores(epoch))
    resumed = MlflowTracker(mlflow_uri, nullcontext)
    for epoch in (2, 3):
        resumed.on_epoch(replace(training, attempt=2), Scores(epoch))
    resumed.on_trial_end(training, record, [picture])
    other = replace(training, work_id=99, number=5)
    MlflowTracker(mlflow_uri, nullcontext).on_trial_end(other, record, ())
    resumed.on_export(STUDY, TrackedExport(folder=tmp_path, score=0.9, pictures=[picture], files=()))

    client = MlflowClient(tracking_uri=mlflow_uri)
    experiment = client.get_experiment_by_name("retable")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"colours", f"trial-{record.number}", "trial-5"}
    parent, child = runs["colours"], runs[f"trial-{record.number}"]
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert [m.step for m in client.get_metric_history(child.info.run_id, "accuracy/all")] == [1, 2, 3]
    assert child.data.metrics["score"] == record.value and child.info.status == "FINISHED"
    assert child.data.params["optimizer.lr"] == str((record.recipe or {})["optimizer.lr"])
    assert [file.path for file in client.list_artifacts(child.info.run_id)] == ["learning_curves.png"]
    assert parent.data.metrics["export_accuracy"] == 0.9 and parent.info.status == "FINISHED"


@pytest.mark.parametrize("uri", ["mlruns", "./mlruns", "file:///tmp/mlruns", "sqlite:///", ""])
def test_mlflow_keeps_no_runs_in_folders(uri: str) -> None:
    pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")
    with pytest.raises(TrackingError, match=r"--mlflow sqlite:///mlflow"):
        TrackingOptions(mlflow=uri).checked()


def test_a_file_in_place_of_the_folder_is_an_error_before_anything_starts(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")
    (tmp_path / "tb").touch()
    with pytest.raises(TrackingError, match="is a file"):
        TrackingOptions(tensorboard=tmp_path / "tb").checked()


def test_workers_get_absolute_places_through_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")
    pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")
    monkeypatch.chdir(tmp_path)
    given = TrackingOptions(tensorboard=Path("tb"), mlflow="sqlite:///my runs.db").checked()
    assert given.environment == {
        TENSORBOARD_VARIABLE: f"{tmp_path}/tb",
        MLFLOW_VARIABLE: f"sqlite:///{tmp_path}/my%20runs.db",
    }
    for name, value in given.environment.items():
        monkeypatch.setenv(name, value)
    assert TrackingOptions.of_environment() == given


def test_an_engine_hands_the_trackers_to_its_workers_in_the_environment(tmp_path: Path) -> None:
    options = TrackingOptions(tensorboard=tmp_path / "tb", mlflow="postgresql://ann:geheim@db/runs")
    command = WorkerCommand(
        study="colours", storage_url="sqlite:///x.db", data=tmp_path, home=tmp_path, tracking=options
    )
    environment = _environment(command, Seat(place=0, threads=1, cores=1), "suffix")
    assert environment[TENSORBOARD_VARIABLE] == f"{tmp_path}/tb"
    assert environment[MLFLOW_VARIABLE] == "postgresql://ann:geheim@db/runs"
    assert not any("geheim" in word for word in command.arguments()) and "geheim" not in repr(command)


def test_a_password_in_the_uri_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")
    uri = "http://ann:geheim@127.0.0.1:9"
    remember_passwords([uri])
    options = TrackingOptions(mlflow=uri)
    assert "geheim" not in repr(options)

    def fail() -> Broken:
        from search.tracking.mlflow_runs import MlflowTracker

        MlflowTracker(uri, nullcontext)
        return Broken()

    Trackers({"MLflow": fail}).on_export(STUDY, TrackedExport(folder=Path(), score=None, pictures=(), files=()))
    assert "MLflow is left out" in caplog.text and "geheim" not in caplog.text
