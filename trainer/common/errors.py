"""Base class of the trainer's errors, the errors of more than one module, and helpers for their messages."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence

SHOWN = 20  # problems in a message; the others are counted
SHOWN_ALIKE = 5  # of those that differ only in names and numbers
_NAMES = re.compile(r"'[^']*'|\S*[\d/]\S*")


class TrainerError(Exception):
    """Base class of the errors that this package raises, but for those of `trainer.inference`."""


class DataError(TrainerError):
    """An invalid data set. `problems` holds all findings, each a sentence that names file and row.

    ``str(error)`` lists the first `SHOWN`, one per line, of problems that are alike the first `SHOWN_ALIKE`. It counts
    the rest and ends with ``advice``, the next step for the user.
    """

    def __init__(self, problems: str | Iterable[str], advice: str = "") -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        self.advice = advice
        super().__init__(self.problems, advice)  # the arguments by which pickle rebuilds it

    def __str__(self) -> str:
        alike: Counter[str] = Counter()
        lines: list[str] = []
        for problem in self.problems:
            kind = _NAMES.sub("*", problem)
            alike[kind] += 1
            if alike[kind] <= SHOWN_ALIKE and len(lines) < SHOWN:
                lines.append(problem)
        if len(self.problems) > len(lines):
            lines.append(f"... and {len(self.problems) - len(lines)} more")
        if self.advice:
            lines.append(self.advice)
        return "\n".join(lines)


def counted(number: int, thing: str) -> str:
    """``1 image``, ``3 images``, ``2 classes``."""
    plural = f"{thing}es" if thing.endswith("s") else f"{thing}s"
    return f"{number} {thing if number == 1 else plural}"


def rows_named(table: str, numbers: Sequence[str], most: int = 3, *, unit: str = "row") -> str:
    """Rows of a table for a message: ``train.csv rows 2 and 8``, ``train.csv rows 2, 3, 4 and 9 more``."""
    shown = list(numbers)
    if len(shown) > most:
        shown = [", ".join(shown[:most]), f"{len(shown) - most} more"]
    return f"{table} {unit}s {' and '.join(shown)}"


def listed(names: Iterable[str], limit: int = 12) -> str:
    """Names for a message: the first ``limit``, quoted and separated by commas, and the number of the others."""
    given = list(names)
    shown = ", ".join(repr(name) for name in given[:limit])
    return shown if len(given) <= limit else f"{shown} and {len(given) - limit} more"


def first_lines(lines: Sequence[str], limit: int = 10) -> list[str]:
    """The first ``limit`` lines, and a line that counts the others."""
    rest = len(lines) - limit
    return [*lines[:limit], *([f"... and {rest} more"] if rest > 0 else [])]


def suggest(given: str, valid: Iterable[str]) -> str:
    """The end of an error message: the valid names nearest to ``given``, or up to 24 valid names, or nothing.

    Names with dots are near if their last parts are equal, as ``recipe.optimizer.lr`` is to ``recipe.lr``.
    """
    names = list(valid)
    table, _, last = given.rpartition(".")
    alike = [name for name in names if name.endswith(f".{last}")] if last else []
    close = [name for name in alike if name.startswith(table.partition(".")[0])][:3]
    close = close or difflib.get_close_matches(given, names, n=3, cutoff=0.5)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    if len(names) <= 24:
        return f"; valid: {', '.join(names)}"
    return ""


class BackboneError(TrainerError):
    """A backbone that does not exist, that cannot be built as asked, or whose weights are missing."""


class LoaderError(TrainerError):
    """A worker process that prepares batches died. The next stream of batches starts new ones."""
