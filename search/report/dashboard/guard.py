"""WSGI middleware that keeps visitors of Optuna Dashboard from harming the studies or the machine.

Optuna Dashboard 0.21 trusts every visitor and every address. `Guard` refuses

- requests under a foreign Host name: a web site whose name points to 127.0.0.1 (DNS rebinding) could otherwise read and
  delete studies through its visitor's browser;
- every change, unless the dashboard is writable: deleting or renaming a study and ending a trial by hand would take
  trials from running workers. A note would be overwritten by the next one;
- changes requested by a page of another site (cross-site request forgery): browsers send the page's origin;
- plots whose cost is out of proportion for a large study. With 1,000 trials of 13 parameters, a contour plot took 19 s
  and 5 GB and a rank plot 10 s and 0.4 GB for an answer of 100 MB; all other pages took 1 s and 10 MB at most.

It also adds headers to artifacts, so that a browser shows them but runs no script in them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from search.report.dashboard.answers import path_of, refuse

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

PLOT_MAX_TRIALS = 300
"""Largest number of trials for the plots of `EXPENSIVE_PLOTS`."""

EXPENSIVE_PLOTS = ("contour", "rank")
"""Plots of every pair of parameters: their cost grows with the square of the parameters, and contour's with the square
of the trials as well."""

READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Request methods that change nothing."""

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

ARTIFACT_POLICY = "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'"
"""Content-Security-Policy of artifacts. It allows no scripts and no forms, and gives each an origin of its own."""

_PLOT = re.compile(r"/api/studies/([^/]+)/plot/([^/]+)/*")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]/@\s]+)(?::[0-9]*)?")

Headers = list[tuple[str, str]]


class Guard:
    """WSGI middleware around Optuna Dashboard; see the module's docstring.

    Args:
        app: the dashboard.
        optuna_storage: Optuna storage of the dashboard's studies, in which their trials are counted.
        allowed_hosts: accepted Host names, without port, besides those of the loopback interface.
        writable: whether the dashboard's own pages may change studies.
    """

    def __init__(
        self,
        app: WSGIApplication,
        optuna_storage: BaseStorage,
        allowed_hosts: Collection[str],
        *,
        writable: bool = False,
    ) -> None:
        self._app = app
        self._optuna_storage = optuna_storage
        self._hosts = {*LOOPBACK_NAMES, *(name.strip("[]").lower() for name in allowed_hosts)}
        self._writable = writable

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        reason = self._host_refusal(environ) or self._refusal(environ)
        if reason is not None:
            return refuse(start_response, reason)
        artifact = path_of(environ).lstrip("/").startswith("artifacts/")
        return self._app(environ, _with_headers(start_response, artifact=artifact))

    def checking_host(self, app: WSGIApplication) -> WSGIApplication:
        """``app`` behind the check of the Host name alone."""

        def checked(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            reason = self._host_refusal(environ)
            return app(environ, start_response) if reason is None else refuse(start_response, reason)

        return checked

    def _host_refusal(self, environ: WSGIEnvironment) -> str | None:
        host = environ.get("HTTP_HOST", "")
        if _host_name(host) in self._hosts:
            return None
        return (
            f"This dashboard does not answer under the name {host[:100]!r}. Use http://localhost, or start it "
            "with --allow-host NAME to let browsers use another name."
        )

    def _refusal(self, environ: WSGIEnvironment) -> str | None:
        """The reason to refuse a request under an allowed name; None if it is allowed."""
        if environ["REQUEST_METHOD"] not in READ_METHODS:
            if not _same_origin(environ, environ.get("HTTP_HOST", "")):
                return "Only the dashboard's own pages may change studies. The Origin of this request is another page."
            if not self._writable:
                return (
                    "This dashboard is read-only: deleting, renaming or editing a study here could take trials from "
                    "running workers. `search dashboard --writable` allows changes. `search pause`, `stop`, `try` and "
                    "`retry` change a study safely."
                )
        plot = _PLOT.fullmatch(path_of(environ))
        return self._plot_refusal(plot[1], plot[2]) if plot and plot[2] in EXPENSIVE_PLOTS else None

    def _plot_refusal(self, study_id: str, plot: str) -> str | None:
        if not re.fullmatch(r"[0-9]{1,18}", study_id):
            return f"There is no study with the number {study_id[:100]!r}."
        try:
            trials = self._optuna_storage.get_n_trials(int(study_id))
        except KeyError:
            return f"There is no study with the number {study_id}."
        if trials <= PLOT_MAX_TRIALS:
            return None
        return (
            f"The {plot} plot is not drawn for more than {PLOT_MAX_TRIALS} trials (this study has {trials}), "
            "because it could take all memory of the machine. The slice plot shows one parameter at a time. The "
            "parallel coordinate plot shows all of them. The importance plot shows which of them matter."
        )


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
        "Referrer-Policy": "same-origin",
    }
    if artifact:
        ours["Content-Security-Policy"] = ARTIFACT_POLICY
    replaced = {name.lower() for name in ours} | {"access-control-allow-origin"}

    def start(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
        kept = [(name, value) for name, value in headers if name.lower() not in replaced]
        return start_response(status, [*kept, *ours.items()], exc_info)

    return start
