"""Outages: repeatable methods wait for their end, up to the timeout of the database; all others raise at once."""

from __future__ import annotations

import inspect
import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import create_engine, event, make_url, text
from sqlalchemy.pool import NullPool

from storage.database.connection import Database, connect
from storage.database.outages import OUTAGE_TIMEOUT, is_outage, retry
from storage.errors import SchemaError, StorageUnavailableError, UnknownStudyError
from storage.optuna_storage.fleet_storage import open_optuna_storage
from storage.optuna_storage.optuna_rows import running_trials
from storage.queue.items import WorkItem
from storage.queue.recovery import WorkRecovery
from storage.queue.work_queue import WorkQueue
from storage.records.datasets import DatasetStore
from storage.records.exports import ExportStore
from storage.records.imports import ImportStore
from storage.records.studies import StudyStore
from storage.records.study_rows import StoredStudy
from storage.records.trials import TrialStore
from storage.records.workers import WorkerStore
from storage.values import StudyState

PAUSE = 0.01  # seconds, the first of each outage
TIMEOUT = 5 * PAUSE
ATTEMPTS = 4
"""Calls that fit into `TIMEOUT`: the pauses are 1, 2 and 4 times `PAUSE`."""


class Outage:
    """Makes a database refuse connections, and counts the attempts to connect."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._url = make_url(database.url)
        self._ends_at: int | None = None
        self.attempts = 0
        event.listen(database.engine, "do_connect", self._count)

    def begin(self, *, ends_at: int | None = None) -> None:
        """Refuse connections from now on.

        Args:
            ends_at: number of the attempt that succeeds again; None: none does.
        """
        self.attempts, self._ends_at = 0, ends_at
        self._database.close()
        if self._database.is_sqlite:
            self._file.rename(self._hidden)
            self._file.mkdir()
        else:
            self._as_admin(f"ALTER DATABASE {self._url.database} ALLOW_CONNECTIONS false")

    def end(self) -> None:
        if self._database.is_sqlite:
            self._file.rmdir()
            self._hidden.rename(self._file)
        else:
            self._as_admin(f"ALTER DATABASE {self._url.database} ALLOW_CONNECTIONS true")

    @property
    def _file(self) -> Path:
        return Path(str(self._url.database))

    @property
    def _hidden(self) -> Path:
        return self._file.with_name("hidden.db")

    def _as_admin(self, statement: str) -> None:
        admin = create_engine(self._url.set(database="postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with admin.connect() as connection:
            connection.execute(text(statement))

    def _count(self, *_: object) -> None:
        self.attempts += 1
        if self.attempts == self._ends_at:
            self.end()


@pytest.fixture
def outage(database: Database, monkeypatch: pytest.MonkeyPatch) -> Outage:
    """An outage of the test's database, whose stores wait for `TIMEOUT`."""
    monkeypatch.setattr("storage.database.outages.FIRST_PAUSE", PAUSE)
    database.outage_timeout = TIMEOUT
    return Outage(database)


@pytest.fixture
def item(database: Database, study: StoredStudy) -> WorkItem:
    taken = WorkQueue(database).take(study.id, "w", 100.0)
    assert taken is not None
    return taken


@pytest.fixture
def optuna_study(database: Database) -> optuna.Study:
    return optuna.create_study(study_name="tune", storage=open_optuna_storage(database), direction="maximize")


class TestWaiting:
    def test_reading_and_writing_continue_when_the_outage_ends(
        self, database: Database, outage: Outage, study: StoredStudy, caplog: pytest.LogCaptureFixture
    ) -> None:
        studies = StudyStore(database)
        outage.begin(ends_at=3)
        assert studies.get("tune") == study
        assert outage.attempts == 3
        assert [record.getMessage() for record in caplog.records] == [
            "the database does not answer; trying again in 0.0 s"
        ] * 2
        outage.begin(ends_at=ATTEMPTS)
        studies.set_state(study.id, StudyState.PAUSED)
        assert studies.state(study.id) is StudyState.PAUSED
        outage.begin(ends_at=2)
        assert database.now() > 0
        outage.begin(ends_at=2)
        assert running_trials(database, "tune") == []

    def test_an_outage_longer_than_the_timeout_is_raised(
        self, database: Database, outage: Outage, study: StoredStudy
    ) -> None:
        outage.begin()
        with pytest.raises(StorageUnavailableError):
            WorkQueue(database).studies_with_work()
        assert outage.attempts == ATTEMPTS
        outage.end()
        assert WorkQueue(database).studies_with_work() == [study.id], "the next call has the full timeout again"

    def test_without_a_timeout_every_call_raises_at_once(
        self, database: Database, outage: Outage, optuna_study: optuna.Study
    ) -> None:
        database.outage_timeout = 0.0
        calls: list[Callable[[], object]] = [StudyStore(database).all, database.now, optuna_study.get_trials]
        for call in calls:
            outage.begin()
            with pytest.raises(Exception) as caught:
                call()
            assert is_outage(caught.value)
            assert outage.attempts == 1
            outage.end()

    def test_nested_calls_do_not_multiply_the_time(self, database: Database, outage: Outage) -> None:
        """`get` calls `find`, which is repeatable as well."""
        outage.begin()
        with pytest.raises(StorageUnavailableError):
            database.retry(lambda: database.retry(lambda: StudyStore(database).get("tune")))
        assert outage.attempts == ATTEMPTS
        outage.end()

    def test_other_errors_are_raised_at_once(
        self, database: Database, outage: Outage, caplog: pytest.LogCaptureFixture
    ) -> None:
        tries = 0

        def unknown() -> None:
            nonlocal tries
            tries += 1
            StudyStore(database).get("unknown")

        with pytest.raises(UnknownStudyError):
            database.retry(unknown)
        assert tries == 1
        assert not caplog.records

    def test_missing_tables_are_no_outage(self, empty_url: str, caplog: pytest.LogCaptureFixture) -> None:
        database = connect(empty_url, outage_timeout=TIMEOUT)
        with pytest.raises(SchemaError):
            StudyStore(database).all()
        assert not caplog.records
        database.close()

    def test_calls_that_cannot_wait_are_not_repeated(self, database: Database, outage: Outage, item: WorkItem) -> None:
        """Renewals and heartbeats follow by themselves, and a process that ends does not wait."""
        workers = WorkerStore(database)
        calls: list[Callable[[], object]] = [
            lambda: WorkQueue(database).renew(item, 100.0),
            lambda: workers.heartbeat("w", host="h", pid=1, device="cpu"),
            lambda: workers.sign_off("w"),
        ]
        for call in calls:
            outage.begin()
            with pytest.raises(StorageUnavailableError):
                call()
            assert outage.attempts == 1
            outage.end()
        outage.begin(ends_at=3)
        workers.sign_on("w", host="h", pid=1, device="cpu")
        assert [worker.name for worker in workers.alive(1.0)] == ["w"]

    def test_the_timeout_survives_pickling(self, url: str) -> None:
        database = pickle.loads(pickle.dumps(connect(url, outage_timeout=OUTAGE_TIMEOUT)))
        assert database.outage_timeout == OUTAGE_TIMEOUT


