"""Choosing images by several reasons, each image once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from trainer.common.arrays import Float64Array
from trainer.evaluation.examples.example import Reason

OF_CLASS = 3
"""Errors of a class that the last reason adds images up to."""


@dataclass
class Choice:
    """Images chosen so far, and what each was chosen for.

    Args:
        most: largest number of images.
    """

    most: int
    chosen: dict[int, Reason] = field(default_factory=dict)

    def add(self, reason: Reason, rows: Iterable[int], number: int) -> None:
        """Choose the first ``number`` of ``rows`` that are not chosen yet."""
        fresh = [row for row in rows if row not in self.chosen]
        self.chosen.update((row, reason) for row in fresh[: min(number, self.most - len(self.chosen))])

    def add_errors_of_weak_classes(self, errors: Mapping[int, Sequence[int]], weakest: Iterable[int]) -> None:
        """Choose errors of the class with the lowest F1, one for each class in turn, until each has `OF_CLASS`.

        Args:
            errors: by class, the images that are errors of it, the clearest first.
            weakest: the classes, see `weakest_first`.
        """
        order = list(weakest)
        for wanted in range(1, OF_CLASS + 1):
            for label in order:
                self.add(Reason.WEAK_CLASS, self._lacking(errors.get(label, ()), wanted), 1)

    def _lacking(self, rows: Sequence[int], wanted: int) -> Iterator[int]:
        """The first of ``rows`` that is not chosen; nothing if ``wanted`` of them are."""
        if sum(row in self.chosen for row in rows) < wanted:
            yield from islice((row for row in rows if row not in self.chosen), 1)


def weakest_first(f1: Sequence[float | None]) -> list[int]:
    """The classes by their F1, the lowest first; one that neither occurs nor was predicted counts as perfect."""
    return sorted(range(len(f1)), key=lambda label: (1.0 if (own := f1[label]) is None else own, label))


def by_falling(values: Float64Array, rows: Sequence[int] | NDArray[np.int64]) -> list[int]:
    """``rows`` by falling value, then rising."""
    return sorted((int(row) for row in rows), key=lambda row: (-values[row], row))
