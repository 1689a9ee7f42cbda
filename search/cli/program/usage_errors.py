"""Messages of usage errors: in plain words, and safe to print."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import typer

from search.runtime.console import safe
from trainer.inference.printable import EXCERPT, excerpt

# Click's UsageError, which typer does not export.
USAGE_ERROR = cast("type[typer.BadParameter]", typer.BadParameter.mro()[1])

_WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), lambda _: "is not a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), lambda _: "is not a number"),
    "int_parsing_size": lambda _: "has too many digits",
    "greater_than_equal": lambda limits: f"is too small; at least {_number(limits['ge'])}",
    "less_than_equal": lambda limits: f"is too large; at most {_number(limits['le'])}",
}
"""What is wrong with a value, by the type of an error of pydantic, with which newer releases of typer check values."""


@contextmanager
def readable_usage_errors() -> Iterator[None]:
    """Write the message of a usage error in plain words, and make it safe to print.

    It quotes what the user typed, which may be a URL with a password. Typer breaks its lines, so it is too late
    afterwards.
    """
    try:
        yield
    except USAGE_ERROR as error:
        error.message = excerpt(safe(_in_words(error)), 2 * EXCERPT)
        raise


def _in_words(error: typer.BadParameter) -> str:
    """The message of a usage error; of a value that pydantic has refused, in words of `_WORDS`."""
    found = getattr(error.__cause__, "errors", None)
    for problem in found() if callable(found) else ():
        kind, context = problem["type"], problem.get("ctx", {})
        if kind == "value_error":  # a sentence of typer's own, without a prefix
            return str(context["error"])
        if kind in _WORDS:
            return f"{excerpt(str(problem['input']))!r} {_WORDS[kind](context)}"
    return error.message


def _number(value: float) -> str:
    """A limit, in full if it is a whole number."""
    return str(int(value)) if value == int(value) else str(value)
