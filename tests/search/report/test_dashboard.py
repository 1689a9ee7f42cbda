"""The real Optuna Dashboard on a real database: it serves its own pages and refuses those of other sites."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from optuna.artifacts import upload_artifact

from search.report.dashboard import guard
from search.report.dashboard.serve import DashboardError, check_exposure, is_loopback, make_app, run_dashboard, serve
from storage.artifacts import ArtifactFolder
from storage.database.existing import NoStudy
from storage.optuna_storage.fleet_storage import FleetStorage, open_optuna_storage
from storage.optuna_storage.optuna_trials import study_id_of, trial_id_of
from storage.stores import open_stores

HERE = "localhost:8080"
TOKEN = "secret-token-of-the-test"


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def reason(self) -> str:
        return str(json.loads(self.body)["reason"])


@dataclass(frozen=True, kw_only=True)
class Site:
    """A dashboard with one study of three trials; the first has an HTML page as artifact."""

    app: WSGIApplication
    read_only: WSGIApplication
    """The same without ``--writable``."""
    storage: FleetStorage
    study: optuna.Study
    artifact: str

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        host: str | None = HERE,
        body: Any = None,
        query: str = "",
        read_only: bool = False,
        authorization: str = f"Bearer {TOKEN}",
        **headers: str,
    ) -> Answer:
        headers["authorization"] = authorization
        environ: dict[str, Any] = {}
        setup_testing_defaults(environ)
        content = b"" if body is None else json.dumps(body).encode()
        environ |= {"REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.input": io.BytesIO(content)}
        environ |= {"QUERY_STRING": query, "CONTENT_LENGTH": str(len(content)), "CONTENT_TYPE": "application/json"}
        environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        del environ["HTTP_HOST"]
        if host is not None:
            environ["HTTP_HOST"] = host
        seen: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            seen.append((status, headers))

        chunks = b"".join((self.read_only if read_only else self.app)(environ, start_response))
        status, sent = seen[-1]
        return Answer(status=int(status[:3]), headers=dict(sent), body=chunks)


@contextmanager
def open_site(folder: Path, url: str) -> Iterator[Site]:
    """A site whose database has empty tables; ``folder`` holds its artifacts."""
    database = open_stores(url).database
    optuna_storage = open_optuna_storage(database)
    pictures = ArtifactFolder(folder / "artifacts").pictures()
    study = optuna.create_study(storage=optuna_storage, study_name="paintings", direction="maximize")
    page = folder / "page.html"
    page.write_text("<script>alert(1)</script>")
    artifact = ""
    for number in range(3):
        trial = study.ask()
        trial.suggest_float("optimizer.lr", 0.0, 1.0)
        trial.suggest_float("drop", 0.0, 1.0)
        if number == 0:
            artifact = upload_artifact(artifact_store=pictures, file_path=str(page), study_or_trial=trial)
        study.tell(trial, 0.1 * number)
    writable, read_only = (
        make_app(optuna_storage, pictures, ["retable.example"], token=TOKEN, writable=writable)
        for writable in (True, False)
    )
    yield Site(app=writable, read_only=read_only, storage=optuna_storage, study=study, artifact=artifact)
    database.close()


@pytest.fixture
def site(tmp_path: Path, url: str) -> Iterator[Site]:
    with open_site(tmp_path, url) as opened:
        yield opened


def test_the_dashboard_serves_its_pages(site: Site) -> None:
    page = site.ask("/dashboard")
    assert page.status == 200
    assert b"<html" in page.body
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    summaries = json.loads(site.ask("/api/studies").body)["study_summaries"]
    assert [summary["study_name"] for summary in summaries] == ["paintings"]
    detail = json.loads(site.ask("/api/studies/1").body)
    assert len(detail["trials"]) == 3


OWN_NAMES = (
    "localhost",
    "LOCALHOST:8080",
    "127.0.0.1:1",
    "[::1]:8080",
    "[::1]",
    "retable.example",
    "Retable.Example:80",
)

FOREIGN_NAMES = (
    "evil.example",
    "localhost.evil.example",
    "evil.example:8080@localhost",
    "localhost, evil.example",
    "192.168.1.5:8080",
    "retable.example.",
    "[::2]",
    "",
    None,
)


def test_only_known_host_names_are_answered(site: Site) -> None:
    for host in OWN_NAMES:
        assert site.ask("/api/studies", host=host).status == 200, host
    for name in FOREIGN_NAMES:
        answer = site.ask("/api/studies", host=name)
        assert answer.status == 403, name
        assert "--allow-host" in answer.reason
        assert b"paintings" not in answer.body


def test_own_pages_may_change_studies(site: Site) -> None:
    wanted = {"study_name": "made here", "directions": ["maximize"]}
    answer = site.ask("/api/studies", method="POST", body=wanted, origin=f"http://{HERE}")
    assert answer.status == 201
    by_name = site.ask("/api/studies", method="POST", body={**wanted, "study_name": "x"}, sec_fetch_site="same-origin")
    assert by_name.status == 201
    proxied = {"host": "retable.example", "origin": "https://retable.example"}
    assert site.ask("/api/studies", method="POST", body={**wanted, "study_name": "y"}, **proxied).status == 201
    names = {study.study_name for study in site.storage.get_all_studies()}
    assert names == {"paintings", "made here", "x", "y"}


FOREIGN_PAGES: tuple[dict[str, str], ...] = (
    {"origin": "http://evil.example"},
    {"origin": "http://localhost:3000"},
    {"origin": "null"},
    {"origin": "http://[half"},
    {"origin": "file://localhost:8080"},
    {"sec_fetch_site": "cross-site"},
    {"sec_fetch_site": "same-origin", "origin": "http://evil.example"},
    {},
)


def test_pages_of_other_sites_change_nothing(site: Site) -> None:
    wanted = {"study_name": "no", "directions": ["maximize"]}
    for headers in FOREIGN_PAGES:
        made = site.ask("/api/studies", method="POST", body=wanted, **headers)
        deleted = site.ask("/api/studies/1", method="DELETE", body={}, **headers)
        noted = site.ask("/api/studies/1/note", method="PUT", body={"version": 1, "body": "no"}, **headers)
        assert [answer.status for answer in (made, deleted, noted)] == [403, 403, 403], headers
    assert [study.study_name for study in site.storage.get_all_studies()] == ["paintings"]
    assert site.storage.get_study_system_attrs(study_id_of(site.study)) == {}


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/api/studies/1", "after=abc", 400),
        ("/api/studies/1", "after=-1", 400),
        ("/api/studies/1", "after=", 400),
        ("/api/studies/1", f"after={'9' * 5000}", 400),
        ("/api/studies/1", "after=%FF", 400),
        ("/csv/1", "trial_ids=abc", 400),
        ("/csv/1", "trial_ids=99", 404),
        ("/api/studies/99", "", 404),
        ("/api/studies/abc", "", 404),
        (f"/api/studies/{'9' * 30}", "", 404),
        (f"/api/studies/{'9' * 5000}", "", 404),
        ("/api/studies/99/plot/slice", "", 404),
        ("/api/studies/1/plot/pareto_front", "", 404),
        ("/api/studies/1/plot/nonsense", "", 404),
        (f"/csv/{'9' * 30}", "", 404),
        ("/artifacts/99/abc", "", 404),
        ("/artifacts/1/abc", "", 404),
        ("/artifacts/1/1/abc", "", 404),
        ("/artifacts/1/99/abc", "", 404),
        (f"/artifacts/1/{'9' * 30}/abc", "", 404),
    ],
)
def test_malformed_requests_are_answered_in_words(
    site: Site, path: str, query: str, status: int, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    answer = site.ask(path, query=query)
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/json")
    assert len(answer.reason) > 10
    assert "Traceback" not in capfd.readouterr().err + caplog.text


@pytest.mark.parametrize("path", ["/nothing", "/api/nothing", "/static/nothing", "/api/studies/1/plot/a/b"])
def test_unknown_paths_are_not_found(site: Site, path: str, capfd: pytest.CaptureFixture[str]) -> None:
    answer = site.ask(path)
    assert answer.status == 404
    assert capfd.readouterr().err == ""


def test_files_are_served_to_programs_that_accept_no_encoding(site: Site) -> None:
    icon = site.ask("/favicon.ico")
    assert (icon.status, icon.headers["Content-Type"]) == (200, "image/vnd.microsoft.icon")
    assert site.ask("/static/bundle.js").status == 200


def test_an_artifact_whose_file_is_gone_is_not_found(site: Site, tmp_path: Path) -> None:
    path = f"/artifacts/1/1/{site.artifact}"
    assert site.ask(path).status == 200
    for file in (tmp_path / "artifacts").rglob(f"*{site.artifact}*"):
        file.unlink()
    assert site.ask(path).status == 404


@pytest.mark.parametrize("plot", ["slice", "parallel_coordinate", "edf", "timeline", "contour", "rank"])
def test_plots_and_later_trials_are_still_answered(site: Site, plot: str) -> None:
    assert site.ask(f"/api/studies/1/plot/{plot}").status == 200
    assert len(json.loads(site.ask("/api/studies/1", query="after=2").body)["trials"]) == 1


def test_the_contour_plot_of_many_trials_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "PLOT_MAX_TRIALS", 2)
    for path in ("/api/studies/1/plot/contour", "/api/studies/01/plot/contour", "/api/studies/1/plot/contour/"):
        answer = site.ask(path)
        assert answer.status == 403
        assert "this study has 3" in answer.reason
        assert "slice plot" in answer.reason
    assert site.ask("/api/studies/99/plot/contour").status == 403
    assert site.ask("/api/studies/１/plot/contour").status == 403  # noqa: RUF001
    assert site.ask("/api/studies/1/plot/slice").status != 403


def test_the_contour_plot_of_few_trials_is_drawn(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    class Figure:
        def to_json(self) -> str:
            return "{}"

    def draw(study: optuna.Study, **_: object) -> Figure:
        drawn.append(len(study.trials))
        return Figure()

    # The plot itself needs plotly, which the dashboard does not require.
    monkeypatch.setattr(optuna.visualization, "plot_contour", draw)
    monkeypatch.setattr(guard, "PLOT_MAX_TRIALS", 3)
    assert site.ask("/api/studies/1/plot/contour").status == 200
    assert drawn == [3]


@pytest.mark.parametrize("plot", ["contour", "rank"])
def test_plots_of_every_pair_of_parameters_are_refused_for_many_trials(
    site: Site, monkeypatch: pytest.MonkeyPatch, plot: str
) -> None:
    monkeypatch.setattr(guard, "PLOT_MAX_TRIALS", 2)
    # The dashboard's framework leaves out bytes that are no UTF-8, so the second and third path lead to the same page.
    for path in (plot, f"{plot[:2]}\xff{plot[2:]}", f"\xfe{plot}///"):
        answer = site.ask(f"/api/studies/1/plot/{path}")
        assert answer.status == 403
        assert answer.reason.startswith(f"The {plot} plot is not drawn for more than 2 trials")
    monkeypatch.setattr(guard, "PLOT_MAX_TRIALS", 3)
    assert site.ask(f"/api/studies/1/plot/{plot}").status == 200


def test_artifacts_are_sandboxed(site: Site) -> None:
    trial_id = trial_id_of(site.study, 0)
    answer = site.ask(f"/artifacts/1/{trial_id}/{site.artifact}")
    assert answer.status == 200
    assert answer.body == b"<script>alert(1)</script>"
    assert answer.headers["Content-Type"] == "text/html"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox;")
    assert "allow-scripts" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert site.ask(f"/artifacts/1/{trial_id}/{site.artifact}", host="evil.example").status == 403
    disguised = site.ask(f"/arti\xfffacts/1/{trial_id}/{site.artifact}")
    assert disguised.status == 200 and disguised.headers["Content-Security-Policy"] == policy


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.3.2.1", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
    ],
)
def test_loopback_addresses_are_recognised(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_public_address_needs_a_second_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DashboardError, match="--allow-host"):
        check_exposure("0.0.0.0", [])
    assert capsys.readouterr().err == ""
    check_exposure("0.0.0.0", ["retable.example"])
    assert "WARNING" in capsys.readouterr().err
    check_exposure("127.0.0.1", [])
    assert capsys.readouterr().err == ""


def test_a_proxy_in_front_needs_its_host_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DashboardError, match="--behind-proxy needs the host name"):
        check_exposure("127.0.0.1", [], behind_proxy=True)
    check_exposure("127.0.0.1", ["retable.example"], behind_proxy=True)
    assert "past the proxy can read all studies" in capsys.readouterr().err

    def run(token: str) -> None:
        url = f"sqlite:///{tmp_path / 'none.db'}"
        hosts = ["retable.example"]
        run_dashboard(url, home=tmp_path, host="127.0.0.1", port=0, allowed_hosts=hosts, token=token, behind_proxy=True)

    with pytest.raises(DashboardError, match="asks for no token"):
        run("a-token-of-sixteen")
    monkeypatch.setenv("RETABLE_DASHBOARD_TOKEN", "a-token-of-sixteen")
    with pytest.raises(DashboardError, match="asks for no token"):
        run("")


def test_behind_a_proxy_no_token_is_asked_for_but_all_other_checks_stay(site: Site) -> None:
    behind = replace(site, app=make_app(site.storage, None, ["retable.example"], token=None))
    assert behind.ask("/api/studies", host="retable.example", authorization="").status == 200
    assert behind.ask("/api/studies", host="evil.example", authorization="").status == 403
    assert behind.ask("/api/studies/1", method="DELETE", host="retable.example", authorization="").status == 403


def test_a_port_in_use_is_named(site: Site) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DashboardError, match=f"cannot listen on 127.0.0.1, port {port}: .*in use"):
            serve(site.app, "127.0.0.1", port)


def test_a_missing_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoStudy, match="there is no database"):
        run_dashboard(f"sqlite:///{tmp_path / 'none.db'}", home=tmp_path, host="127.0.0.1", port=0, allowed_hosts=[])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_dashboard_serves_until_ctrl_c(site: Site, url: str, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from search.report.dashboard.serve import run_dashboard; "
        "run_dashboard(sys.argv[1], home=Path(sys.argv[2]), host='127.0.0.1', port=0, allowed_hosts=[])"
    )
    command = [sys.executable, "-c", code, url, str(tmp_path / "home")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as served:
        try:
            assert served.stdout is not None
            line = served.stdout.readline()
            address = re.search(r"(http://127\.0\.0\.1:\d+)/dashboard\?token=(\S+)", line)
            assert address is not None, served.stderr.read() if served.stderr else line
            place, token = address[1], address[2]
            browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            with browser.open(address[0], timeout=30) as page:
                assert page.url == f"{place}/dashboard", "the token is gone from the address"
                assert b"<html" in page.read()
            with browser.open(f"{place}/api/studies", timeout=30) as answer:
                assert b"paintings" in answer.read()
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(f"{place}/api/studies", timeout=30)
            foreign = urllib.request.Request(f"{place}/api/studies", headers={"Host": "evil.example"})
            with pytest.raises(urllib.error.HTTPError, match="403"):
                browser.open(foreign, timeout=30)
            assert token not in Path(f"/proc/{served.pid}/cmdline").read_text(), "`ps` shows command lines to all"
            served.send_signal(signal.SIGINT)
            assert served.wait(timeout=30) == 0
            assert served.stderr is not None and served.stderr.read() == "", "no log of requests, with or without token"
        finally:
            served.kill()
