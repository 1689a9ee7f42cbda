"""Tests of the terminal output: control characters and encodings."""

from __future__ import annotations

import io
import logging
import subprocess
import sys

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from search.runtime.console import (
    Column,
    PrintableFormatter,
    ignore_empty_size,
    note,
    open_console,
    print_table,
    say,
    say_error,
)

HOSTILE = "cat\x1b]0;title\x07\x1b[2J\x9b31m\x7f\u202egod\udc83\r\x00"


def controls(text: str) -> set[str]:
    """The control characters of a text but newline."""
    return {c for c in text if c != "\n" and (ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or "\ud800" <= c <= "\udfff")}


def test_no_control_character_reaches_a_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", stream := io.StringIO())
    console = open_console()
    say(console, HOSTILE)
    say(console, Text(HOSTILE, style="bold"), prefix=HOSTILE)
    say(console, HOSTILE, whole=True)
    note(console, HOSTILE)
    print_table(console, HOSTILE, [Column(name="a"), Column(name="b", prose=True)], [[HOSTILE, HOSTILE]])
    console.print(HOSTILE, markup=False)
    table = Table(HOSTILE)
    table.add_row(Text(HOSTILE))
    console.print(table)
    assert controls(stream.getvalue()) == set()
    assert "cat" in stream.getvalue()


def test_plain_consoles_are_safe_for_lines_and_tables() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=200)
    say(console, HOSTILE)
    print_table(console, HOSTILE, [Column(name="a")], [[HOSTILE]])
    assert controls(stream.getvalue()) == set()
    assert "cat\\x1b]0;title" in stream.getvalue()


def test_styles_still_reach_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stdout", stream := io.StringIO())
    say(open_console(), Text("\x1b[2Jx", style="bold"))
    assert stream.getvalue() == "\x1b[1m\\x1b[2Jx\x1b[0m\n"


def test_errors_and_logs_are_printable(capsys: pytest.CaptureFixture[str]) -> None:
    say_error(f"error: {HOSTILE}\nnext line")
    assert controls(capsys.readouterr().err) == set()
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        record = logging.LogRecord("x", logging.INFO, "x.py", 1, "%s", (HOSTILE,), sys.exc_info())
    text = PrintableFormatter("%(message)s").format(record)
    assert controls(text) == set()
    assert "ValueError: cat" in text


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "cp932", "euc_jp", "latin-1"])
def test_surrogates_print_in_any_encoding(encoding: str) -> None:
    code = (
        "from search.runtime.console import *\naccept_any_encoding()\nprint('a\\udc83\\u00b1\\u2026')\n"
        "say(open_console(), 'b\\udc83\\u00b1')\nsay_error('c\\udc83\\u00b1')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env={"PYTHONIOENCODING": encoding}
    )
    out = done.stdout.decode(encoding)
    assert out[0] == "a" and "b" in out
    assert done.stderr.decode(encoding)[0] == "c"


@pytest.mark.parametrize("size", ["0", "00"])
def test_a_size_of_zero_is_no_size(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], size: str
) -> None:
    for name in ("COLUMNS", "LINES"):
        monkeypatch.setenv(name, size)
    ignore_empty_size()
    assert open_console().width > 0
    say(open_console(), "text")
    assert capsys.readouterr().out == "text\n"


def test_text_that_is_far_too_long_is_shortened(capsys: pytest.CaptureFixture[str]) -> None:
    flood = "beginning " + "x" * 100_000 + " end"
    console = open_console()
    say(console, flood)
    say(console, flood, whole=True)
    note(console, flood)
    print_table(console, flood, [Column(name="a"), Column(name="b", prose=True)], [[flood, flood]])
    say_error(flood)
    say_error("\n".join(f"{number}: {flood}" for number in range(1000)))
    captured = capsys.readouterr()
    assert len(captured.out) < 6 * 3_000  # the wrapped lines are indented
    assert len(captured.err) < 10_000
    assert captured.out.count("beginning") == 6 and "... and 976 more" in captured.err


def test_a_long_message_of_usual_size_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    message = "\n".join(f"row {number}: {'x' * 70}" for number in range(22))
    say_error(message)
    assert capsys.readouterr().err == f"{message}\n"
