"""``search dashboard``: Optuna Dashboard on the study database, protected by a WSGI middleware.

Optuna Dashboard 0.21 trusts every visitor and every address. `Guard` refuses

- requests under a foreign Host name: a web site whose name points to 127.0.0.1 (DNS rebinding) could otherwise read and
  delete studies through its visitor's browser;
- changes requested by a page of another site (cross-site request forgery): browsers send the page's origin;
- the contour plot of a large study, which takes all memory of the machine (320 MB and 20 s at 1,000 trials, more than
  24 GB at 5,000).

It also adds headers to artifacts, so that a browser shows them but runs no script in them.
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
"""Largest number of trials for the contour plot, whose cost is quadratic in it."""

MAX_BODY_BYTES = 64 * 2**20
"""Largest upload; the dashboard holds it in memory."""

READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Request methods that change nothing."""

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

ARTIFACT_POLICY = "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'"
"""Content-Security-Policy of artifacts. It allows no scripts and no forms, and gives each an origin of its own."""

PUBLISHED = ("confusion_matrix.png", "submission.csv")
"""Files of an export that are uploaded as artifacts of the study. Each export adds its own."""

_CONTOUR = re.compile(r"/api/studies/([^/]+)/plot/contour/*")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]/@\s]+)(?::[0-9]*)?")

Headers = list[tuple[str, str]]


class DashboardError(SearchError):
    """The dashboard cannot listen on the given address."""


class Guard:
    """WSGI middleware around Optuna Dashboard; see the module's docstring.

    Args:
        app: the dashboard.
        optuna_storage: Optuna storage of the dashboard's studies, in which their trials are counted.
        allowed_hosts: accepted Host names, without port, besides those of the loopback interface.
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
        """The reason to refuse a request; None if it is allowed."""
        host = environ.get("HTTP_HOST", "")
        name = _host_name(host)
        if name not in self._hosts:
            return (
                f"This dashboard does not answer under the name {host[:100]!r}. Use http://localhost, or start it "
                "with --allow-host NAME to let browsers use another name."
            )
        if environ["REQUEST_METHOD"] not in READ_METHODS and not _same_origin(environ, host):
            return "Only the dashboard's own pages may change studies. The Origin of this request is another page."
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
            f"The contour plot is not drawn for more than {CONTOUR_MAX_TRIALS} trials (this study has {trials}), "
            "because it could take all memory of the machine. The slice plot shows one parameter at a time. The "
            "parallel coordinate plot shows all of them. The importance plot shows which of them matter."
        )


def make_app(
    optuna_storage: BaseStorage, artifact_store: FileSystemArtifactStore | None, allowed_hosts: Collection[str]
) -> WSGIApplication:
    """Optuna Dashboard, protected by a `Guard`.

    Args:
        optuna_storage: Optuna storage with a cache, because the dashboard reads all trials for every page.
        artifact_store: pictures of trials and studies; None: no pictures.
        allowed_hosts: as for `Guard`.
    """
    from optuna_dashboard import wsgi

    return Guard(wsgi(optuna_storage, artifact_store=artifact_store), optuna_storage, allowed_hosts)


def serve(app: WSGIApplication, host: str, port: int) -> None:
    """Print the address, then answer requests until Ctrl-C. Port 0 stands for any free port.

    Raises:
        DashboardError: the address is not available.
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
        DashboardError: the address is not available, or ``host`` is public and ``allowed_hosts`` is empty.
        StorageError, SchemaError: the database cannot be used.
    """
    check_exposure(host, allowed_hosts)
    optuna_storage = open_stores(storage_url).optuna_storage
    pictures = ArtifactFolder(Home(root=home).artifacts).pictures()
    # A shell makes background commands ignore SIGINT (Ctrl-C). `kill -INT` has to end the dashboard nevertheless.
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, signal.default_int_handler)
    serve(make_app(optuna_storage, pictures, allowed_hosts), host, port)


def check_exposure(host: str, allowed_hosts: Collection[str]) -> None:
    """Refuse a public address unless ``allowed_hosts`` confirms it; then print a warning.

    Raises:
        DashboardError: ``host`` is not the loopback interface, and ``allowed_hosts`` is empty.
    """
    if is_loopback(host):
        return
    if not allowed_hosts:
        raise DashboardError(
            f"listening on {host} lets everyone on the network change and delete studies. To allow that, give the host "
            "name that they type into the browser: --allow-host NAME"
        )
    print(
        f"WARNING: listening on {host}: everyone who reaches this address can change and delete studies. There is no "
        "password.",
        file=sys.stderr,
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address ``host``."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _host_name(host: str) -> str | None:
    """The name in a Host header, without port and brackets; None if the header is malformed."""
    match = _HOST.fullmatch(host)
    return match[1].strip("[]").lower() if match else None


def _same_origin(environ: WSGIEnvironment, host: str) -> bool:
    """Whether a request that changes something comes from the dashboard's own page.

    Browsers send the header Origin or Sec-Fetch-Site. A request without both is refused.
    """
    origin = environ.get("HTTP_ORIGIN")
    if origin is None:
        return environ.get("HTTP_SEC_FETCH_SITE") == "same-origin"
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    # A proxy may have terminated TLS, so the schemes may differ.
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _with_headers(start_response: StartResponse, *, artifact: bool) -> StartResponse:
    """``start_response`` with security headers instead of the application's own."""
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
    """403 in the format of the dashboard's own errors, so that its pages show the reason."""
    body = json.dumps({"reason": reason}).encode()
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("X-Content-Type-Options", "nosniff"),
    ]
    start_response("403 Forbidden", headers)
    return [body]


def _address(server: Any, host: str) -> str:
    # A name such as localhost may resolve to several addresses; waitress then opens a socket for each.
    port = server.effective_port if hasattr(server, "effective_port") else server.effective_listen[0][1]
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{shown}:{port}/dashboard"


def publish(stores: Stores, study_name: str, home: Home, folder: Path) -> None:
    """Show the export in ``folder`` on the dashboard's page of the study."""
    # Imported here, because these imports take as long as all others of an export.
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
