"""Printing for people: one console, one way to print a line, one way to print a table.

Text that comes from outside (paths, names of classes, reasons of failures) is passed as a plain string, which has
no markup. A line that has styles is a `rich.text.Text`.
"""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

GAP = 2  # cells between the columns of a table
INDENT = 4  # cells before text that stands below its row
LEAST_BESIDE = 40  # cells that running text needs in order to stand beside the other columns
LEAST_LINE = 10  # cells for text behind a prefix, however narrow the terminal
SEPARATOR = " · "
"""Between the facts of one line; such a line may be broken there."""

REPLACEMENTS = {"±": "+/-", "…": "...", "·": "-", "─": "-", "━": "-"}
"""What is printed of these characters where the encoding of the output lacks them. Any other becomes ``?``."""
_ERRORS = "retable-replace"
_COMMAND = re.compile(r"`[^`]+`")
_SPACE = "\ue000"  # of the private use area: a space at which no line is broken


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table."""

    name: str
    number: bool = False
    """Aligned to the right."""
    prose: bool = False
    """Broken between words where it is long, and below its row where there is no room beside the other columns. Cells
    of other columns are never broken in a table."""


def open_console() -> Console:
    """The console on standard output, without Rich's colours for numbers and paths."""
    return Console(highlight=False)


def accept_any_encoding() -> None:
    """Let standard output replace what its encoding lacks, instead of failing in the middle of a table."""
    codecs.register_error(_ERRORS, _replace)
    for stream in (sys.stdout, sys.stderr):
        encoding = (getattr(stream, "encoding", None) or "utf-8").lower()
        if not encoding.startswith("utf") and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ERRORS)


def say(console: Console, line: str | Text = "", *, prefix: str | Text = "", whole: bool = False) -> None:
    """Print one line of text, broken between words where it is wider than the console.

    Args:
        line: a string is plain text.
        prefix: stands before the text; continued lines are indented by its width and the line's own indentation.
        whole: the line is not broken, so that a command or path can be copied; a terminal breaks it itself.
    """
    text = Text(line) if isinstance(line, str) else line
    head = Text(prefix) if isinstance(prefix, str) else prefix
    if whole:
        console.print(head + text, soft_wrap=True)
        return
    own = len(text.plain) - len(text.plain.lstrip(" "))
    head, text = head + " " * own, text[own:]
    for i, part in enumerate(wrapped(console, text, console.width - head.cell_len)):
        console.print((head if i == 0 else Text(" " * head.cell_len)) + part, soft_wrap=True)


def note(console: Console, line: str, label: str = "note:", style: str = "yellow") -> None:
    """Print one thing to know or to doubt, behind a coloured label."""
    say(console, line, prefix=Text(f"{label} ", style=style))


def say_facts(console: Console, line: str) -> None:
    """Print facts that are joined by `SEPARATOR`, on as many lines as they need."""
    for part in facts_in(line, console.width):
        say(console, part)


def facts_in(line: str, width: int) -> list[str]:
    """A line of facts, broken at its separators into lines of ``width`` cells at most where that is possible."""
    lines: list[str] = []
    for fact in line.split(SEPARATOR):
        longer = f"{lines[-1]}{SEPARATOR}{fact}" if lines else fact
        if lines and cell_len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(fact)
    return lines


def shortened(line: str, width: int) -> str:
    """As many whole words of a line as ``width`` cells hold, with ``…`` for the rest: no number is cut in two."""
    if cell_len(line) <= width:
        return line
    words = line.split(" ")
    while words and cell_len(" ".join([*words, "…"])) > width:
        words.pop()
    return " ".join([*words, "…"])


def wrapped(console: Console, text: Text, width: int) -> list[Text]:
    """A text broken between words, or inside those that are wider than a line; one line at least. A command between
    backticks stays on one line where it fits.
    """
    width = max(LEAST_LINE, width)
    kept = text.copy()
    kept.plain = _COMMAND.sub(lambda m: m[0].replace(" ", _SPACE) if cell_len(m[0]) < width else m[0], text.plain)
    lines = list(kept.wrap(console, width, overflow="fold")) or [Text()]
    for line in lines:
        line.plain = line.plain.replace(_SPACE, " ")
        line.rstrip()
    return lines


