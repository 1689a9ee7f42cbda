"""Terminal output: the console, and functions that print lines, notes and tables.

A plain string is printed without markup, and `safe` replaces control characters, masks passwords and shortens what is
far too long, so text from outside (paths, class names, reasons of failures) can be passed. A line with styles is a
`rich.text.Text`.
"""

from __future__ import annotations

import codecs
import logging
import os
import re
import sys
import traceback
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from search.runtime.commands import complete, insertions
from storage.database.urls import without_passwords
from trainer.common.errors import first_lines
from trainer.inference.printable import EXCERPT, excerpt, printable

LONGEST = 2_000
"""Characters of a printed line or cell, and of an error message that is printed as it is."""
_LONG_WORD = re.compile(r"\S{500,}")  # longer than a path that anyone has typed
MOST_LINES = 24  # of a longer error message
KEPT = "\n\t"  # control characters that stay in printed text
GAP = 2  # cells between the columns of a table
INDENT = 4  # cells before running text that is printed below its row
LEAST_BESIDE = 40  # minimum width, in cells, of a column of running text beside the other columns
LEAST_LINE = 10  # minimum width, in cells, of text behind a prefix, however narrow the terminal
LOG_INTERVAL = 10.0  # seconds between two lines of progress where the output is no terminal
SEPARATOR = " · "
"""Separates the facts of one line; a line may be broken there."""

REPLACEMENTS = {"±": "+/-", "…": "...", "·": "-", "─": "-", "━": "-"}
"""Replacements of characters that the output's encoding lacks. Any other such character becomes ``?``."""
_ERRORS = "retable-replace"  # name of the codec error handler
_COMMAND = re.compile(r"`[^`]+`")
_SPACE = "\ue000"  # from the private use area: a space at which no line is broken


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table."""

    name: str
    number: bool = False
    """Right-aligned."""
    prose: bool = False
    """Running text: wrapped between words, or printed below its row if there is no room beside the other columns. Cells
    of other columns are never wrapped."""


class SafeConsole(Console):
    """A console whose output holds no control characters but those of Rich itself."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(safe(segment.text), segment.style)


