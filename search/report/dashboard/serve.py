"""Runs the dashboard's server until Ctrl-C."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from wsgiref.types import WSGIApplication

from search.report.dashboard.access import TOKEN_PARAMETER, TOKEN_VARIABLE, TokenGate, chosen_token
from search.report.dashboard.guard import Guard
from search.report.dashboard.publish import StateKeeper
from search.report.dashboard.request_check import RequestCheck
from search.runtime.console import say_error
from search.runtime.errors import SearchError
from search.runtime.home import Home
from search.study_state.snapshot import StudySnapshot, read_snapshot
from storage.artifacts import ArtifactFolder
from storage.database.existing import NoStudy
from storage.errors import StorageError
from storage.optuna_storage.optuna_rows import find_optuna_study
from storage.stores import Stores, open_stores
from studies.errors import StudyError

if TYPE_CHECKING:
    from optuna.artifacts import FileSystemArtifactStore
    from optuna.storages import BaseStorage

PAGES_INTERVAL = 15.0
"""Seconds between two looks at the studies whose pages the dashboard keeps current."""
MAX_BODY_BYTES = 64 * 2**20
"""Largest upload; the dashboard holds it in memory."""


log = logging.getLogger(__name__)


class DashboardError(SearchError):
    """The dashboard cannot listen on the given address."""


def make_app(
    optuna_storage: BaseStorage,
    artifact_store: FileSystemArtifactStore | None,
    allowed_hosts: Collection[str],
    *,
    token: str | None,
    writable: bool = False,
) -> WSGIApplication:
    """Optuna Dashboard, protected by a `RequestCheck`, a `Guard` and, with a token, a `TokenGate`.

    Args:
        optuna_storage: Optuna storage with a cache, because the dashboard reads all trials for every page.
        artifact_store: pictures of trials and studies; None: no pictures.
        allowed_hosts, writable: as for `Guard`.
        token: that every request has to carry; None: a proxy in front decides who may visit.
    """
    from optuna_dashboard import wsgi

    dashboard = wsgi(optuna_storage, artifact_store=artifact_store)
    checked = RequestCheck(dashboard, optuna_storage, artifact_store)
    guard = Guard(checked, optuna_storage, allowed_hosts, writable=writable)
    # The host name comes first: a page of another site learns nothing, not even how to log in.
    return guard if token is None else guard.checking_host(TokenGate(guard, token))


def run_dashboard(
    storage_url: str,
    *,
    home: Path,
    host: str,
    port: int,
    allowed_hosts: Collection[str],
    writable: bool = False,
    token: str = "",
    behind_proxy: bool = False,
) -> None:
    """Serve the dashboard of a database until Ctrl-C.

    Args:
        token: as `search.report.dashboard.access.chosen_token`.
        behind_proxy: ask for no token, because a proxy in front decides who may visit.

    Raises:
        DashboardError: the address is not available, or ``allowed_hosts`` is empty although ``host`` is public or a
            proxy is in front, or a token is given beside the proxy.
        BadToken: as `search.report.dashboard.access.chosen_token`.
        StorageError, SchemaError: the database cannot be used.
    """
    if behind_proxy and (token or os.environ.get(TOKEN_VARIABLE)):
        raise DashboardError(
            f"--behind-proxy asks for no token: leave out --token and unset {TOKEN_VARIABLE}, or leave out "
            "--behind-proxy"
        )
    check_exposure(host, allowed_hosts, writable=writable, behind_proxy=behind_proxy)
    chosen, is_random = chosen_token(token)
    stores = open_stores(storage_url)
    _restore_studies(stores)
    pictures = ArtifactFolder(Home(root=home).artifacts).pictures()
    threading.Thread(target=_keep_pages, args=(stores, Home(root=home)), name="pages", daemon=True).start()
    # A shell makes background commands ignore SIGINT (Ctrl-C). `kill -INT` has to end the dashboard nevertheless.
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, signal.default_int_handler)
    needed = None if behind_proxy else chosen
    app = make_app(stores.optuna_storage, pictures, allowed_hosts, token=needed, writable=writable)
    # A fixed token stays out of the logs of a service. Its users know it.
    fixed = "TOKEN" if token else f"${TOKEN_VARIABLE}"
    query = "" if behind_proxy else f"?{TOKEN_PARAMETER}={chosen if is_random else fixed}"
    serve(app, host, port, query, _prepare_latest(stores))


def serve(app: WSGIApplication, host: str, port: int, query: str = "", note: str = "") -> None:
    """Print the address, then answer requests until Ctrl-C. Port 0 stands for any free port.

    Args:
        query: end of the printed addresses. The server writes no log of requests.
        note: path of a study's note below the dashboard, which is printed as well; empty: none.

    Raises:
        DashboardError: the address is not available.
    """
    from waitress.server import create_server

    # It warns whenever a request waits for a thread, which a browser causes with every page.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    try:
        server = create_server(app, host=host, port=port, ident=None, max_request_body_size=MAX_BODY_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DashboardError(
            f"the dashboard cannot listen on {host}, port {port}: {reason}; --port 0 takes a free port"
        ) from error
    print(f"Optuna Dashboard: {_address(server, host)}{query}  (Ctrl-C ends it)", flush=True)
    if note:
        print(f"The latest study: {_address(server, host)}{note}{query}", flush=True)
    try:
        server.run()
    finally:
        server.close()


def check_exposure(
    host: str, allowed_hosts: Collection[str], *, writable: bool = False, behind_proxy: bool = False
) -> None:
    """Refuse a public address, or a proxy, unless ``allowed_hosts`` confirms it; then print a warning.

    Raises:
        DashboardError: ``allowed_hosts`` is empty.
    """
    if behind_proxy:
        if not allowed_hosts:
            raise DashboardError(
                "--behind-proxy needs the host name under which the proxy serves the dashboard: --allow-host NAME"
            )
        can = "read, change and delete" if writable else "read"
        say_error(
            f"WARNING: without a token, everyone who reaches {host} past the proxy can {can} all studies. Other "
            "accounts of this machine reach it."
        )
        return
    if is_loopback(host):
        return
    if not allowed_hosts:
        raise DashboardError(
            f"listening on {host} opens the dashboard to the network. To allow that, give the host name that people "
            "type into the browser: --allow-host NAME"
        )
    can = "read, change and delete" if writable else "read"
    say_error(
        f"WARNING: listening on {host}: everyone with the access token can {can} all studies. Without a proxy that "
        "adds TLS, the token crosses the network in plain text."
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address ``host``."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _restore_studies(stores: Stores) -> None:
    """Restore the studies that are gone from Optuna's tables, so that the dashboard lists them."""
    from search.tuning.restore_optuna import ForeignOptunaStudy, restore_if_gone

    for study in stores.studies.all():
        try:
            restore_if_gone(stores, study)
        except (ForeignOptunaStudy, StudyError) as problem:
            say_error(f"warning: {problem}")


