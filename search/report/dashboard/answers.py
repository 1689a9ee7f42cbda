"""Answers of the middleware itself."""

from __future__ import annotations

import json
from collections.abc import Iterable
from wsgiref.types import StartResponse


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
