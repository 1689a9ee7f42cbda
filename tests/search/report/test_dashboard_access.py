"""The dashboard is read-only and answers only with its token, on every route that Optuna Dashboard has."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import optuna_dashboard
import pytest
from optuna.trial import TrialState

from search.report.dashboard.access import TOKEN_VARIABLE, BadToken, TokenGate, chosen_token
from search.report.dashboard.serve import run_dashboard
from storage.optuna_storage.optuna_trials import study_id_of
from tests.search.report.test_dashboard import HERE, TOKEN, Site, open_site, site

__all__ = ["site"]

READING_ROUTES = {
    "/",
    "/dashboard<:re:(/.*)?>",
    "/api/meta",
    "/api/studies",
    "/api/studies/<study_id:int>",
    "/api/studies/<study_id:int>/param_importances",
    "/api/studies/<study_id:int>/plot/<plot_type>",
    "/csv/<study_id:int>",
    "/favicon.ico",
    "/static/<filename:path>",
    "/incompatible-rdb-schema",
    "/artifacts/<study_id:int>/<artifact_id:re:[0-9a-fA-F-]+>",
    "/artifacts/<study_id:int>/<trial_id:int>/<artifact_id:re:[0-9a-fA-F-]+>",
}
"""Routes of Optuna Dashboard 0.21 for GET. They change nothing, and none takes much time or memory but the plots that
`search.report.dashboard.guard.EXPENSIVE_PLOTS` names. Look at a new one before you add it."""


def routes() -> list[tuple[str, str]]:
    """Method and rule of every route of the installed Optuna Dashboard."""
    app: Any = optuna_dashboard.wsgi(optuna.storages.InMemoryStorage())
    return sorted((route.method, route.rule) for route in app.routes)


def path_of(rule: str) -> str:
    """A path that leads to a rule."""
    filled = re.sub(r"<(?:study|trial)_id:int>", "1", rule)
    filled = re.sub(r"<(?:artifact_id:re:[^>]*|history_id)>", "0a", filled)
    assert "<" not in filled, f"unknown placeholder in {rule}"
    return filled


CHANGING_ROUTES = [(method, rule) for method, rule in routes() if method not in ("GET", "HEAD", "OPTIONS")]
OWN_PAGE = {"origin": f"http://{HERE}", "sec_fetch_site": "same-origin"}
BODY = {
    "study_name": "renamed",
    "directions": ["maximize"],
    "version": 1,
    "body": "a note",
    "state": "COMPLETE",
    "values": [9.0],
    "user_attrs": {"metric": 9.0},
    "file": "data:text/plain;base64,aGk=",
    "filename": "hi.txt",
    "output_type": "note",
    "mode": "ChooseWorst",
    "candidates": [0, 1],
    "clicked": 0,
}
"""A body that makes each of the routes do its work."""


@pytest.fixture(scope="module")
def refusing_site(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Site]:
    """A site for requests that it refuses, so that none of them can change what the next one finds."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(sqlite_template, folder / "retable.db")
    with open_site(folder, f"sqlite:///{folder / 'retable.db'}") as opened:
        opened.study.ask().suggest_float("drop", 0.0, 1.0)
        yield opened


def content(site: Site) -> Any:
    """Everything that the database holds of Optuna's studies."""
    return [
        (study.study_name, study.user_attrs, study.system_attrs, site.storage.get_all_trials(study._study_id))
        for study in site.storage.get_all_studies()
    ]


def test_every_route_is_known() -> None:
    assert {rule for method, rule in routes() if method == "GET"} == READING_ROUTES
    assert len(CHANGING_ROUTES) >= 18
    rules = {rule for _, rule in CHANGING_ROUTES}
    assert {"/api/studies/<study_id:int>/rename", "/api/trials/<trial_id:int>/tell"} <= rules
    assert ("DELETE", "/api/studies/<study_id:int>") in CHANGING_ROUTES


@pytest.mark.parametrize(("method", "rule"), CHANGING_ROUTES)
def test_a_route_that_changes_something_is_refused_unless_writable(refusing_site: Site, method: str, rule: str) -> None:
    before = content(refusing_site)
    for written in (method, method.lower()):
        answer = refusing_site.ask(path_of(rule), method=written, body=BODY, read_only=True, **OWN_PAGE)
        assert answer.status == 403
        assert "read-only" in answer.reason and "--writable" in answer.reason
    assert content(refusing_site) == before


def test_a_writable_dashboard_deletes_renames_and_ends_trials(site: Site) -> None:
    running = site.study.ask()
    trial_id = running._trial_id
    assert site.ask(f"/api/trials/{trial_id}/tell", method="POST", body=BODY, **OWN_PAGE).status == 204
    assert site.study.get_trials()[3].state is TrialState.COMPLETE
    number = study_id_of(site.study)
    assert site.ask(f"/api/studies/{number}/note", method="PUT", body=BODY, **OWN_PAGE).status == 204
    assert site.ask(f"/api/studies/{number}/rename", method="POST", body=BODY, **OWN_PAGE).status == 201
    (renamed,) = site.storage.get_all_studies()
    assert renamed.study_name == "renamed"
    assert site.ask(f"/api/studies/{renamed._study_id}", method="DELETE", body={}, **OWN_PAGE).status == 204
    assert site.storage.get_all_studies() == []


# --- The token ------------------------------------------------------------------------------------------------------


def cookie_of(site: Site) -> str:
    """The cookie of a browser that has opened the printed address."""
    answer = site.ask("/dashboard", query=f"token={TOKEN}", authorization="")
    return answer.headers["Set-Cookie"].partition(";")[0]


