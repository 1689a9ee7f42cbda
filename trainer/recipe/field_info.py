"""`FieldInfo`: the declaration of one flat field of a recipe, and the check of its values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from trainer.common.errors import TrainerError, suggest

Scalar = str | int | float | bool
"""A value of a flat recipe: TOML, JSON and Optuna all represent these types exactly."""


RENAMED_VALUES = {("init", "imagenet"): "pretrained"}
"""New value by field and old value: stored recipes, stored studies and study files may hold the old one."""


class RecipeError(TrainerError):
    """An unknown field, or an invalid value of a field. The message names both, and what would be valid."""


@dataclass(frozen=True, kw_only=True)
class FieldInfo:
    """The declaration of one flat field. ``type`` is ``str``, ``bool``, ``int`` or ``float``; ranges are closed."""

    path: str
    type: type
    default: Scalar
    doc: str
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    pattern: str = ""
    """Regular expression that the whole name has to match, of fields without choices."""

    def check(self, value: object) -> Scalar:
        """Check ``value`` and return it as this field's type: an ``int`` field takes 2.0 as 2.

        Values of `RENAMED_VALUES` become the new ones.

        Raises:
            RecipeError: wrong type, not finite, out of range, or not among the choices.
        """
        if self.type is str:
            if not isinstance(value, str) or not value:
                raise RecipeError(f"{self.path} takes a name, not {value!r}")
            value = RENAMED_VALUES.get((self.path, value), value)
            if self.choices and value not in self.choices:
                raise RecipeError(f"{self.path} cannot be {value!r}{suggest(value, self.choices)}")
            if self.pattern and not re.fullmatch(self.pattern, value):
                raise RecipeError(
                    f"{self.path} cannot be {value!r}: a name of letters, digits, dots and dashes, no path"
                )
            return value
        if self.type is bool:
            if not isinstance(value, bool):
                raise RecipeError(f"{self.path} is true or false, not {value!r}")
            return value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not -math.inf < value < math.inf:
            raise RecipeError(f"{self.path} takes a number, not {value!r}")
        if self.type is int and value != int(value):
            raise RecipeError(f"{self.path} takes a whole number, not {value!r}")
        if not self.low <= value <= self.high:
            raise RecipeError(f"{self.path} = {value!r} is outside {interval(self.low, self.high)}")
        return int(value) if self.type is int else float(value)


def interval(low: float, high: float) -> str:
    """The range of a field, as the end of a sentence."""
    if high == math.inf:
        return f"its range (at least {low:g})"
    return f"its range {low:g} .. {high:g}"


def setting(
    default: Scalar,
    doc: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    choices: Iterable[str] = (),
    pattern: str = "",
) -> Any:
    """A dataclass field that declares a flat field, as `FieldInfo` describes it."""
    metadata = {"doc": doc, "low": low, "high": high, "choices": tuple(choices), "pattern": pattern}
    return field(default=default, metadata=metadata)
