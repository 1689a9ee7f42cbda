"""Malformed bodies sent to the writable dashboard are answered with 400, without a traceback in the log."""

from __future__ import annotations

import io
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search.report.dashboard.serve import make_app
from storage.artifacts import ArtifactFolder
from storage.optuna_storage.fleet_storage import open_optuna_storage
from storage.optuna_storage.optuna_trials import trial_id_of
from storage.stores import open_stores

HERE, TOKEN = "localhost:8080", "secret-token-of-the-test"
CHANGES = (
    ("POST", "/api/studies"),
    ("POST", "/api/studies/1/rename"),
    ("DELETE", "/api/studies/1"),
    ("PUT", "/api/studies/1/note"),
    ("PUT", "/api/studies/1/1/note"),
    ("POST", "/api/studies/1/preference"),
    ("PUT", "/api/studies/1/preference_feedback_component"),
    ("POST", "/api/trials/2/tell"),
    ("POST", "/api/trials/2/user-attrs"),
    ("POST", "/api/artifacts/1/2"),
    ("POST", "/api/artifacts/1"),
)
JSON = "application/json"


@contextmanager
def open_app(folder: Path, url: str) -> Iterator[WSGIApplication]:
    """A writable dashboard with one study: trial 1 is finished, trial 2 is running; its tables are empty before."""
    database = open_stores(url).database
    optuna_storage = open_optuna_storage(database)
    study = optuna.create_study(storage=optuna_storage, study_name="paintings", direction="maximize")
    study.tell(study.ask(), 0.5)
    study.ask()
    assert [trial_id_of(study, number) for number in range(2)] == [1, 2]
    yield make_app(optuna_storage, ArtifactFolder(folder / "artifacts").pictures(), [], token=TOKEN, writable=True)
    database.close()


@pytest.fixture
def app(tmp_path: Path, url: str) -> Iterator[WSGIApplication]:
    with open_app(tmp_path, url) as opened:
        yield opened