def print_table(
    console: Console,
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    dim: Collection[int] = (),
) -> None:
    """Print a table that keeps every cell whole at any width.

    Running text (`Column.prose`) stands beside the other columns where there is room, else below its row. Where even
    the other columns have no room side by side, each row becomes a block of lines, one a cell.

    Args:
        rows: plain text.
        dim: indices of rows that are printed faintly.
    """
    if title:
        say(console, Text(title, style="bold"))
    fixed = [i for i, column in enumerate(columns) if not column.prose]
    widths = {
        i: max(cell_len(text) for text in (columns[i].name, *(row[i] for row in rows))) for i in range(len(columns))
    }
    needed = sum(widths[i] for i in fixed) + GAP * max(0, len(fixed) - 1)
    beside = _beside(columns, widths, console.width - needed - GAP * bool(fixed))
    if beside is not None:
        _print_grid(console, columns, rows, {**widths, **beside}, range(len(columns)), dim)
    elif needed <= console.width:
        _print_grid(console, columns, rows, widths, fixed, dim)
    else:
        _print_blocks(console, columns, rows, dim)


def _beside(columns: Sequence[Column], widths: dict[int, int], room: int) -> dict[int, int] | None:
    """Widths of the columns of running text, beside the others; None where there is no room for them."""
    prose = [i for i, column in enumerate(columns) if column.prose]
    room -= GAP * max(0, len(prose) - 1)
    if sum(widths[i] for i in prose) <= room:
        return {}
    if not prose or room < LEAST_BESIDE * len(prose):
        return None
    found: dict[int, int] = {}
    for place, i in enumerate(sorted(prose, key=widths.__getitem__)):
        # What a narrow column does not need is left to the wider ones.
        found[i] = min(widths[i], room // (len(prose) - place))
        room -= found[i]
    return found


def _print_grid(
    console: Console,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    widths: dict[int, int],
    shown: Collection[int],
    dim: Collection[int],
) -> None:
    """A header, a rule, and the rows: ``shown`` side by side, the other columns below each row."""
    header = [column.name for column in columns]
    for line in _grid_lines(console, columns, header, widths, shown):
        console.print(Text(line, style="bold"), soft_wrap=True)
    rule = "-" if console.options.ascii_only else "─"
    console.print(Text(rule * (sum(widths[i] for i in shown) + GAP * (len(shown) - 1)), style="dim"), soft_wrap=True)
    for number, row in enumerate(rows):
        style = "dim" if number in dim else ""
        for line in _grid_lines(console, columns, row, widths, shown):
            console.print(Text(line, style=style), soft_wrap=True)
        for i, column in enumerate(columns):
            if i not in shown and row[i]:
                say(console, Text(row[i], style=style), prefix=Text(f"{' ' * INDENT}{column.name}: ", style="dim"))


def _grid_lines(
    console: Console, columns: Sequence[Column], cells: Sequence[str], widths: dict[int, int], shown: Collection[int]
) -> Iterator[str]:
    """The lines of one row: more than one where running text beside the other columns is broken."""
    parts = {
        i: [line.plain for line in wrapped(console, Text(cells[i]), widths[i])] if columns[i].prose else [cells[i]]
        for i in shown
    }
    for k in range(max(map(len, parts.values()))):
        line = []
        for i in shown:
            text = parts[i][k] if k < len(parts[i]) else ""
            space = " " * (widths[i] - cell_len(text))
            line.append(space + text if columns[i].number else text + space)
        yield (" " * GAP).join(line).rstrip()


def _print_blocks(
    console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]], dim: Collection[int]
) -> None:
    """One block of lines a row, one line a cell."""
    label = max(cell_len(column.name) for column in columns) + GAP
    for number, row in enumerate(rows):
        if number:
            say(console)
        for column, text in zip(columns, row, strict=True):
            prefix = Text(column.name + " " * (label - cell_len(column.name)), style="bold")
            value = Text(text.strip(), style="dim" if number in dim else "")
            if max(map(cell_len, text.split()), default=0) > console.width - label:
                # A long name stays in one piece on a line of its own.
                say(console, prefix)
                say(console, value, prefix=" " * GAP)
            elif text:
                say(console, value, prefix=prefix)


def _replace(error: UnicodeError) -> tuple[str, int]:
    """What the encoding lacks, in its words: a handler of codec errors.

    Raises:
        UnicodeError: the error itself where it is none of encoding.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(REPLACEMENTS.get(c, "?") for c in error.object[error.start : error.end]), error.end
