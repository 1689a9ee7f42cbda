"""Axes: from values to places in the view box, and round numbers beside them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_ENDS = (1e-300, 1e300)  # of a logarithmic axis
_LEAST_SPAN = 1e-9  # relative to the larger end: float64 cannot divide a smaller range into ticks


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A linear or logarithmic axis.

    Raises:
        ValueError: the ends are not finite, not in ascending order, or not above 0 on a logarithmic axis.
    """

    low: float
    high: float
    start: float
    """Place of ``low`` in the view box. It may be larger than ``stop``, as on a vertical axis."""
    stop: float
    """Place of ``high``."""
    log: bool = False
    whole: bool = False
    """Whether only whole numbers are ticks."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"an axis from {self.low} to {self.high}")
        if self.log and self.low <= 0.0:
            raise ValueError(f"a logarithmic axis from {self.low}")

    def __call__(self, value: float) -> float:
        """The place of a value. Values outside the axis, and NaN, are at its ends."""
        share = self._share(value)
        return self.start + share * (self.stop - self.start)

    def holds(self, value: float) -> bool:
        """Whether a value lies on the axis."""
        return self.low <= value <= self.high

    def _share(self, value: float) -> float:
        if not value > self.low:  # NaN as well
            return 0.0
        if value >= self.high:
            return 1.0
        if self.log:
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0)  # no overflow

    def ticks(self, most: int = 5) -> list[tuple[float, str]]:
        """At most about ``most`` round values on the axis, each with its text."""
        if self.log and self.high / self.low >= 10.0:
            powers = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            every = max(1, math.ceil(len(powers) / most))
            return [(10.0**power, f"{10.0**power:g}") for power in powers][::every]
        rough = (self.high - self.low) / most
        if not (math.isfinite(rough) and rough > 0.0):
            return []
        magnitude = 10.0 ** math.floor(math.log10(rough))
        steps = (s * magnitude for s in _STEPS if not self.whole or (s * magnitude).is_integer())
        step = next((s for s in steps if s >= rough), max(10.0 * magnitude, float(self.whole)))
        if not step:
            return []
        decimals = max(0, -math.floor(math.log10(step)) + (step / magnitude == 2.5))
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        found = [i * step for i in range(first, min(last, first + 2 * most) + 1)]
        small = step >= 1e-3 and max(abs(self.low), abs(self.high)) < 1e6
        return [(value, f"{value:.{decimals}f}" if small else f"{value:.4g}") for value in found if self.holds(value)]


def spanning(values: Iterable[float], start: float, stop: float, *, log: bool = False, margin: float = 0.05) -> Scale:
    """The axis that holds all finite values, those above 0 if it is logarithmic, with a margin at both ends.

    Args:
        margin: share of the range.
    """
    known = [value for value in values if math.isfinite(value) and (value > _ENDS[0] or not log)]
    low, high = min(known, default=1.0 if log else 0.0), max(known, default=1.0)
    if log:
        room = math.exp(max(margin * (math.log(high) - math.log(low)), 0.05))
        return Scale(low=max(low / room, _ENDS[0]), high=min(high * room, _ENDS[1]), start=start, stop=stop, log=True)
    room = margin * (high / 2.0 - low / 2.0) * 2.0
    if high - low <= _LEAST_SPAN * max(abs(low), abs(high), 1e-6):
        room = max(abs(low), abs(high)) * 0.05 or 0.5
    return Scale(low=low - room, high=high + room, start=start, stop=stop)
