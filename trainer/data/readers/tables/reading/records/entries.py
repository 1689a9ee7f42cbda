"""Strict JSON of an untrusted file: its records, each with its line."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trainer.common.errors import TrainerError

_BLANKS = re.compile(r"[ \t\r\n]*")
_LINE_ENDS = re.compile(r"\r\n|\r|\n")


class Number(str):
    """A number as the file writes it, so that no digit is lost."""

    __slots__ = ()


class BrokenJsonError(TrainerError):
    """Text that is no valid JSON, or no JSON of the expected form. The message names the line."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")


@dataclass(frozen=True)
class Entry:
    """A value of the file, and the line on which it begins, from 1."""

    line: int
    value: Any


def entries_of_lines(text: str) -> Iterator[Entry]:
    """The value on each line of JSON Lines; blank lines hold none.

    Raises:
        BrokenJsonError: a line is no single value of JSON.
    """
    for number, line in enumerate(_LINE_ENDS.split(text), 1):
        start = _skip(line, 0)
        if start == len(line):
            continue
        value, end = _decoded(line, start, number)
        if rest := line[_skip(line, end) :].strip():
            what = "a comma stands after the object; remove it" if rest == "," else f"{rest[:40]!r} follows the object"
            raise BrokenJsonError(number, what)
        yield Entry(number, value)


def entries_of_list(text: str) -> Iterator[Entry]:
    """The values of a list that is the whole text.

    Raises:
        BrokenJsonError: the text is no such list.
    """
    lines = _Lines(text)
    at = _opened(text)
    while at is not None:
        line = lines.of(at)
        value, end = _decoded(text, at, line)
        yield Entry(line, value)
        at = _next(text, end, lines)


def first_value(text: str, at: int = 0) -> tuple[Any, int]:
    """The value that begins at ``at``, and where it ends.

    Raises:
        BrokenJsonError: the text holds no whole value there.
    """
    return _decoded(text, _skip(text, at), 1)


class _Lines:
    """The lines of rising positions in a text."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._line = text, 0, 1

    def of(self, position: int) -> int:
        self._line += self._text.count("\n", self._at, position)
        self._at = position
        return self._line


def _skip(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    assert found is not None, "the pattern fits an empty text"
    return found.end()


def _opened(text: str) -> int | None:
    """Where the first value of the list begins; None without one."""
    at = _skip(text, 0)
    if text[at : at + 1] != "[":
        raise BrokenJsonError(1, "[ is expected")
    at = _skip(text, at + 1)
    if text[at : at + 1] != "]":
        return at
    _check_end(text, at + 1, _Lines(text))
    return None


def _next(text: str, end: int, lines: _Lines) -> int | None:
    """Where the value after the one that ends at ``end`` begins; None after the last one."""
    at = _skip(text, end)
    mark = text[at : at + 1]
    if mark == "]":
        _check_end(text, at + 1, lines)
        return None
    if mark != ",":
        raise BrokenJsonError(lines.of(at), "a comma or ] is expected" + " before the end" * (not mark))
    comma = lines.of(at)
    at = _skip(text, at + 1)
    if text[at : at + 1] == "]":
        raise BrokenJsonError(comma, "a comma stands before ]; remove it")
    return at


def _check_end(text: str, at: int, lines: _Lines) -> None:
    at = _skip(text, at)
    if at < len(text):
        raise BrokenJsonError(lines.of(at), f"{text[at : at + 40]!r} follows the end")


def _decoded(text: str, at: int, line: int) -> tuple[Any, int]:
    """The value that begins at a position, and its end.

    Args:
        line: that of the position.
    """
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        found = line + text.count("\n", at, error.pos)
        raise BrokenJsonError(found, f"no valid JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise BrokenJsonError(line, "no table, because it is nested too deeply") from error
    except ValueError as error:
        raise BrokenJsonError(line, str(error)) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"{twice[:60]!r} occurs twice in one object")
    return found


def _constant(name: str) -> None:
    """A missing value for NaN, as Python writes it."""
    if name != "NaN":
        raise ValueError(f"{name} is no value of JSON; write null where a value is missing")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=Number, parse_float=Number, parse_constant=_constant)
