"""Optuna Dashboard on our database, with what it lacks: it trusts every visitor and every address (0.21).

`Guard` stands before it and refuses

- requests under a foreign Host name: a web site that lets its name point to 127.0.0.1 (DNS rebinding) would otherwise
  read and delete studies through the browser of whoever looks at it;
- changes that another site's page asks for: browsers tell the page's origin;
- the contour plot of a large study, which takes all memory of the machine (320 MB and 20 s at 1,000 trials, more than
  24 GB at 5,000);

and sends artifacts so that a browser shows them but runs nothing in them.
"""

from __future__ import annotations

import ipaddress
import json
import re
import signal
import sys
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from search.runtime.errors import SearchError
from search.runtime.home import Home
from storage.artifacts import ArtifactFolder
from storage.stores import Stores, open_stores

if TYPE_CHECKING:
    from optuna.artifacts import FileSystemArtifactStore
    from optuna.storages import BaseStorage

CONTOUR_MAX_TRIALS = 300
"""The contour plot of more trials is refused: its cost grows with their square."""

MAX_BODY_BYTES = 64 * 2**20
"""Larger uploads are refused; the dashboard holds them in memory."""

READING = frozenset({"GET", "HEAD", "OPTIONS"})
"""Request methods that change nothing."""

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

ARTIFACT_POLICY = "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'"
"""Shown, not run: no scripts, no forms, an origin of its own."""

_CONTOUR = re.compile(r"/api/studies/([^/]+)/plot/contour/*")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]/@\s]+)(?::[0-9]*)?")

Headers = list[tuple[str, str]]


class DashboardError(SearchError):
    """The dashboard cannot listen as asked."""


class Guard:
    """WSGI middleware around Optuna Dashboard; see the module's docstring.

    Args:
        app: the dashboard.
        optuna_storage: where its studies are, for counting trials.
        allowed_hosts: names, without port, under which it may be called besides those of the loopback interface.
    """

    def __init__(self, app: WSGIApplication, optuna_storage: BaseStorage, allowed_hosts: Collection[str]) -> None:
        self._app = app
        self._optuna_storage = optuna_storage
        self._hosts = {*LOOPBACK_NAMES, *(name.strip("[]").lower() for name in allowed_hosts)}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        reason = self._refusal(environ)
        if reason is not None:
            return _refuse(start_response, reason)
        artifact = environ.get("PATH_INFO", "").lstrip("/").startswith("artifacts/")
        return self._app(environ, _with_headers(start_response, artifact=artifact))

    def _refusal(self, environ: WSGIEnvironment) -> str | None:
        """Why this request is not answered; None if it is."""
        host = environ.get("HTTP_HOST", "")
        name = _host_name(host)
        if name not in self._hosts:
            return (
                f"This dashboard does not answer under the name {host[:100]!r}. Use http://localhost, or start it "
                "with --allow-host NAME to let browsers use another name."
            )
        if environ["REQUEST_METHOD"] not in READING and not _same_origin(environ, host):
            return "Changes are taken from the dashboard's own pages only: the Origin of this request is another one."
        contour = _CONTOUR.fullmatch(environ.get("PATH_INFO", ""))
        return self._contour_refusal(contour[1]) if contour else None

    def _contour_refusal(self, study_id: str) -> str | None:
        if not re.fullmatch(r"[0-9]{1,18}", study_id):
            return f"There is no study with the number {study_id[:100]!r}."
        try:
            trials = self._optuna_storage.get_n_trials(int(study_id))
        except KeyError:
            return f"There is no study with the number {study_id}."
        if trials <= CONTOUR_MAX_TRIALS:
            return None
        return (
            f"The contour plot is not drawn for more than {CONTOUR_MAX_TRIALS} trials (this study has {trials}): it "
            "could take all memory of the machine. The slice plot shows one parameter at a time, the parallel "
            "coordinates all together, and the importances which of them matter."
        )


def make_app(
    optuna_storage: BaseStorage, artifact_store: FileSystemArtifactStore | None, allowed_hosts: Collection[str]
) -> WSGIApplication:
    """Optuna Dashboard behind a `Guard`.

    Args:
        optuna_storage: cached, as `Database.optuna_storage` gives it: the dashboard reads all trials for every page.
        artifact_store: where pictures of trials and studies lie; None: it shows none.
        allowed_hosts: as for `Guard`.
    """
    from optuna_dashboard import wsgi

    return Guard(wsgi(optuna_storage, artifact_store=artifact_store), optuna_storage, allowed_hosts)


