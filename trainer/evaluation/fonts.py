"""Fonts for pictures: installed fonts that have the characters of class and study names, beside matplotlib's own."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

BASE = "DejaVu Sans"  # ships with matplotlib
UNKNOWN = "?"  # stands for a character that no installed font has
SHOWN = 24  # missing characters in the advice
PREFERRED = ("Noto Sans CJK", "Noto Sans", "IPA", "Source Han Sans", "WenQuanYi", "Nanum")
"""Beginnings of families that look well beside `BASE`, in order of preference."""
_PLACEHOLDERS = "Last Resort"  # beginning of the families that draw a box for every character
_EAST_ASIAN = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "IDEOGRAPHIC", "HALFWIDTH", "FULLWIDTH", "BOPOMOFO")

# Matplotlib logs that a family has no file of the wanted weight, although it then takes the nearest one.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)

_advised: set[str] = set()  # packages

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Fonts:
    """The fonts of one picture.

    families: for matplotlib's argument ``family``; a character is drawn in the first font that has it.
    missing: characters that no font has.
    """

    families: tuple[str, ...]
    missing: frozenset[str]

    def drawable(self, text: str) -> str:
        """``text`` with `UNKNOWN` in place of the characters that no font has."""
        return "".join(UNKNOWN if character in self.missing else character for character in text)


def fonts_for(texts: Iterable[str]) -> Fonts:
    """Choose fonts that have as many characters of ``texts`` as possible; log, once, which package brings the others.

    Control characters count as missing, except line feeds.
    """
    wanted = {character for text in texts for character in text if character != "\n"}
    hidden = frozenset(character for character in wanted if not character.isprintable())
    missing = _without_glyph(BASE, wanted - hidden)
    families = [BASE]
    if missing:
        for family in _families():
            left = _without_glyph(family, missing)
            if len(left) < len(missing):
                families.append(family)
                missing = left
            if not missing:
                break
    if missing:
        _advise(" ".join(sorted(set(map(_package, missing)))), _examples(missing))
    return Fonts(families=tuple(families), missing=missing | hidden)


def _examples(characters: frozenset[str]) -> str:
    """The first `SHOWN` characters, and the number of the others."""
    shown, more = "".join(sorted(characters)[:SHOWN]), len(characters) - SHOWN
    return f"{shown} … and {more} more" if more > 0 else shown


def _advise(package: str, examples: str) -> None:
    """Log, once in this process, which package brings a font."""
    if package in _advised:
        return
    _advised.add(package)
    log.warning(
        "no installed font has the characters %s: pictures show %s instead. `sudo apt install %s` (Debian, Ubuntu) "
        "brings one; other systems have Noto fonts as well",
        examples,
        UNKNOWN,
        package,
    )


def _package(character: str) -> str:
    name = unicodedata.name(character, "")
    if name.startswith(_EAST_ASIAN):
        return "fonts-noto-cjk"
    return "fonts-symbola" if unicodedata.category(character) == "So" else "fonts-noto-core"


def _families() -> list[str]:
    """All installed families, the preferred ones first. Matplotlib's list may be older than the newest font."""
    from matplotlib import font_manager

    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in known:
            try:
                font_manager.fontManager.addfont(path)
            except (OSError, RuntimeError) as error:
                log.debug("%s is no usable font: %s", path, error)
    names = {entry.name for entry in font_manager.fontManager.ttflist if not entry.name.startswith(_PLACEHOLDERS)}

    def rank(name: str) -> tuple[int, str]:
        places = [place for place, start in enumerate(PREFERRED) if name.startswith(start)]
        return (places[0] if places else len(PREFERRED), name)

    return sorted(names, key=rank)


def _without_glyph(family: str, characters: Iterable[str]) -> frozenset[str]:
    """The characters that a family lacks; all of them if matplotlib cannot use the font, such as one of bitmaps."""
    from matplotlib import font_manager, ft2font

    try:
        path = font_manager.findfont(font_manager.FontProperties(family=[family]), fallback_to_default=False)
        font = ft2font.FT2Font(str(Path(path)))
        if not font.scalable:
            return frozenset(characters)
        return frozenset(c for c in characters if font.get_char_index(ord(c)) == 0)
    except (OSError, RuntimeError, ValueError) as error:
        log.debug("the font %s cannot be used: %s", family, error)
        return frozenset(characters)
