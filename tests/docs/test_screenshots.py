"""The pictures of the pages: what a terminal showed, replayed and drawn; size and use of those in the repository."""

from __future__ import annotations

import io
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from rich.live import Live

from docs.site.browser import MOST_BYTES, compress
from docs.site.terminal import WIDTH, draw, plain, record, screens

ROOT = Path(__file__).parents[2]
PICTURES = sorted((ROOT / "docs" / "images").iterdir())


def written_by_rich() -> str:
    """What Rich writes to a terminal for two printed lines above a display of one to three lines."""
    file = io.StringIO(newline="")
    console = Console(file=file, force_terminal=True, width=40, color_system="standard", legacy_windows=False)
    with Live("1/2 done", console=console, auto_refresh=False) as live:
        console.print("[green]first[/green]")
        live.update("2/2 done\nbest: 0.9\nlast", refresh=True)
        console.print("second")
        live.update("over", refresh=True)
    console.print("end")
    return file.getvalue().replace("\n", "\r\n")  # as a terminal translates it


def test_the_last_screen_is_what_a_terminal_shows_at_the_end() -> None:
    assert plain(screens(written_by_rich())[-1]) == ["first", "second", "over", "end"]


def test_earlier_screens_hold_the_display_of_their_time() -> None:
    shown = [plain(screen) for screen in screens(written_by_rich())]
    assert ["first", "1/2 done"] in shown
    assert ["first", "second", "2/2 done", "best: 0.9", "last"] in shown


def test_a_line_that_is_written_over_is_replaced() -> None:
    assert plain(screens("10 %\r20 %\r\nend\r\n")[-1]) == ["20 %", "end"]


def test_a_drawn_screen_is_valid_and_loads_nothing(tmp_path: Path) -> None:
    draw(["\x1b[32mfinished\x1b[0m <0.99> & more", ""], "title", tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    words = "".join(ET.fromstring(text).itertext()).replace("\xa0", " ")
    assert "finished" in words and "<0.99> & more" in words
    assert "font-face" not in text and "url(http" not in text


@pytest.mark.slow
def test_a_command_is_recorded_in_a_terminal(tmp_path: Path) -> None:
    code = "import os, sys; print(sys.stdout.isatty(), os.get_terminal_size().columns)"
    assert record([sys.executable, "-c", code], tmp_path, {}) == f"True {WIDTH}\r\n"


@pytest.mark.parametrize("noise", [0, 255])
def test_a_picture_is_made_small(noise: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, noise + 1, (500, 500, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    compress(tmp_path / "a.png", tmp_path / "a.webp", width=400)
    with Image.open(tmp_path / "a.webp") as made:
        assert made.size == (400, 400)
    assert (tmp_path / "a.webp").stat().st_size <= MOST_BYTES


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_a_picture_of_the_repository_is_small_and_used(picture: Path) -> None:
    assert picture.stat().st_size <= MOST_BYTES
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert any(f"images/{picture.name})" in page.read_text(encoding="utf-8") for page in pages)


def test_the_readme_shows_three_pictures() -> None:
    assert len(re.findall(r"!\[[^\]]+\]\(docs/images/", (ROOT / "README.md").read_text(encoding="utf-8"))) == 3
