"""The access token of the dashboard.

A port of the loopback interface is open to every account of the machine. So the dashboard answers only requests that
carry its token. The printed address holds the token as ``?token=...``; the answer moves it into a cookie, so that it
stays neither in the address bar nor in the browser's history. Programs send ``Authorization: Bearer TOKEN``.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import os
import re
import secrets
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, urlencode
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from search.report.dashboard.answers import refuse
from search.runtime.errors import SearchError

TOKEN_VARIABLE = "RETABLE_DASHBOARD_TOKEN"  # noqa: S105 - a name
"""Environment variable with a fixed token, the safer place than ``--token``: other users can read command lines."""

TOKEN_PARAMETER = "token"  # noqa: S105 - a name

_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,256}")


class BadToken(SearchError):
    """The fixed token is too short or cannot be part of an address."""


def chosen_token(given: str = "") -> tuple[str, bool]:
    """The token ``given``, else that of `TOKEN_VARIABLE`, else a random one; and whether it is random.

    Raises:
        BadToken: what is given is no usable token.
    """
    source = "--token" if given else TOKEN_VARIABLE
    given = given or os.environ.get(TOKEN_VARIABLE, "")
    if not given:
        return secrets.token_urlsafe(32), True
    if _TOKEN.fullmatch(given) is None:
        raise BadToken(
            f"{source} holds {len(given)} characters; a token has 16 to 256 of A-Z a-z 0-9 . _ ~ -. "
            'python -c "import secrets; print(secrets.token_urlsafe())" prints one'
        )
    return given, False


class TokenGate:
    """WSGI middleware that answers only requests with the token.

    Args:
        app: what it protects. It sees neither the token nor the cookie.
    """

    def __init__(self, app: WSGIApplication, token: str) -> None:
        self._app = app
        self._token = token.encode()
        # Two dashboards on one host share its cookies, whatever their ports.
        self._cookie_name = "retable_dashboard_" + hashlib.sha256(b"name" + self._token).hexdigest()[:12]
        self._cookie = hmac.new(self._token, b"cookie", hashlib.sha256).hexdigest()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        query = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        given = [value for name, value in query if name == TOKEN_PARAMETER]
        if given and environ["REQUEST_METHOD"] == "GET":
            if all(self._is_token(value) for value in given):
                return self._log_in(environ, start_response, [pair for pair in query if pair[0] != TOKEN_PARAMETER])
            return _refuse(environ, start_response, "The token in the address is not that of this dashboard.")
        if self._is_known(environ):
            return self._app(_without_credentials(environ), start_response)
        return _refuse(environ, start_response, "This dashboard answers only with its access token.")

    def _is_known(self, environ: WSGIEnvironment) -> bool:
        scheme, _, credentials = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(credentials.strip()):
            return True
        # `http.cookies` drops all cookies if it cannot read one, and other programs of the host set theirs as well.
        pairs = (pair.strip().partition("=") for pair in environ.get("HTTP_COOKIE", "").split(";"))
        return any(name == self._cookie_name and _are_equal(value, self._cookie.encode()) for name, _, value in pairs)

    def _is_token(self, given: str) -> bool:
        return _are_equal(given, self._token)

    def _log_in(
        self, environ: WSGIEnvironment, start_response: StartResponse, query: list[tuple[str, str]]
    ) -> Iterable[bytes]:
        """Set the cookie, and redirect to the same address without the token."""
        # One slash in front: `//name/path` would lead to another site.
        path = "/" + quote(environ.get("PATH_INFO", "").encode("latin-1", "replace").lstrip(b"/\\"))
        headers = [
            ("Location", path + (f"?{urlencode(query)}" if query else "")),
            ("Set-Cookie", f"{self._cookie_name}={self._cookie}; Path=/; HttpOnly; SameSite=Strict"),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("Content-Length", "0"),
        ]
        start_response("303 See Other", headers)
        return [b""]


def _are_equal(given: str, expected: bytes) -> bool:
    """Comparison in a time that does not depend on the place of the first difference."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected)


def _without_credentials(environ: WSGIEnvironment) -> WSGIEnvironment:
    hidden = ("HTTP_AUTHORIZATION", "HTTP_COOKIE")
    return {name: value for name, value in environ.items() if name not in hidden}


def _refuse(environ: WSGIEnvironment, start_response: StartResponse, reason: str) -> Iterable[bytes]:
    how = (
        f"Open the whole address that `search dashboard` printed, with ?{TOKEN_PARAMETER}=...; "
        f"where {TOKEN_VARIABLE} sets the token, add it to the address yourself."
    )
    if "text/html" not in environ.get("HTTP_ACCEPT", ""):
        return refuse(start_response, f"{reason} {how}", status="401 Unauthorized")
    # A browser sends no strict cookie where a link of another site led here. The link on this page is our own.
    body = (
        '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Access token needed</title>'
        f"<p>{html.escape(reason)} {html.escape(how)}</p>"
        '<p>If you have just opened that address from another page: <a href="/dashboard">continue</a>.</p></html>'
    ).encode()
    return refuse(start_response, "", status="401 Unauthorized", page=body)
