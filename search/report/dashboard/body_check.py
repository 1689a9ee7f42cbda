"""Checks the JSON body of a request that changes something, before Optuna Dashboard takes its form for granted."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NoReturn
from wsgiref.types import WSGIEnvironment

_MOST_BYTES = 2**27  # as the dashboard
_LONGEST_NAME = 512  # characters of Optuna's columns of names
_JSON = ("application/json", "application/json-rpc")
_CHANGES = ("POST", "PUT", "DELETE", "PATCH")
_Check = Callable[[Any], bool]
_Fields = dict[str, tuple[str, _Check]]


def body_problem(environ: WSGIEnvironment, path: str) -> str | None:
    """Why the body of a request cannot be used; None if it can.

    The body is read, and put back into ``environ``.
    """
    method = environ.get("REQUEST_METHOD", "GET")
    if method not in _CHANGES:
        return None
    length = environ.get("CONTENT_LENGTH") or "0"
    if not (length.isascii() and length.isdecimal()):
        return "The header Content-Length is no number."
    if int(length) > _MOST_BYTES:
        return f"The body has more than {_MOST_BYTES} bytes."
    body = environ["wsgi.input"].read(int(length))
    environ["wsgi.input"] = io.BytesIO(body)
    fields = next((known for of, address, known in _FIELDS if of == method and address.fullmatch(path)), None)
    if not body:
        return None if fields is None or method == "DELETE" else "The body is empty. Send a JSON object."
    if fields is not None and environ.get("CONTENT_TYPE", "").lower().split(";")[0].strip() not in _JSON:
        return "The header Content-Type is not application/json."
    if fields is None and not path.startswith("/api/"):
        return None
    try:
        content = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return "The body is no valid JSON."
    if not isinstance(content, dict):
        return "The body is JSON, but no object."
    for name, (what, check) in (fields or {}).items():
        if name in content and not check(content[name]):
            return f"The field {name} has to be {what}."
    if any("\0" in text or re.search("[\ud800-\udfff]", text) for text in _texts(content)):
        return "The body holds characters that cannot be stored: NUL, or half of a surrogate pair."
    return None


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)


def _texts(value: Any) -> Iterator[str]:
    """All texts in a JSON value, names of fields as well."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or isinstance(value, float)


def _is_one_number(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 1 and _is_number(value[0])


def _list_of(check: _Check) -> _Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _are_attributes(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_name, value))


def _is_data_uri(value: Any) -> bool:
    return isinstance(value, str) and re.match(r"data:[^,]*,[A-Za-z0-9+/]*={0,2}\Z", value) is not None


_NAME = ("a text of 1 to 512 characters", _is_name)
_TEXT = ("a text", _is_text)
_KEY = ("a text or null", lambda value: value is None or _is_text(value))
_WHOLE = ("a whole number", _is_whole)
_WHOLES = ("a list of whole numbers", _list_of(_is_whole))
_NOTE: _Fields = {"version": _WHOLE, "body": _TEXT}
_ADDRESSES: tuple[tuple[str, str, _Fields], ...] = (
    ("POST", r"/api/studies", {"study_name": _NAME, "directions": ("a list of texts", _list_of(_is_text))}),
    ("POST", r"/api/studies/\d+/rename", {"study_name": _NAME}),
    ("DELETE", r"/api/studies/\d+", {"remove_associated_artifacts": ("true or false", lambda v: v in (True, False))}),
    ("PUT", r"/api/studies/\d+(?:/\d+)?/note", _NOTE),
    ("POST", r"/api/studies/\d+/preference", {"mode": _TEXT, "candidates": _WHOLES, "clicked": _WHOLE}),
    ("PUT", r"/api/studies/\d+/preference_feedback_component", {"output_type": _TEXT, "artifact_key": _KEY}),
    ("POST", r"/api/trials/\d+/tell", {"state": _TEXT, "values": ("a list of one number", _is_one_number)}),
    ("POST", r"/api/trials/\d+/user-attrs", {"user_attrs": ("an object", _are_attributes)}),
    ("POST", r"/api/artifacts/\d+(?:/\d+)?", {"file": ("a data URI in Base64", _is_data_uri), "filename": _TEXT}),
)
"""Method, address and the fields of Optuna Dashboard's requests with a body, with what each has to be."""
_FIELDS = tuple((method, re.compile(address), fields) for method, address, fields in _ADDRESSES)
