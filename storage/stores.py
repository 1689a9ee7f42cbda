"""Opens a database together with all its stores."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

import optuna

from storage.database.connection import Database, connect
from storage.database.existing import NoStudy, check_database
from storage.errors import NotSetUpError
from storage.optuna_storage.fleet_storage import FleetStorage, open_optuna_storage
from storage.queue.recovery import WorkRecovery
from storage.queue.work_queue import WorkQueue
from storage.records.datasets import DatasetStore
from storage.records.enqueued_trials import EnqueuedTrialStore
from storage.records.exports import ExportStore
from storage.records.imports import ImportStore
from storage.records.studies import StudyStore
from storage.records.study_rows import StoredStudy
from storage.records.trials import TrialStore
from storage.records.workers import SEEN_WITHIN, WorkerStore
from storage.schema import create_schema, require_schema


@dataclass(frozen=True, kw_only=True)
class Stores:
    """All stores of one database, and Optuna's view of it."""

    database: Database
    studies: StudyStore
    datasets: DatasetStore
    enqueued: EnqueuedTrialStore
    trials: TrialStore
    exports: ExportStore
    imports: ImportStore
    queue: WorkQueue
    recovery: WorkRecovery
    workers: WorkerStore

    def study(self, name: str | None) -> StoredStudy:
        """The study of that name; without a name, the latest one.

        That is the last begun of the studies with a live worker or supervisor, else the one that was begun or worked
        on last.

        Raises:
            UnknownStudyError: no study has that name.
            NoStudy: the database has no study at all.
        """
        if name is not None:
            return self.studies.get(name)
        studies = self.studies.all()
        if not studies:
            raise NoStudy(f"{self.database.place} holds no study yet; begin one with `search start --study quickstart`")
        live = {process.study_id for process in self.workers.alive(SEEN_WITHIN)}
        if running := [study for study in studies if study.id in live]:
            return running[-1]  # not that served last: workers of several studies take turns
        return max(studies, key=lambda study: (max(study.created, study.served or 0.0), study.id))

    @cached_property
    def optuna_storage(self) -> FleetStorage:
        """Optuna's storage in this database. Opened once, because a new one would read all trials again."""
        return self.database.retry(partial(open_optuna_storage, self.database))

    def optuna_study(self, name: str, sampler: optuna.samplers.BaseSampler | None = None) -> optuna.Study:
        """Optuna's study of that name.

        Raises:
            KeyError: Optuna has no study of that name.
        """
        return optuna.load_study(study_name=name, storage=self.optuna_storage, sampler=sampler)


def open_stores(url: str, *, create: bool = False, outage_timeout: float = 0.0) -> Stores:
    """Open a database with all its stores.

    Args:
        create: create missing tables and upgrade older ones first.
        outage_timeout: seconds for which the stores repeat their calls in an outage
            (`storage.database.outages.OUTAGE_TIMEOUT` suits workers); 0: they raise at once. Opening itself always
            raises at once.

    Raises:
        NoStudy: without ``create``, the SQLite file does not exist.
        StorageError: the URL cannot be used.
        StorageUnavailableError: the database does not answer.
        SchemaError: the tables are missing (without ``create``), or have a revision of another release.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    database = connect(url, outage_timeout=outage_timeout)
    if create:
        create_schema(database)
    else:
        check_database(url)
        require_schema(database)
    return Stores(
        database=database,
        studies=StudyStore(database),
        datasets=DatasetStore(database),
        enqueued=EnqueuedTrialStore(database),
        trials=TrialStore(database),
        exports=ExportStore(database),
        imports=ImportStore(database),
        queue=WorkQueue(database),
        recovery=WorkRecovery(database),
        workers=WorkerStore(database),
    )


def stores_if_any(url: str, *, create: bool = False) -> Stores | None:
    """As `open_stores`, but None if the SQLite file does not exist or, without ``create``, the tables are missing.

    Raises:
        StorageError, SchemaError, StorageUnavailableError: as `open_stores`.
    """
    try:
        check_database(url)
        return open_stores(url, create=create)
    except (NoStudy, NotSetUpError):
        return None
