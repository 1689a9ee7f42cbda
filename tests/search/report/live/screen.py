"""A terminal that shows what a console writes: enough of its control sequences for Rich's live display."""

from __future__ import annotations

import io
import re

from rich.cells import cell_len
from rich.console import Console

SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


class Screen(io.StringIO):
    """Rows of text under a cursor. Rows that are too wide are wrapped, and wrapped again after a change of the width.

    ``encoding`` is that of the output, as a terminal's locale sets it.
    """

    encoding = "utf-8"

    def __init__(self, width: int, height: int = 40, encoding: str = "utf-8") -> None:
        super().__init__()
        self.width, self.height = width, height
        self.encoding = encoding  # type: ignore[misc]  # read-only in io.StringIO
        self.rows = [""]
        self.cursor = 0
        self.widest = 0
        self.writes = 0

    def isatty(self) -> bool:
        return True

    def console(self) -> Console:
        return Console(file=self, width=self.width, height=self.height, force_terminal=True, highlight=False)

    def resize(self, console: Console, width: int) -> None:
        """Change the width as terminals do that keep all text: rows that are now too wide continue below."""
        before, self.width = self.rows[: self.cursor + 1], width
        self.rows = [row[i : i + width] for row in before for i in range(0, max(1, len(row)), width)]
        self.cursor = len(self.rows) - 1
        console.size = (width, self.height)  # type: ignore[assignment]  # Rich turns it into its own type

    def write(self, text: str) -> int:
        text.encode(self.encoding)  # raises for characters that the output cannot hold
        self.writes += 1
        place = 0
        for found in SEQUENCE.finditer(text):
            self._print(text[place : found.start()])
            self._control(found[1], found[2])
            place = found.end()
        self._print(text[place:])
        return len(text)

    def _control(self, argument: str, command: str) -> None:
        if command == "A":
            self.cursor = max(0, self.cursor - int(argument or 1))
        elif command == "K":
            assert argument == "2"
            self.rows[self.cursor] = ""
        else:
            assert command in "mhl", f"unknown sequence {argument}{command}"

    def _print(self, text: str) -> None:
        for i, line in enumerate(text.split("\n")):
            if i:
                self.cursor += 1
                if self.cursor == len(self.rows):
                    self.rows.append("")
            plain = line.rpartition("\r")[2]
            if "\r" in line and plain:
                self.rows[self.cursor] = ""
            self.rows[self.cursor] += plain
            self.widest = max(self.widest, cell_len(self.rows[self.cursor]))

    @property
    def text(self) -> str:
        return "\n".join(row.rstrip() for row in self.rows).rstrip()
