"""Record a command in a terminal, replay what it wrote, and draw a screen as SVG."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

WIDTH = 100
"""Columns of the terminal."""
LINES = 36
"""Lines of a picture at most: the last ones of the screen."""
_PART = re.compile(r"\r\n|\n|\r|\x1b\[\d*A|\x1b\[2K|\x1b\[\?\d+[hl]|(?:\x1b\[[\d;]*m|[^\r\n\x1b])+")
# Rich's template loads its font from the network. Other monospaced fonts fit as well, because each text has a length.
SVG_FORMAT = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "font-family: Fira Code, monospace", "font-family: Fira Code, DejaVu Sans Mono, Menlo, Consolas, monospace"
)


def record(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    """Run a command in a terminal of `WIDTH` columns, and return everything that it wrote.

    Raises:
        CalledProcessError: the command failed.
    """
    terminal, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, WIDTH, 0, 0))
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=inner, stdout=inner, stderr=inner)
    os.close(inner)
    written = bytearray()
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # Linux's answer once the command has ended
            break
        if not chunk:
            break
        written += chunk
    os.close(terminal)
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, command, output=written.decode())
    return written.decode()


def screens(written: str) -> list[list[str]]:
    """The screens that the output showed one after another, each as lines with their styles; the last one is the end.

    A screen is kept before something of it is erased. Knows the control sequences that Rich writes, no others.
    """
    lines, row, overwrite, changed = [""], 0, False, False
    shown: list[list[str]] = []
    for part in _PART.findall(written):
        if part in ("\r\n", "\n"):
            row, overwrite = row + 1, False
            lines += [""] * (row == len(lines))
        elif part == "\r":
            overwrite = True
        elif part.endswith("A") and part.startswith("\x1b["):
            row = max(0, row - int(part[2:-1] or 1))
        elif part == "\x1b[2K":
            if changed:
                shown.append(list(lines))
                changed = False
            lines[row] = ""
            if row == len(lines) - 2 and not lines[-1]:
                lines.pop()  # the last line, erased before: the output has become shorter
        elif not part.startswith("\x1b[?"):
            lines[row] = part if overwrite else lines[row] + part
            overwrite, changed = False, True
    return [*shown, lines]


def plain(lines: Sequence[str]) -> list[str]:
    """The lines without styles and blanks at their ends, and without empty lines at the end."""
    texts = [Text.from_ansi(line).plain.rstrip() for line in lines]
    while texts and not texts[-1]:
        texts.pop()
    return texts


def draw(lines: Sequence[str], title: str, path: Path) -> None:
    """Draw the last `LINES` lines as an SVG that loads nothing."""
    kept = list(lines[: len(plain(lines))])[-LINES:]
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, legacy_windows=False)
    for line in kept:
        console.print(Text.from_ansi(line), soft_wrap=True)
    svg = console.export_svg(title=title, theme=MONOKAI, code_format=SVG_FORMAT, unique_id=path.stem)
    path.write_text(re.sub(r"[ \t]+\n", "\n", svg), encoding="utf-8")
