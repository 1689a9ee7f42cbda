"""Opening a database that may not exist."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from storage.database.connection import connect
from storage.errors import SchemaError
from storage.schema import VERSION_TABLE
from storage.stores import stores_if_any
from tests.databases import DIALECTS


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
