"""Every column of every table with values that no release writes: one error in words, or a valid value."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.database.blobs import pack
from storage.database.outages import is_outage, retry
from storage.database.rows import check_row, integer, name, number, recipe, text
from storage.database.tables import Base
from storage.errors import DamagedRowError, StorageError
from storage.records.enqueued_trials import EnqueuedRecord
from storage.records.imports import ImportedPredictions
from storage.records.study_rows import ImageWeights, PseudoLabels, StoredStudy
from storage.stores import Stores, open_stores
from storage.values import StudyState, WorkKind
from tests.storage.samples import RECIPE, finished, stored_dataset, take_assigned

HOSTILE: tuple[Any, ...] = (
    *(None, "", "../../x", "/etc/x", "a\0b", "x" * 100_000, "\x1b[2J", "nan", "{}", "[]", '[1, "\\u0000"]'),
    *('{"a": NaN}', '{"epochs": [1]}', '{"../x": "0"}', "[" * 5000, "not JSON", b"\xff\x00", b""),
    *(-1, -2, 7, 2**31, 2**63 - 1, -(2**63), 0.5, 1e308, math.inf, -math.inf),
    *(pack(array) for array in (np.array([9, 9, 9, -9]), np.full((4, 2), np.nan), np.zeros((2, 3)), np.array(1.5))),
)


VALUES = 4
"""Number of hostile values that each column gets, drawn by its name."""


def fill(stores: Stores) -> StoredStudy:
    """A row in every table."""
    stores.datasets.add(stored_dataset())
    stores.datasets.freeze_folds("f" * 64, np.array([0, 1, 0, 1]), n_folds=2, split=0, seed=0)
    study = stores.studies.create(
        "tune",
        fingerprint="f" * 64,
        spec={"title": "x"},
        spec_hash="0" * 64,
        file_spec={},
        budget=3,
        weights=ImageWeights(values=np.ones(4), about={}),
        pseudo_labels=PseudoLabels(values=np.array([[0, -1], [1, 1]]), about={}),
    )
    stores.queue.store(take_assigned(stores.queue, study, 0), finished())
    take_assigned(stores.queue, study, 1)
    stores.queue.add(study.id, WorkKind.REFIT, split=0, seed=1, recipe=RECIPE)
    even = np.full((4, 2), 0.5, dtype=np.float32)
    stores.imports.add(study.id, "other", ImportedPredictions(oof=even, test=even[:2]), value=0.5)
    stores.exports.add(study.id, folder="/out", recipe=RECIPE, score=0.5, score_se=0.1, forecast={"expected": 0.5})
    stores.enqueued.add(study.id, [EnqueuedRecord(number=0, params={"lr": 0.1}, attributes={})])
    stores.workers.heartbeat("w1", host="h", pid=1, device="cpu")
    return study


READERS: tuple[Callable[[Stores], object], ...] = (
    lambda s: s.datasets.get("f" * 64),
    lambda s: s.datasets.folds("f" * 64, n_folds=2, split=0, seed=0),
    lambda s: s.studies.all(),
    lambda s: s.studies.get("tune"),
    lambda s: s.studies.state(1),
    lambda s: s.studies.weights(1),
    lambda s: s.studies.pseudo_labels(1),
    lambda s: s.trials.records(1),
    lambda s: s.trials.curves(1),
    lambda s: [s.trials.prediction(1, name) for name in ("oof", "test")],
    lambda s: s.imports.all(1),
    lambda s: s.imports.predictions(1),
    lambda s: s.exports.all(1),
    lambda s: s.workers.alive(1e12),
    lambda s: s.queue.waiting(1, WorkKind.REFIT),
    lambda s: s.queue.held(1),
    lambda s: s.queue.states(1),
    lambda s: s.queue.unreported(1),
    lambda s: s.queue.assigned_trials(1),
    lambda s: s.queue.trials_begun(1),
    lambda s: s.enqueued.all(1),
    lambda s: s.database.identity,
)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stores, sqlite3.Connection]]:
    file = tmp_path_factory.mktemp("damaged") / "retable.db"
    stores = open_stores(f"sqlite:///{file}", create=True)
    fill(stores)
    with closing(sqlite3.connect(file, isolation_level=None)) as raw:
        raw.execute("PRAGMA ignore_check_constraints = ON")
        raw.execute("PRAGMA foreign_keys = OFF")
        raw.execute("PRAGMA synchronous = OFF")
        yield stores, raw
    stores.database.close()


COLUMNS = [(table.name, column.name) for table in Base.metadata.sorted_tables for column in table.columns]


@pytest.mark.slow
@pytest.mark.parametrize("table", sorted({table for table, _ in COLUMNS}))
def test_any_value_in_any_column_is_read_or_refused(filled: tuple[Stores, sqlite3.Connection], table: str) -> None:
    stores, raw = filled
    for reader in READERS:
        reader(stores)  # nothing is damaged yet
    refused = 0
    for column in (column for owner, column in COLUMNS if owner == table):
        rowid, before = raw.execute(f'SELECT rowid, "{column}" FROM {table} LIMIT 1').fetchone()
        others = {row for (row,) in raw.execute(f"SELECT rowid FROM {table}")} - {rowid}
        for value in Random(f"{table}.{column}").sample(HOSTILE, VALUES):
            with suppress(sqlite3.IntegrityError):  # NOT NULL and the like
                raw.execute(f'UPDATE {table} SET "{column}" = ? WHERE rowid = ?', (value, rowid))
            fresh = _new_stores(stores)
            for reader in READERS:
                try:
                    reader(fresh)
                except StorageError as error:
                    refused += 1
                    assert len(str(error)) < 2000
            # A column called id is the rowid itself.
            (now,) = {row for (row,) in raw.execute(f"SELECT rowid FROM {table}")} - others
            raw.execute(f'UPDATE {table} SET "{column}" = ? WHERE rowid = ?', (before, now))
    assert refused > 0


def _new_stores(stores: Stores) -> Stores:
    """Stores that have cached nothing."""
    database = stores.database
    database._identity = None
    parts = {field: type(part)(database) for field, part in vars(stores).items() if field != "database"}
    return Stores(database=database, **parts)


@pytest.mark.parametrize(
    "hostile", ["../../x", "/etc/x", "a/b", "a\\b", "..", ".cache", "", "a\0b", "x" * 300, "a\nb", "ä", "-rf", "~"]
)
def test_a_study_name_that_leads_elsewhere_is_refused(tmp_path: Path, hostile: str) -> None:
    stores = open_stores(f"sqlite:///{tmp_path / 'retable.db'}", create=True)
    fill(stores)
    with pytest.raises(StorageError, match=r"name is .* not a name"):
        stores.studies.create(hostile, fingerprint="f" * 64, spec={}, spec_hash="0", file_spec={}, budget=1)
    with closing(sqlite3.connect(tmp_path / "retable.db")) as raw, raw:
        raw.execute("UPDATE retable_study SET name = ?", (hostile,))
    for read in (lambda: stores.studies.all(), lambda: stores.studies.get(hostile), lambda: stores.study(None)):
        with pytest.raises(DamagedRowError, match=r"in retable_study, row 1, name is .* Restore a backup"):
            read()
    stores.database.close()


def test_networks_of_another_work_item_are_refused(tmp_path: Path) -> None:
    stores = open_stores(f"sqlite:///{tmp_path / 'retable.db'}", create=True)
    study = fill(stores)
    for path in ("weights/tune@0123456789ab/7/fold0.safetensors", "weights/../../1/fold0.safetensors", "/1/fold0"):
        with closing(sqlite3.connect(tmp_path / "retable.db")) as raw, raw:
            raw.execute("UPDATE retable_trial SET networks = ?", (f'{{"{path}": "{"a" * 64}"}}',))
        with pytest.raises(DamagedRowError, match="networks"):
            stores.trials.records(study.id)
    stores.database.close()


@pytest.mark.parametrize("folds", [np.array([0, 1, 2, 0]), np.array([0, -1, 0, 1]), np.array([0, 1]), np.zeros(4)])
def test_folds_out_of_range_are_refused(tmp_path: Path, folds: np.ndarray[Any, Any]) -> None:
    stores = open_stores(f"sqlite:///{tmp_path / 'retable.db'}", create=True)
    fill(stores)
    with closing(sqlite3.connect(tmp_path / "retable.db")) as raw, raw:
        raw.execute("UPDATE retable_fold_set SET folds = ?", (pack(folds),))
    with pytest.raises(DamagedRowError, match="folds are not 4 numbers from 0 to 1"):
        stores.datasets.folds("f" * 64, n_folds=2, split=0, seed=0)
    assert stores.studies.state(1) is StudyState.RUNNING
    stores.database.close()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(anything)
def test_a_rule_accepts_only_what_it_says(value: Any) -> None:
    valid = {
        "integer": type(value) is int and -5 <= value <= 5,
        "number": type(value) in (int, float) and math.isfinite(value) and value > 0 and abs(value) < 1e300,
        "text": isinstance(value, str) and len(value) <= 3 and "\0" not in value,
    }
    rules = {"integer": integer(-5, 5), "number": number(0.0, above=True), "text": text(3), "name": name()}
    rules["recipe"] = recipe()
    for key, rule in rules.items():
        try:
            check_row("t", {"id": 1, "value": value}, {"value": rule})
        except DamagedRowError:
            accepted = False
        else:
            accepted = True
        if key in valid and not (key == "number" and type(value) in (int, float) and abs(value) >= 1e18):
            assert accepted == valid[key]
        if key == "name" and accepted:
            assert Path("x", value).parent == Path("x")


def test_text_that_is_not_utf8_is_a_damaged_row_and_no_outage(tmp_path: Path) -> None:
    stores = open_stores(f"sqlite:///{tmp_path}/retable.db", create=True, outage_timeout=3600.0)
    fill(stores)
    waits: list[float] = []
    for table, column, reader in (
        ("retable_study", "state_reason", lambda: stores.studies.get("tune")),
        ("retable_worker", "host", lambda: stores.workers.alive(1e12)),
        ("retable_export", "notes", lambda: stores.exports.all(1)),
    ):
        with stores.database.writing() as connection:
            connection.exec_driver_sql(f"UPDATE {table} SET {column} = CAST(x'ff41' AS TEXT)")
        with pytest.raises(DamagedRowError, match=f"in {table}, column '{column}' .*not UTF-8") as raised:
            retry(reader, 3600.0, sleep=waits.append)
        assert not is_outage(raised.value)
    assert waits == []
    stores.database.close()


@pytest.mark.parametrize("value", [1e300, -1e18, -1.0, 1e12])
@pytest.mark.parametrize(
    ("table", "column"),
    [
        *(("retable_study", name) for name in ("deadline", "period_began", "created", "served", "running_since")),
        *(("retable_export", "created"), ("retable_import", "created"), ("retable_trial", "finished")),
        *(("retable_trial", "seconds"), ("retable_worker", "started"), ("retable_study", "hours")),
    ],
)
def test_times_that_have_no_date_are_refused(
    filled: tuple[Stores, sqlite3.Connection], table: str, column: str, value: float
) -> None:
    stores, raw = filled
    (before,) = raw.execute(f"SELECT {column} FROM {table} LIMIT 1").fetchone()
    raw.execute(f"UPDATE {table} SET {column} = ?", (value,))
    try:
        read: list[Callable[[], object]] = [stores.studies.all, lambda: stores.exports.all(1)]
        read += [lambda: stores.imports.all(1), lambda: stores.trials.records(1), lambda: stores.workers.alive(1e300)]
        refusals = []
        for reader in read:
            try:
                reader()
            except DamagedRowError as error:
                refusals.append(str(error))
        assert len(refusals) == 1 and f"in {table}, row" in refusals[0] and column in refusals[0]
    finally:
        raw.execute(f"UPDATE {table} SET {column} = ?", (before,))


@pytest.mark.parametrize("blob", [b"", pack(np.zeros(4))[:-3], b"x" * 9])
def test_a_damaged_array_is_named_with_its_row(filled: tuple[Stores, sqlite3.Connection], blob: bytes) -> None:
    stores, raw = filled
    for table, column, reader in (
        ("retable_dataset", "y", lambda s: s.datasets.get("f" * 64)),
        ("retable_fold_set", "folds", lambda s: s.datasets.folds("f" * 64, n_folds=2, split=0, seed=0)),
        ("retable_study_weights", "weights", lambda s: s.studies.weights(1)),
        ("retable_curve", "true_class", lambda s: s.trials.curves(1)),
        ("retable_prediction", "predictions", lambda s: s.trials.prediction(1, "oof")),
        ("retable_import", "predictions", lambda s: s.imports.predictions(1)),
    ):
        stored = {"retable_prediction": "proba", "retable_import": "oof"}.get(table, column)
        before = raw.execute(f"SELECT rowid, {stored} FROM {table}").fetchall()
        raw.execute(f"UPDATE {table} SET {stored} = ?", (blob,))
        try:
            with pytest.raises(DamagedRowError, match=rf"in {table}, row .*{column}"):
                reader(_new_stores(stores))
        finally:
            raw.executemany(f"UPDATE {table} SET {stored} = ? WHERE rowid = ?", [(old, row) for row, old in before])
