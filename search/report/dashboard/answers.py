"""What the middleware share: the path of a request, and answers of their own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment


def refuse(
    start_response: StartResponse, reason: str, *, status: str = "403 Forbidden", page: bytes | None = None
) -> Iterable[bytes]:
    """Refuse a request with the reason, in the format of the dashboard's own errors, whose pages show it.

    Args:
        page: HTML to send instead.
    """
    body = json.dumps({"reason": reason}).encode() if page is None else page
    headers = [
        ("Content-Type", "application/json" if page is None else "text/html; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "SAMEORIGIN"),
        ("Cache-Control", "no-store"),
    ]
    if status.startswith("401"):
        headers.append(("WWW-Authenticate", "Bearer"))
    start_response(status, headers)
    return [body]


def path_of(environ: WSGIEnvironment) -> str:
    """The path as the dashboard's framework reads it: bytes that are no UTF-8 are left out."""
    path: str = environ.get("PATH_INFO", "")
    try:
        return path.encode("latin-1").decode("utf-8", "ignore")
    except UnicodeEncodeError:
        return path
