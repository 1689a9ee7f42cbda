"""Database URLs: which are accepted, and that no message shows their secrets."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL

from storage.database.connection import connect
from storage.database.urls import parse_url, shown_url, without_secrets
from storage.errors import StorageError


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_urls_get_the_driver(scheme: str) -> None:
    url = parse_url(f"{scheme}://ann:secret@db.example:5433/retable")
    assert url.render_as_string(hide_password=False) == "postgresql+psycopg://ann:secret@db.example:5433/retable"


def test_a_sqlite_file_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_url("sqlite:///retable.db").database == str(tmp_path / "retable.db")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://root:secret@localhost/db", "mysql databases are not supported"),
        ("postgresql+psycopg2://ann:secret@localhost/db", "psycopg2"),
        ("ann:secret@localhost", "cannot be read"),
        ("postgresql://ann:secret@localhost:port/db", "cannot be read"),
        ("", "cannot be read"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:///file:secret?mode=memory&uri=true", "no parameters"),
        ("sqlite://retable.db", "three slashes"),
    ],
)
def test_other_urls_are_refused_with_a_valid_example(url: str, says: str) -> None:
    with pytest.raises(StorageError, match=says) as caught:
        connect(url)
    assert "sqlite:///FILE" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@given(password=st.text(st.characters(codec="utf-8", exclude_characters="*"), min_size=1).map(lambda t: f"§{t}§"))
def test_no_representation_shows_the_password(password: str) -> None:
    url = URL.create(
        "postgresql+psycopg",
        "ann",
        password,
        "localhost",
        1,
        "db",
        query={"sslpassword": password, "sslmode": "prefer"},
    )
    database = connect(url.render_as_string(hide_password=False))
    shown = [database.name, repr(database), shown_url(url), str(database.engine.url)]
    assert not any(
        password in text or URL.create("x", "a", password).render_as_string(False) in text for text in shown[:3]
    )
    assert "sslmode=prefer" in database.name
    assert password not in without_secrets(f"no luck with {password}", url)
    copy = pickle.loads(pickle.dumps(database))
    assert copy.url == database.url
