"""Numbers as a row of characters of different heights, for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
"""Characters from the lowest to the highest value."""
ASCII = "_.:-=+*#"
"""The same where the output cannot show `BLOCKS`."""


def sparkline(values: Sequence[float], cells: int, bounds: tuple[float, float], levels: str = BLOCKS) -> str:
    """Draw values from left to right, one character each.

    Args:
        values: numbers that are not finite become a blank.
        cells: maximum number of characters; of more values, the last of each equal part is drawn.
        bounds: the values of the lowest and the highest character, see `bounds_of`.
        levels: characters from the lowest to the highest value.
    """
    count = min(cells, len(values))
    shown = [values[math.ceil((i + 1) * len(values) / count) - 1] for i in range(count)]
    return "".join(_level(value, bounds, levels) for value in shown)


def bounds_of(*curves: Sequence[float]) -> tuple[float, float]:
    """The lowest and the highest finite value of all curves; ``(0.0, 0.0)`` without any."""
    finite = [value for curve in curves for value in curve if math.isfinite(value)]
    return (min(finite), max(finite)) if finite else (0.0, 0.0)


def best_so_far(values: Sequence[float]) -> list[float]:
    """The highest of the values up to each one."""
    best, found = -math.inf, []
    for value in values:
        best = max(best, value)
        found.append(best)
    return found


def _level(value: float, bounds: tuple[float, float], levels: str) -> str:
    if not math.isfinite(value):
        return " "
    low, high = bounds
    span = high / 2.0 - low / 2.0  # no overflow
    share = (value / 2.0 - low / 2.0) / span if span > 0.0 else 0.5
    return levels[min(len(levels) - 1, max(0, int(share * len(levels))))]
