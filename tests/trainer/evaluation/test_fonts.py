"""Names in any script can be read in pictures if a font is installed, and never end in a warning of matplotlib."""

from __future__ import annotations

import dataclasses
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from search.report.finalists.forest_plot import Mark, draw_forest
from search.report.preview.picture import PictureRow, draw
from trainer.evaluation import fonts
from trainer.evaluation.confusion.confusion_matrix import confusion_matrix_png
from trainer.evaluation.fonts import SHOWN, fonts_for

MUSHROOMS = ("しめじ", "エリンギ", "松茸")


@contextmanager
def no_warnings() -> Iterator[None]:
    """Fail if the block warns. Garbage of other tests, which may be collected meanwhile, is none of its concern."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        yield
    assert [str(one.message) for one in seen if not issubclass(one.category, ResourceWarning)] == []


@pytest.fixture(autouse=True)
def fresh_list() -> Iterator[None]:
    """Forget advice and fonts after each test."""
    fonts._advised.clear()
    before = list(font_manager.fontManager.ttflist)
    yield
    font_manager.fontManager.ttflist[:] = before


def build_font(path: Path, family: str, characters: str) -> None:
    """Write a font that draws a full square for each character."""
    pen = TTGlyphPen(None)
    for corner, point in enumerate([(50, 0), (50, 700), (450, 700), (450, 0)]):
        (pen.lineTo if corner else pen.moveTo)(point)
    pen.closePath()
    names = [".notdef", *(f"uni{ord(c):04X}" for c in characters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(c): f"uni{ord(c):04X}" for c in characters})
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (500, 50)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular", "psName": family.replace(" ", "")})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.save(path)


def only_fonts(monkeypatch: pytest.MonkeyPatch, *paths: Path) -> None:
    """Let these be the fonts of the system, beside matplotlib's own."""
    own = [entry for entry in font_manager.fontManager.ttflist if "mpl-data" in str(entry.fname)]
    font_manager.fontManager.ttflist[:] = own
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda *args, **kwargs: [str(path) for path in paths])


def draw_all(folder: Path, names: tuple[str, ...]) -> bool:
    """Draw every kind of picture; return whether the confusion matrix has numbers in place of names."""
    y = np.arange(3)
    numbered = confusion_matrix_png(folder / "matrix.png", y, y, names)
    mark = Mark(
        label=names[0], estimate=0.5, error=0.1, averaged=0.5, searched=None, tied=True, default=False, note="50%"
    )
    image = np.zeros((8, 8, 3), np.uint8)
    row = PictureRow(name="hflip", doc="mirrors", original=image, blocks=(("0.5", [image]),))
    for ending in ("png", "pdf", "svg"):
        draw_forest(folder / f"forest.{ending}", title=f"Study {names[1]}", metric="accuracy", marks=[mark])
        draw(folder / f"preview.{ending}", "Augmentations", f"Study {names[2]}\non data", [row])
    return numbered


def test_many_characters_without_a_font_are_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    only_fonts(monkeypatch)
    kana = "".join(chr(code) for code in range(0x3041, 0x3041 + SHOWN + 5))
    with caplog.at_level(logging.WARNING):
        fonts_for([kana])
    assert f"has the characters {kana[:SHOWN]} … and 5 more: pictures" in caplog.text


def test_an_installed_font_draws_what_the_own_font_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_font(tmp_path / "kana.ttf", "Kana Test", "しめじエリンギ")
    build_font(tmp_path / "kanji.ttf", "Noto Sans CJK Test", "松茸")
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    only_fonts(monkeypatch, *tmp_path.glob("*.ttf"))
    chosen = fonts_for([*MUSHROOMS, "Müller ±"])
    assert chosen.families == ("DejaVu Sans", "Noto Sans CJK Test", "Kana Test")
    assert chosen.missing == frozenset()
    with no_warnings():
        assert not draw_all(tmp_path, MUSHROOMS)
    picture = (tmp_path / "forest.svg").read_text()
    assert len(set(re.findall('id="KanaTest-[0-9a-f]+"', picture))) == len("しめじエリンギ")


def test_without_such_a_font_the_package_is_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    only_fonts(monkeypatch)
    with no_warnings(), caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert draw_all(tmp_path, MUSHROOMS)
    assert len(caplog.records) == 1
    assert "apt install fonts-noto-cjk" in caplog.text
    assert f"has the characters {''.join(sorted(set(''.join(MUSHROOMS))))}: pictures" in caplog.text
    assert fonts_for(MUSHROOMS).drawable("松a") == "?a"


def test_plain_names_need_no_other_font(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_families", lambda: pytest.fail("looked for fonts"))
    assert fonts_for(["cat", "Vögel", "кот", "ψ"]).families == ("DejaVu Sans",)


@pytest.mark.parametrize(
    ("text", "package"),
    [
        ("한글", "fonts-noto-cjk"),
        ("हिन्दी", "fonts-noto-core"),
        ("\U0001f344", "fonts-symbola"),
        ("한हि", "fonts-noto-cjk fonts-noto-core"),
    ],
)
def test_the_package_depends_on_the_script(
    text: str, package: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    only_fonts(monkeypatch)
    assert fonts_for([text]).missing
    assert f"apt install {package}" in caplog.text


def test_control_characters_are_never_drawn(tmp_path: Path) -> None:
    with no_warnings():
        draw_all(tmp_path, ("a\x1b[31m", "b\x00\udc83", "c\u202e"))


def test_a_font_without_the_wanted_weight_is_used_quietly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    build_font(tmp_path / "odd.ttf", "Odd Weights", "a")
    font_manager.fontManager.addfont(str(tmp_path / "odd.ttf"))
    entry = font_manager.fontManager.ttflist[-1]
    font_manager.fontManager.ttflist[-1] = dataclasses.replace(entry, weight=950)
    found = font_manager.findfont(font_manager.FontProperties(family=["Odd Weights"], weight="normal"))
    assert Path(found).name == "odd.ttf"
    assert not caplog.records
