"""Database URLs: which are accepted, and that no message shows their secrets."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sqlalchemy import URL

from storage.database import urls
from storage.database.connection import connect
from storage.database.existing import NoStudy, check_database
from storage.database.urls import parse_url, shown_url, sqlite_file, url_text, without_passwords, without_secrets
from storage.errors import StorageError
from storage.stores import open_stores


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


names = st.text(st.characters(exclude_characters="/\0", codec=None), min_size=1).filter(lambda n: n not in (".", ".."))
"""Names of files: any text, with surrogates for bytes that are not UTF-8."""


@given(parts=st.lists(names, min_size=1, max_size=4))
def test_a_sqlite_url_survives_becoming_text(parts: list[str]) -> None:
    path = "/" + "/".join(parts)
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        assume(False)  # surrogates that no byte stands for: not the name of a file
    url = URL.create("sqlite", database=path)
    assert parse_url(url_text(url)) == parse_url(shown_url(url)) == url
    assert str(sqlite_file(url_text(url))) == path
    assert url_text(url).isascii() and url_text(url).isprintable() and shown_url(url).isprintable()


@given(
    user=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
    password=st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    host=st.sampled_from(["db", "db.example", "10.0.0.1", "::1", None]),
    port=st.none() | st.integers(0, 65535),
    database=st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
    query=st.dictionaries(st.sampled_from(["host", "sslmode", "options"]), st.text("a/@:% ?&=", min_size=1)),
)
def test_a_postgresql_url_survives_becoming_text(
    user: str, password: str | None, host: str | None, port: int | None, database: str | None, query: dict[str, str]
) -> None:
    url = URL.create("postgresql+psycopg", user, password, host, port, database, query)
    assert parse_url(url_text(url)) == url


@given(password=st.text("ab1@:/% #[]+&=é", min_size=1))
def test_a_password_needs_no_encoding(password: str) -> None:
    url = parse_url(f"postgresql://ann:{password}@db.example:5433/retable?sslmode=prefer")
    assert url.password == (password if "\ufffd" in unquote(password) else unquote(password))
    assert (url.username, url.host, url.port, url.database) == ("ann", "db.example", 5433, "retable")
    assert parse_url(f"postgresql://ann%40company:{password}@[::1]/retable").username == "ann@company"
    assert parse_url(f"postgresql://ann@company:{password}@db/retable").username == "ann@company"


@pytest.mark.parametrize("shown", ["postgresql://ann:s3/c@ret@db/x", "connect postgresql://ann:s3c@ret@db/x failed"])
def test_text_with_a_url_shows_no_password(shown: str) -> None:
    assert not any(part in without_passwords(shown) for part in ("s3", "ret@"))
    assert ":***@db/x" in without_passwords(shown)


@pytest.mark.parametrize(
    "scheme", ["postgresql+psycopg", "postgresql", "postgres+psycopg2", "mysql", "mysql+pymysql", "redis", "Oracle"]
)
@pytest.mark.parametrize("password", ["S3cr", "S3:cr", "S3cr@", "S3/cr"])
@pytest.mark.parametrize("around", ["{}", "there is no folder {}", "error:'{}' cannot be read", "({})"])
def test_a_url_without_slashes_shows_no_password(scheme: str, password: str, around: str) -> None:
    shown = without_passwords(around.format(f"{scheme}:ann:{password}@h/db"))
    assert shown == around.format(f"{scheme}:ann:***@h/db")


@pytest.mark.parametrize("user", ["ann", "ann_b-1", "ann@company", "ann@company.example", "Ann"])
@pytest.mark.parametrize("password", ["S3cr", "S3:cr", "S3cr@", "S3/cr"])
@pytest.mark.parametrize("around", ["{}", "there is no folder {}", "error:'{}' cannot be read", "({})", "//{}"])
def test_a_user_without_a_scheme_shows_no_password(user: str, password: str, around: str) -> None:
    shown = without_passwords(around.format(f"{user}:{password}@h/db"))
    assert not any(part in shown for part in ("S3", "cr@")) and shown.endswith("@h/db" + around.split("{}")[1])


@pytest.mark.parametrize("argument", ["ann.b:s3 cret@h/db", ":s3cret@h", "--storage=ann:s3cret@h", "//ann.b:s3cret@h"])
def test_an_argument_without_a_scheme_is_remembered(argument: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "_given", {})
    urls.remember_passwords(["status", argument])
    assert "cret" not in without_passwords(f"there is no folder {argument}")
    assert "cret" not in without_passwords(argument)


@pytest.mark.parametrize(
    "argument", ["optimizer.lr@adamw=0.1", "study:12", "C:\\a@b", "https://host/a@b", "--from=a:3", "a@b"]
)
def test_an_argument_without_a_password_is_not_remembered(argument: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "_given", {})
    urls.remember_passwords([argument])
    assert without_passwords(argument) == argument


@pytest.mark.parametrize(
    "text",
    [
        "12:30:05 a@b",
        "2026-11-26T15:28:25@host",
        "main.py:12:30@x",
        "git@github.com:owner/repository",
        "github.com:owner/repository@v1",
        "registry.example:5000/retable:1.2@sha256",
        "aug_tuning:12: lr@adamw=0.1",
        "optimizer.lr@adamw: 1e-05 -> 1e-04",
        "reason: worker:0 left ann@host",
        "postgresql+psycopg:USER:PASSWORD@HOST",
    ],
)
def test_text_without_a_password_stays(text: str) -> None:
    assert without_passwords(text) == text


@pytest.mark.parametrize("name", ["a%20b.db", "a b.db", "50% off.db", "c#.db", "コンペ.db", "user@host.db", "[1].db"])
def test_every_check_means_the_same_file(name: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/{name}"
    with pytest.raises(NoStudy):
        check_database(url)
    with connect(url).writing() as connection:
        connection.exec_driver_sql("CREATE TABLE x (y INTEGER)")
    check_database(url)
    assert (tmp_path / unquote(name)).is_file()


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_folder_whose_name_is_not_utf8_holds_a_study_database(tmp_path: Path, dialect: str) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path / "x") + "コンペ".encode("shift_jis")))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system has no such names")
    stores = open_stores(url_text(URL.create("sqlite", database=str(folder / "x {y}%.db"))), create=True)
    assert stores.optuna_storage.get_all_studies() == []
    assert (folder / "x {y}%.db").is_file()