@pytest.fixture(scope="module")
def refusing_app(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[WSGIApplication]:
    """A dashboard for requests that it refuses, so that none of them can change what the next one finds."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(sqlite_template, folder / "retable.db")
    with open_app(folder, f"sqlite:///{folder / 'retable.db'}") as opened:
        yield opened


def send(
    app: WSGIApplication, method: str, path: str, body: bytes, content_type: str = JSON, length: str | None = None
) -> tuple[int, str]:
    """Status and reason of the answer."""
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    environ |= {"REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.input": io.BytesIO(body), "QUERY_STRING": ""}
    environ |= {"CONTENT_LENGTH": length or str(len(body)), "CONTENT_TYPE": content_type, "HTTP_HOST": HERE}
    environ |= {"HTTP_AUTHORIZATION": f"Bearer {TOKEN}", "HTTP_ORIGIN": f"http://{HERE}"}
    seen: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        seen.append(status)

    answer = b"".join(app(environ, start_response))
    return int(seen[-1][:3]), str(json.loads(answer).get("reason", "")) if answer else ""


@pytest.mark.parametrize(("method", "path"), CHANGES)
@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[1]",
        b'"text"',
        b"1",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b"not json",
        b'{"a": NaN}',
        b'{"a": "\\ud800"}',
    ],
)
def test_a_body_that_is_no_json_object(
    refusing_app: WSGIApplication, caplog: pytest.LogCaptureFixture, method: str, path: str, body: bytes
) -> None:
    status, reason = send(refusing_app, method, path, body)
    assert status == 400 and "body" in reason
    assert not caplog.records


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_a_body_of_another_kind(
    refusing_app: WSGIApplication, caplog: pytest.LogCaptureFixture, method: str, path: str
) -> None:
    assert send(refusing_app, method, path, b"study_name=x", "application/x-www-form-urlencoded")[0] == 400
    assert send(refusing_app, method, path, b"{}", length="many")[0] == 400
    if method != "DELETE":
        assert send(refusing_app, method, path, b"")[0] == 400
    assert not caplog.records


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/api/studies", {"study_name": 5, "directions": ["maximize"]}, "study_name"),
        ("POST", "/api/studies", {"study_name": "x", "directions": [1]}, "directions"),
        ("POST", "/api/studies", {"study_name": "x" * 513, "directions": ["maximize"]}, "study_name"),
        ("POST", "/api/studies/1/rename", {"study_name": ["x"]}, "study_name"),
        ("PUT", "/api/studies/1/note", {"version": "1", "body": "x"}, "version"),
        ("POST", "/api/studies/1/preference", {"candidates": 1}, "candidates"),
        ("POST", "/api/trials/2/tell", {"state": 1}, "state"),
        ("POST", "/api/trials/2/tell", {"state": "Complete", "values": [[1]]}, "values"),
        ("POST", "/api/trials/2/tell", {"state": "Complete", "values": [0.1, 0.2]}, "values"),
        ("POST", "/api/trials/2/user-attrs", {"user_attrs": ["x"]}, "user_attrs"),
        ("POST", "/api/artifacts/1", {"file": "text"}, "file"),
        ("POST", "/api/artifacts/1/2", {"file": "data:,a", "filename": 1}, "filename"),
    ],
)
def test_a_field_of_another_kind_is_named(
    refusing_app: WSGIApplication, caplog: pytest.LogCaptureFixture, method: str, path: str, body: object, field: str
) -> None:
    status, reason = send(refusing_app, method, path, json.dumps(body).encode())
    assert status == 400 and f"The field {field} has to be" in reason
    assert not caplog.records


def test_a_finished_trial_stays_as_it_is(app: WSGIApplication, caplog: pytest.LogCaptureFixture) -> None:
    for path, body in (("tell", {"state": "Fail"}), ("user-attrs", {"user_attrs": {"a": 1}})):
        assert send(app, "POST", f"/api/trials/1/{path}", json.dumps(body).encode())[0] == 409
    assert not caplog.records


def test_well_formed_bodies_arrive(app: WSGIApplication) -> None:
    def change(method: str, path: str, body: object) -> int:
        return send(app, method, path, json.dumps(body).encode(), "application/json; charset=utf-8")[0]

    assert change("POST", "/api/studies", {"study_name": "よこ", "directions": ["maximize"]}) == 201
    assert change("PUT", "/api/studies/1/note", {"version": 1, "body": "a note"}) == 204
    assert change("POST", "/api/artifacts/1", {"file": "data:text/plain;base64,YWJj", "filename": "a.txt"}) == 201
    assert change("POST", "/api/trials/2/user-attrs", {"user_attrs": {"a": [1, None]}}) == 204
    assert change("POST", "/api/trials/2/tell", {"state": "Complete", "values": [0.5]}) == 204
    assert send(app, "DELETE", "/api/studies/2", b"")[0] == 204


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
_NAMES = (
    "study_name",
    "directions",
    "version",
    "body",
    "state",
    "values",
    "user_attrs",
    "mode",
    "candidates",
    "clicked",
)


@pytest.mark.parametrize("field", ["candidates", "clicked", "mode"])
def test_null_is_no_value(refusing_app: WSGIApplication, field: str) -> None:
    status, reason = send(refusing_app, "POST", "/api/studies/1/preference", json.dumps({field: None}).encode())
    assert status == 400 and field in reason


@given(
    change=st.sampled_from([change for change in CHANGES if change[0] != "DELETE"]),
    body=st.dictionaries(st.sampled_from(_NAMES), _VALUES, max_size=3),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_body_leads_to_an_error_of_the_server(app: WSGIApplication, change: tuple[str, str], body: Any) -> None:
    logging.getLogger("optuna_dashboard").propagate = False
    assert send(app, *change, json.dumps(body).encode())[0] < 500
