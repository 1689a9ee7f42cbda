"""Opening a database that may not exist."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text

from storage.database.connection import connect
from storage.database.existing import NoStudy
from storage.errors import SchemaError
from storage.records.study_rows import StoredStudy
from storage.records.workers import SEEN_WITHIN, Role
from storage.schema import VERSION_TABLE
from storage.stores import open_stores, stores_if_any
from tests.databases import DIALECTS
from tests.storage.samples import LEASE, StandingClock


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_a_database_without_tables_is_not_opened(empty_url: str) -> None:
    assert stores_if_any(empty_url) is None
    connect(empty_url).close()
    assert stores_if_any(empty_url) is None


def test_a_database_of_an_unknown_revision_is_an_error(url: str) -> None:
    opened = stores_if_any(url)
    assert opened is not None and opened.studies.all() == []
    with opened.database.writing() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0006'"))
    opened.database.close()
    for create in (False, True):
        with pytest.raises(SchemaError, match="revision 0006"):
            stores_if_any(url, create=create)


def test_the_default_study_runs_or_was_worked_on_last(
    url: str, make_study: Callable[..., StoredStudy], clock: StandingClock
) -> None:
    stores = open_stores(url)
    stores.database.clock = clock
    with pytest.raises(NoStudy):
        stores.study(None)
    first = make_study("first")
    clock.forward(10.0)
    second = make_study("second")
    assert stores.study(None) == second
    clock.forward(10.0)
    stores.queue.take(first.id, "w1", LEASE)
    assert stores.study(None).name == "first"
    stores.workers.heartbeat("s1", host="h", pid=1, device="", role=Role.SUPERVISOR, study_id=second.id)
    assert stores.study(None).name == "second"
    clock.forward(SEEN_WITHIN + 1.0)
    assert stores.study(None).name == "first"
    assert stores.study("second") == second
    stores.database.close()