class TestOptuna:
    def test_ask_suggest_report_and_tell_survive_outages(self, outage: Outage, optuna_study: optuna.Study) -> None:
        outage.begin(ends_at=3)
        trial = optuna_study.ask()
        outage.begin(ends_at=3)
        trial.suggest_float("lr", 0.0, 1.0)
        outage.begin(ends_at=3)
        trial.report(0.5, 1)
        outage.begin(ends_at=3)
        optuna_study.tell(trial, 0.5)
        outage.begin(ends_at=3)
        (stored,) = optuna_study.get_trials()
        assert (stored.state, stored.value, stored.intermediate_values) == (TrialState.COMPLETE, 0.5, {1: 0.5})

    def test_a_created_trial_whose_number_is_lost_is_an_orphan(
        self, database: Database, outage: Outage, optuna_study: optuna.Study, study: StoredStudy, item: WorkItem
    ) -> None:
        create = losing_the_first_answer(RDBStorage._create_new_trial)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RDBStorage, "_create_new_trial", create)
            trial = optuna_study.ask()
        assert trial.number == 1
        assert WorkQueue(database).assign_trial(item, trial.number, {"epochs": 1}) is not None
        assert WorkRecovery(database).orphans(study.id, running_trials(database, "tune")) == {0}

    def test_an_enqueued_trial_is_not_added_twice(self, outage: Outage, optuna_study: optuna.Study) -> None:
        create = losing_the_first_answer(RDBStorage._create_new_trial)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(StorageUnavailableError):
            patch.setattr(RDBStorage, "_create_new_trial", create)
            optuna_study.enqueue_trial({"lr": 0.5})
        assert [trial.state for trial in optuna_study.get_trials()] == [TrialState.WAITING]


def losing_the_first_answer(method: Callable[..., object]) -> Callable[..., object]:
    """``method``, but its first call succeeds and then raises an outage: the connection breaks after the commit."""
    lost: list[object] = []

    def call(*args: object, **options: object) -> object:
        answer = method(*args, **options)
        if not lost:
            lost.append(answer)
            raise StorageUnavailableError("the connection broke")
        return answer

    return call


def test_pauses_double_up_to_the_longest_and_end_with_the_timeout() -> None:
    def fail() -> None:
        raise StorageUnavailableError("gone")

    pauses: list[float] = []
    with pytest.raises(StorageUnavailableError):
        retry(fail, 120.0, sleep=pauses.append)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_each_thread_repeats_its_own_calls() -> None:
    """A thread repeats its call even while another thread is in `retry`."""
    tries: list[str] = []

    def fail_twice() -> None:
        tries.append(threading.current_thread().name)
        if len(tries) < 3:
            raise StorageUnavailableError("gone")

    def in_a_thread() -> None:
        thread = threading.Thread(target=lambda: retry(fail_twice, 1.0, sleep=lambda _: None), name="other")
        thread.start()
        thread.join()

    retry(in_a_thread, 1.0)
    assert tries == ["other"] * 3


NOT_REPEATED = {
    StudyStore: {"create", "grow_budget"},
    DatasetStore: set(),
    ExportStore: {"add", "record_scores"},
    TrialStore: set(),
    ImportStore: {"add", "remove"},
    WorkQueue: {"renew"},
    WorkRecovery: set(),
    WorkerStore: {"heartbeat", "sign_off"},
}


@pytest.mark.parametrize("store", NOT_REPEATED)
def test_every_public_method_is_repeatable_or_listed_here(store: type) -> None:
    """Forces a decision for each new method: decorate it, or list it in `NOT_REPEATED`."""
    methods = {name: f for name, f in inspect.getmembers(store, inspect.isfunction) if not name.startswith("_")}
    assert {name for name, method in methods.items() if not hasattr(method, "__wrapped__")} == NOT_REPEATED[store]
