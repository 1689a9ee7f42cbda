"""What can be wrong with a study, told all at once."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping

SHOWN_PROBLEMS = 20
"""Further problems of one study are counted, not listed."""

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 80


class StudyError(ValueError):
    """A study that cannot be run as written. Each of `problems` says where, what, and what would be valid."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__(*problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return self.problems[0]
        shown = [f"  - {problem}" for problem in self.problems[:SHOWN_PROBLEMS]]
        if len(self.problems) > SHOWN_PROBLEMS:
            shown.append(f"  and {len(self.problems) - SHOWN_PROBLEMS} more")
        return "\n".join([f"{len(self.problems)} problems", *shown])


class Problems:
    """Collects what is wrong with one study and raises it together.

    Args:
        label: where the study comes from, such as its file name.
        overridden: for every setting changed from outside (``"recipe.epochs"``), the words that changed it: a problem
            there is reported against those words instead of the file.
    """

    def __init__(self, label: str, overridden: Mapping[str, str] | None = None) -> None:
        self.label = label
        self._overridden = overridden or {}
        # A dictionary as an ordered set: one mistake may be met on two ways.
        self._found: dict[str, None] = {}

    def add(self, table: str, message: str, key: str = "") -> None:
        """Record a problem in ``[table]``; ``message`` names the key, ``key`` finds out whether it was overridden."""
        place = f"{self.label}, [{table}]" if table else self.label
        self._found[f"{self._overridden.get(f'{table}.{key}', place)}: {message}"] = None

    def __bool__(self) -> bool:
        return bool(self._found)

    def raise_if_any(self) -> None:
        """Raise everything found so far.

        Raises:
            StudyError: something was found.
        """
        if self._found:
            raise StudyError(*self._found)


def shown(value: object) -> str:
    """``repr`` cut to a length and depth that fit a message, whatever a file holds."""
    return _repr.repr(value)


def listed(names: Iterable[object]) -> str:
    """Names as they stand in a sentence: ``adamw, sgd``."""
    return ", ".join(str(name) for name in names)
