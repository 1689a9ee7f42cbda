"""Errors of study files: `Problems` collects them, `StudyError` reports all of them at once."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping

SHOWN_PROBLEMS = 20
"""Further problems of one study are counted, not listed."""

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 80


class StudyError(Exception):
    """An invalid study. Each of `problems` names the place, the mistake and, where possible, what would be valid.

    Base class of the errors that this package raises.
    """

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
    """Collects the problems of one study, to be raised as one `StudyError`.

    Args:
        label: where the study comes from, such as its file name.
        overridden: the override of each overridden setting, such as
            ``{"recipe.epochs": "--set recipe.epochs=0"}``. A problem in that setting names the override, not the file.
    """

    def __init__(self, label: str, overridden: Mapping[str, str] | None = None) -> None:
        self.label = label
        self._overridden = overridden or {}
        # A dictionary as an ordered set: two checks may find the same mistake.
        self._found: dict[str, None] = {}

    def add(self, table: str, message: str, key: str = "") -> None:
        """Record a problem.

        Args:
            table: the table of the study file; empty for a problem of the whole file.
            message: a sentence that names the setting.
            key: the setting's key in that table, by which an override of it is found.
        """
        place = f"{self.label}, [{table}]" if table else self.label
        self._found[f"{self._overridden.get(f'{table}.{key}', place)}: {message}"] = None

    def __bool__(self) -> bool:
        return bool(self._found)

    def raise_if_any(self) -> None:
        """Raise all problems recorded so far as one error.

        Raises:
            StudyError: at least one problem was recorded.
        """
        if self._found:
            raise StudyError(*self._found)


def shown(value: object) -> str:
    """``repr(value)``, cut to a length and depth that fit into a message."""
    return _repr.repr(value)


def listed(names: Iterable[object]) -> str:
    """Names separated by commas: ``adamw, sgd``."""
    return ", ".join(str(name) for name in names)