def test_the_token_becomes_a_cookie_and_leaves_the_address(site: Site) -> None:
    answer = site.ask("/dashboard/studies/1", query=f"a=%26&token={TOKEN}&b=", authorization="")
    assert (answer.status, answer.body) == (303, b"")
    assert answer.headers["Location"] == "/dashboard/studies/1?a=%26&b="
    name_and_value, *attributes = answer.headers["Set-Cookie"].split("; ")
    assert set(attributes) == {"Path=/", "HttpOnly", "SameSite=Strict"}
    assert answer.headers["Cache-Control"] == "no-store"
    assert TOKEN not in str(answer.headers)
    others = '{"a": 1}; _xsrf=2|x|y; ' + name_and_value + "; z"
    for cookie in (name_and_value, others):
        assert site.ask("/api/studies", authorization="", cookie=cookie).status == 200


@pytest.mark.parametrize("path", ["//evil.example/x", "/\\evil.example", "///evil.example", "\\/evil.example"])
def test_the_redirect_stays_on_this_site(site: Site, path: str) -> None:
    location = site.ask(path, query=f"token={TOKEN}", authorization="").headers["Location"]
    assert location.startswith("/evil.example")


WITHOUT_TOKEN: tuple[dict[str, str], ...] = (
    {},
    {"query": "token="},
    {"query": "token=wrong"},
    {"query": f"token={TOKEN}x"},
    {"query": f"token={TOKEN}&token=wrong"},
    {"query": f"Token={TOKEN}"},
    {"query": "token=%ff%00"},
    {"authorization": "Bearer"},
    {"authorization": "Bearer wrong"},
    {"authorization": f"Basic {TOKEN}"},
    {"authorization": "Bearer \xe9\xff"},
    {"cookie": f"retable_dashboard={TOKEN}"},
    {"cookie": "=; ;;; a"},
    {"cookie": "\xff=\xfe"},
)


@pytest.mark.parametrize("request_parts", WITHOUT_TOKEN, ids=str)
@pytest.mark.parametrize("path", ["/", "/dashboard", "/api/studies", "/static/bundle.js", "/csv/1", "/nowhere"])
def test_requests_without_the_token_are_refused_with_words(
    refusing_site: Site, path: str, request_parts: dict[str, Any]
) -> None:
    answer = refusing_site.ask(path, **{"authorization": "", **request_parts})
    assert answer.status == 401
    assert "search dashboard" in answer.reason and TOKEN not in answer.reason
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "Set-Cookie" not in answer.headers and b"paintings" not in answer.body


def test_a_cookie_is_compared_as_a_whole(site: Site) -> None:
    name, _, value = cookie_of(site).partition("=")
    for wrong in (value[:-1], value + "0", value.upper(), f'"{value}"', TOKEN):
        assert site.ask("/api/studies", authorization="", cookie=f"{name}={wrong}").status == 401
    assert site.ask("/api/studies", method="POST", body=BODY, authorization="", **OWN_PAGE).status == 401


def test_browsers_get_a_page_with_a_link(site: Site) -> None:
    answer = site.ask("/dashboard", authorization="", accept="text/html,*/*")
    assert answer.status == 401
    assert answer.headers["Content-Type"].startswith("text/html")
    assert b'<a href="/dashboard">' in answer.body


def test_another_site_learns_nothing_and_cannot_log_in(site: Site) -> None:
    for path, query in (("/dashboard", ""), ("/dashboard", f"token={TOKEN}")):
        answer = site.ask(path, host="evil.example", query=query, authorization="")
        assert answer.status == 403
        assert "token" not in answer.reason and "Set-Cookie" not in answer.headers


def test_a_request_with_the_token_from_another_page_changes_nothing(site: Site) -> None:
    answer = site.ask(
        "/api/studies", method="POST", body=BODY, authorization="", cookie=cookie_of(site), origin="http://evil.example"
    )
    assert answer.status == 403
    assert [study.study_name for study in site.storage.get_all_studies()] == ["paintings"]


def test_what_it_protects_sees_no_credentials() -> None:
    seen: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        seen.append(environ)
        start_response("200 OK", [])
        return []

    request = {"REQUEST_METHOD": "GET", "HTTP_AUTHORIZATION": f"Bearer {TOKEN}", "HTTP_COOKIE": "a=b"}
    list(TokenGate(app, TOKEN)(request, lambda *_: lambda _: None))
    assert seen == [{"REQUEST_METHOD": "GET"}]


def test_the_token_is_random_unless_the_environment_fixes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    (first, is_random), (second, _) = chosen_token(), chosen_token()
    assert is_random and first != second and len(first) >= 43
    monkeypatch.setenv(TOKEN_VARIABLE, "")
    assert chosen_token()[1], "an empty variable is none"
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert chosen_token() == (TOKEN, False)


@pytest.mark.parametrize(
    "wrong", ["short", "fifteen-letters", "a token with spaces in it", "x" * 257, "ümlaut-ümlaut-ümlaut"]
)
def test_an_unusable_token_is_refused_without_repeating_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wrong: str
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, wrong)
    with pytest.raises(BadToken, match=f"{len(wrong)} characters; a token has 16 to 256") as refused:
        run_dashboard(f"sqlite:///{tmp_path / 'none.db'}", home=tmp_path, host="127.0.0.1", port=0, allowed_hosts=[])
    assert wrong not in str(refused.value)
