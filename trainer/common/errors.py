"""The one error of the data side: everything that is wrong with a data set, told at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SHOWN = 20  # problems printed in full; the others are counted


class DataError(ValueError):
    """Data that cannot be used. `problems` holds every finding, each a sentence that names file and row.

    ``str(error)`` shows the first `SHOWN`, one per line, counts the rest and ends with ``advice``, what to do next.
    """

    def __init__(self, problems: str | Iterable[str], advice: str = "") -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        self.advice = advice
        super().__init__(self.problems, advice)  # the arguments by which pickle rebuilds it

    def __str__(self) -> str:
        lines = list(self.problems[:SHOWN])
        if len(self.problems) > SHOWN:
            lines.append(f"... and {len(self.problems) - SHOWN} more")
        if self.advice:
            lines.append(self.advice)
        return "\n".join(lines)


def listed(names: Iterable[str], limit: int = 12) -> str:
    """Names for a message: quoted, separated by commas, the first ``limit`` of them and the number of the others."""
    given = list(names)
    shown = ", ".join(repr(name) for name in given[:limit])
    return shown if len(given) <= limit else f"{shown} and {len(given) - limit} more"


def suggest(given: str, valid: Iterable[str]) -> str:
    """The end of an error message: the valid names nearest to ``given``, or all of them where they are few."""
    names = list(valid)
    close = difflib.get_close_matches(given, names, n=3, cutoff=0.5)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    if len(names) <= 24:
        return f"; valid: {', '.join(names)}"
    return ""


class BackboneError(ValueError):
    """A backbone that does not exist, cannot be built as asked, or whose weights are not at hand."""