class PrintableFormatter(logging.Formatter):
    """Formats log records, with tracebacks, for a terminal or a log file that a terminal may show."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(without_passwords(super().format(record)), keep=KEPT)


def open_console(*, quiet: bool = False) -> Console:
    """The console on standard output, without Rich's colours for numbers and paths.

    Args:
        quiet: print only what is printed inside `loud`: warnings, and the answer of a command.
    """
    return SafeConsole(highlight=False, quiet=quiet)


@contextmanager
def loud(console: Console) -> Iterator[Console]:
    """Let a quiet console of `open_console` print meanwhile."""
    before = console.quiet
    console.quiet = before and not isinstance(console, SafeConsole)
    try:
        yield console
    finally:
        console.quiet = before


def redraws(console: Console) -> bool:
    """Whether the output is a terminal that can redraw a line in place. A file or pipe gets plain lines instead."""
    return console.is_terminal and not console.is_dumb_terminal and not console.quiet


def say_error(message: str) -> None:
    """Print a message, of one line or several, on standard error. A very long one is shortened."""
    if len(message) > LONGEST:
        lines = first_lines(message.split("\n"), MOST_LINES)
        most = max(EXCERPT, LONGEST // len(lines))
        print("\n".join(excerpt(safe(complete(line)), most) for line in lines), file=sys.stderr)
    else:
        print(safe(complete(message)), file=sys.stderr)


def say_traceback() -> None:
    """Print the traceback of the error that is being handled on standard error."""
    print(printable(without_passwords(traceback.format_exc()), keep=KEPT), file=sys.stderr)


def safe(text: str) -> str:
    """Text as it may be printed: with masked passwords, escapes for control characters, and of `LONGEST` at most.

    Control characters could recolour or overwrite the terminal, or forge a line.
    """
    # The first cut bounds the time; the second one removes what it may have left of a password.
    masked = printable(without_passwords(excerpt(text, 2 * LONGEST)), keep=KEPT)
    return excerpt(_LONG_WORD.sub(lambda word: excerpt(word[0]), masked), LONGEST)


def accept_any_encoding() -> None:
    """Let standard output and standard error replace characters that their encoding lacks, instead of raising.

    UTF-8 lacks the surrogates, which stand for bytes of file names that are not UTF-8.
    """
    codecs.register_error(_ERRORS, _replace)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ERRORS)


def ignore_empty_size() -> None:
    """Remove a width or height of 0 from the environment, which some terminals and task runners set to say "unknown".

    Rich would print nothing, and so would Typer's help.
    """
    for name in ("COLUMNS", "LINES"):
        if (size := os.environ.get(name, "").strip()) and not size.strip("0"):
            del os.environ[name]


def say(console: Console, line: str | Text = "", *, prefix: str | Text = "", whole: bool = False) -> None:
    """Print one line of text, wrapped between words if it is wider than the console.

    Args:
        line: a string is plain text, without markup.
        prefix: printed before the text; continuation lines are indented by its width and the line's own indentation.
        whole: do not wrap the line, so that a command or path in it can be copied.
    """
    text, head = safe_text(line), safe_text(prefix)
    for place, options in insertions(text.plain):
        text = text[:place] + options + text[place:]
    if whole:
        console.print(head + text, soft_wrap=True)
        return
    indent = len(text.plain) - len(text.plain.lstrip(" "))
    head, text = head + " " * indent, text[indent:]
    for i, part in enumerate(wrapped(console, text, console.width - head.cell_len)):
        console.print((head if i == 0 else Text(" " * head.cell_len)) + part, soft_wrap=True)


def safe_text(line: str | Text) -> Text:
    """The text as `safe` changes it; it keeps its styles if nothing has changed."""
    plain = line if isinstance(line, str) else line.plain
    changed = safe(plain)
    if isinstance(line, str):
        return Text(changed)
    return line if changed == plain else Text(changed, style=line.style)


def note(console: Console, line: str, label: str = "note:", style: str = "yellow") -> None:
    """Print a note or warning behind a coloured label, on a quiet console as well."""
    with loud(console):
        say(console, line, prefix=Text(f"{label} ", style=style))


def say_facts(console: Console, line: str) -> None:
    """Print facts joined by `SEPARATOR`, wrapped between facts."""
    for part in facts_in(line, console.width):
        say(console, part)


def facts_in(line: str, width: int) -> list[str]:
    """Wrap a line of facts at its separators. A single fact may be wider than ``width`` cells."""
    lines: list[str] = []
    for fact in line.split(SEPARATOR):
        longer = f"{lines[-1]}{SEPARATOR}{fact}" if lines else fact
        if lines and cell_len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(fact)
    return lines


def shortened(line: str, width: int) -> str:
    """As many whole words of a line as fit into ``width`` cells, followed by ``…`` if some are left out."""
    if cell_len(line) <= width:
        return line
    words = line.split(" ")
    while words and cell_len(" ".join([*words, "…"])) > width:
        words.pop()
    return " ".join([*words, "…"])


def encodable(console: Console, text: str) -> str:
    """The text as the console will show it: `safe`, with `REPLACEMENTS` for characters that its encoding lacks."""
    shown = safe(text)
    try:
        shown.encode(console.encoding)
    except UnicodeError:
        return "".join(c if _has(console.encoding, c) else REPLACEMENTS.get(c, "?") for c in shown)
    return shown


def _has(encoding: str, character: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeError:
        return False
    return True


def clipped(console: Console, line: str, width: int, *, end: bool = False) -> str:
    """A line of ``width`` cells at most. ``…`` stands for what is cut off.

    Args:
        end: keep the end of the line, not its beginning.
    """
    if cell_len(line) <= width:
        return line
    mark = encodable(console, "…")
    room = max(0, width - cell_len(mark))
    kept = set_cell_size(line[::-1] if end else line, room)
    return set_cell_size(mark + kept[::-1] if end else kept + mark, width).rstrip()


def wrapped(console: Console, text: Text, width: int) -> list[Text]:
    """Wrap a text between words, or inside a word that is wider than a line.

    A command in backticks stays on one line if it fits.

    Returns:
        One line at least.
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
    """Print a table without truncating any cell, at any console width.

    Running text (`Column.prose`) is printed beside the other columns if there is room, else below its row. If the other
    columns alone are too wide, each row becomes a block of lines, one per cell.

    Args:
        rows: plain text, one cell per column.
        dim: indices of rows to print dimmed.
    """
    rows = [[safe(cell) for cell in row] for row in rows]
    if title:
        say(console, Text(safe(title), style="bold"))
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
    """Widths of the columns of running text that differ from ``widths``, by column; None: they need lines of their own.

    Args:
        room: cells that the other columns leave.
    """
    prose = [i for i, column in enumerate(columns) if column.prose]
    room -= GAP * max(0, len(prose) - 1)
    if sum(widths[i] for i in prose) <= room:
        return {}
    if not prose or room < LEAST_BESIDE * len(prose):
        return None
    narrowed: dict[int, int] = {}
    for place, i in enumerate(sorted(prose, key=widths.__getitem__)):
        # From narrow to wide: the wider columns share what a narrow one does not need.
        narrowed[i] = min(widths[i], room // (len(prose) - place))
        room -= narrowed[i]
    return narrowed


def _print_grid(
    console: Console,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    widths: dict[int, int],
    shown: Collection[int],
    dim: Collection[int],
) -> None:
    """Print a header, a rule and the rows: columns ``shown`` side by side, the others below each row."""
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
    """The lines of one row; several if running text is wrapped."""
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
    """Print each row as a block of lines, one line per cell."""
    label = max(cell_len(column.name) for column in columns) + GAP
    for number, row in enumerate(rows):
        if number:
            say(console)
        for column, text in zip(columns, row, strict=True):
            prefix = Text(column.name + " " * (label - cell_len(column.name)), style="bold")
            value = Text(text.strip(), style="dim" if number in dim else "")
            if max(map(cell_len, text.split()), default=0) > console.width - label:
                # A word that does not fit behind the label stays whole on a line of its own.
                say(console, prefix)
                say(console, value, prefix=" " * GAP)
            elif text:
                say(console, value, prefix=prefix)


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Codec error handler: the replacement text, and the position to continue at.

    Raises:
        UnicodeError: ``error`` itself, unless it is an encoding error.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(REPLACEMENTS.get(c, "?") for c in error.object[error.start : error.end]), error.end