def serve(app: WSGIApplication, host: str, port: int) -> None:
    """Answer requests until Ctrl-C; the address is printed first. Port 0 takes any that is free.

    Raises:
        DashboardError: the address cannot be listened on.
    """
    from waitress.server import create_server

    try:
        server = create_server(app, host=host, port=port, ident=None, max_request_body_size=MAX_BODY_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DashboardError(
            f"the dashboard cannot listen on {host}, port {port}: {reason}; --port 0 takes a free port"
        ) from error
    print(f"Optuna Dashboard: {_address(server, host)}  (Ctrl-C ends it)", flush=True)
    try:
        server.run()
    finally:
        server.close()


def run_dashboard(storage_url: str, *, home: Path, host: str, port: int, allowed_hosts: Collection[str]) -> None:
    """Serve the dashboard of a database until Ctrl-C.

    Raises:
        DashboardError: ``host`` is not the loopback interface and nothing is allowed, or it cannot be listened on.
        StorageError, SchemaError: the database cannot be used.
    """
    check_exposure(host, allowed_hosts)
    optuna_storage = open_stores(storage_url).optuna_storage
    pictures = ArtifactFolder(Home(root=home).artifacts).pictures()
    # A shell that starts a command in the background has it ignore Ctrl-C; whoever sends the signal means it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    serve(make_app(optuna_storage, pictures, allowed_hosts), host, port)


def check_exposure(host: str, allowed_hosts: Collection[str]) -> None:
    """Let the dashboard leave this machine only where that was asked for twice, and warn.

    Raises:
        DashboardError: ``host`` is not the loopback interface, and ``allowed_hosts`` names nothing.
    """
    if is_loopback(host):
        return
    if not allowed_hosts:
        raise DashboardError(
            f"listening on {host} lets others on the network in, and whoever gets in can change and delete studies. "
            "If that is meant, name what they will type into the browser: --allow-host NAME"
        )
    print(
        f"WARNING: listening on {host}: anyone who reaches this address can change and delete studies. "
        "There is no password.",
        file=sys.stderr,
    )


def is_loopback(host: str) -> bool:
    """Whether ``host`` is an address that only this machine reaches."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _host_name(host: str) -> str | None:
    """The name in a Host header, without port and brackets; None where it has no such form."""
    match = _HOST.fullmatch(host)
    return match[1].strip("[]").lower() if match else None


def _same_origin(environ: WSGIEnvironment, host: str) -> bool:
    """Whether a changing request comes from a page of ours. Browsers say so; who does not is no browser of today."""
    origin = environ.get("HTTP_ORIGIN")
    if origin is None:
        return environ.get("HTTP_SEC_FETCH_SITE") == "same-origin"
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    # A proxy may have taken the TLS off, so the schemes need not agree.
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _with_headers(start_response: StartResponse, *, artifact: bool) -> StartResponse:
    """``start_response`` that adds what keeps other sites out, and for artifacts removes what lets them in."""
    ours = {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "SAMEORIGIN",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    if artifact:
        ours["Content-Security-Policy"] = ARTIFACT_POLICY
    replaced = {name.lower() for name in ours} | {"access-control-allow-origin"}

    def start(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
        kept = [(name, value) for name, value in headers if name.lower() not in replaced]
        return start_response(status, [*kept, *ours.items()], exc_info)

    return start


def _refuse(start_response: StartResponse, reason: str) -> Iterable[bytes]:
    """403 in the form of the dashboard's own errors, which its pages know how to show."""
    body = json.dumps({"reason": reason}).encode()
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("X-Content-Type-Options", "nosniff"),
    ]
    start_response("403 Forbidden", headers)
    return [body]


def _address(server: Any, host: str) -> str:
    # A name such as localhost may stand for several addresses, each with a socket of its own.
    port = server.effective_port if hasattr(server, "effective_port") else server.effective_listen[0][1]
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{shown}:{port}/dashboard"


PUBLISHED = ("confusion_matrix.png", "submission.csv")
"""Files of an export that become artifacts of the study; each export adds its own."""


def publish(stores: Stores, study_name: str, home: Home, folder: Path) -> None:
    """Show the export in ``folder`` on the dashboard's page of the study."""
    # The dashboard takes as long to import as all else that an export needs.
    from optuna.artifacts import upload_artifact
    from optuna_dashboard import save_note

    study = stores.optuna_study(study_name)
    save_note(study, (folder / "MODEL_CARD.md").read_text(encoding="utf-8"))
    for name in PUBLISHED:
        if (folder / name).is_file():
            upload_artifact(
                study_or_trial=study,
                file_path=str(folder / name),
                artifact_store=ArtifactFolder(home.artifacts).pictures(),
            )
