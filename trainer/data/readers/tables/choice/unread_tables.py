"""The tables that are not read, each with the reason."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

_NAMED = 3
"""Tables that are left out for one reason up to which each has a sentence of its own."""


@dataclass(frozen=True, kw_only=True, eq=False)
class UnreadTables:
    """The tables of a data folder that the search for labels does not read.

    A later step may read one of them for another purpose, as a list of the test images.
    """

    folder: Path
    """The data folder."""
    _left_out: dict[str, list[Path]] = field(default_factory=dict, init=False)
    """By the reason."""
    _warnings: list[tuple[Path, str]] = field(default_factory=list, init=False)
    """Tables that may matter, each with the reason."""
    _validation: list[Path] = field(default_factory=list, init=False)
    _read: set[Path] = field(default_factory=set, init=False)
    _explained: set[Path] = field(default_factory=set, init=False)

    def leave_out(self, path: Path, why: str) -> None:
        """Note that a table is not read. ``why`` ends the sentence."""
        self._left_out.setdefault(why, []).append(path)

    def leave_out_validation(self, path: Path) -> None:
        """Warn that a table is not read, because it lists validation images by its name."""
        self._validation.append(path)

    def warn(self, path: Path, why: str) -> None:
        """Warn that a table is not read. ``why`` ends the sentence."""
        self._warnings.append((path, why))

    def take_back(self, paths: Collection[Path]) -> None:
        """Forget that tables were left out: they are read for another purpose."""
        self._read.update(paths)

    def explain(self, paths: Collection[Path]) -> None:
        """Forget why tables were left out: other sentences name them. What they say about labels stays."""
        self._explained.update(paths)

    def notes(self) -> list[str]:
        """A sentence for each table that was left out; one for all of many that were left out for one reason."""
        notes = []
        for why, paths in self._left_out.items():
            places = [self._place_of(path) for path in paths if path not in self._read | self._explained]
            if len(places) <= _NAMED:
                notes += [f"not read: {place}{why}" for place in places]
            else:
                each = re.sub(r"^, (which |)", lambda found: ", each of which " if found[1] else ", each ", why)
                notes.append(f"not read: {len(places)} tables{each}, such as {places[0]}")
        return notes

    def warnings(self) -> list[str]:
        """A sentence for each table of which a warning says that it is not read."""
        held_out = ", validation images (folds are cut from the others)"
        found = [(path, held_out) for path in self._validation if path not in self._explained] + self._warnings
        return [f"not read: {self._place_of(path)}{why}" for path, why in found if path not in self._read]

    def _place_of(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()