def _prepare_latest(stores: Stores) -> str:
    """Read the trials of the latest study into the cache, so that its first page waits for nothing.

    Returns:
        The path of its note below the dashboard; empty without a study.
    """
    try:
        found = find_optuna_study(stores.database, stores.study(None).name)
    except NoStudy:
        return ""
    if found is None:
        return ""
    stores.optuna_storage.get_all_trials(found[0], deepcopy=False)
    return f"/studies/{found[0]}/note"


def _keep_pages(stores: Stores, home: Home) -> None:
    """Keep the pages of all studies current, whether `search start` or only workers run them."""
    keepers: dict[int, StateKeeper] = {}
    known: dict[int, StudySnapshot] = {}
    while True:
        try:
            for study in stores.studies.all():
                keeper = keepers.setdefault(study.id, StateKeeper(stores, home))
                with suppress(StudyError):  # `_restore_studies` has named the studies that this release cannot read
                    known[study.id] = read_snapshot(stores, study.name, known.get(study.id))
                    keeper.update(known[study.id])
        except StorageError as problem:
            log.warning("the notes of the studies are not written: %s", problem)
        time.sleep(PAGES_INTERVAL)


def _address(server: Any, host: str) -> str:
    # A name such as localhost may resolve to several addresses; waitress then opens a socket for each.
    port = server.effective_port if hasattr(server, "effective_port") else server.effective_listen[0][1]
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{shown}:{port}/dashboard"
