"""One database, opened: all its stores in one hand."""

from __future__ import annotations

from dataclasses import dataclass

import optuna

from search.at_once import NoStudy, check_database
from storage.database import Database, connect
from storage.datasets import DatasetStore
from storage.runs import RunStore
from storage.schema import create_schema, require_schema
from storage.stored_studies import StoredStudy, StudyStore
from storage.work import WorkQueue
from storage.workers import WorkerStore


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The stores of one database."""

    database: Database
    studies: StudyStore
    datasets: DatasetStore
    runs: RunStore
    queue: WorkQueue
    workers: WorkerStore

    def study(self, name: str | None) -> StoredStudy:
        """The study of that name, or the latest.

        Raises:
            UnknownStudyError: no study of that name.
            NoStudy: the database holds none at all.
        """
        if name is not None:
            return self.studies.get(name)
        everything = self.studies.all()
        if not everything:
            raise NoStudy(f"{self.database.name} holds no study yet; begin one with `search start --study quickstart`")
        return everything[-1]

    def optuna_study(self, name: str, sampler: optuna.samplers.BaseSampler | None = None) -> optuna.Study:
        """Optuna's study of that name, as it is stored."""
        return optuna.load_study(study_name=name, storage=self.database.optuna_storage(), sampler=sampler)


def open_ledger(url: str, *, create: bool = False) -> Ledger:
    """Open a database; with ``create``, set it up or upgrade it first.

    Raises:
        NoStudy: a SQLite file that does not exist, and is not created by looking.
        StorageError: a URL that cannot be used.
        SchemaError: not set up, or by another release.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    database = connect(url)
    if create:
        create_schema(database)
    else:
        check_database(url)
        require_schema(database)
    return Ledger(
        database=database,
        studies=StudyStore(database),
        datasets=DatasetStore(database),
        runs=RunStore(database),
        queue=WorkQueue(database),
        workers=WorkerStore(database),
    )
