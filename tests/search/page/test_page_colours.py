"""The colours of the report: text and marks contrast with their background, in the light and in the dark scheme."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from search.page.svg.matrix import FAINTEST, STRONGEST

STYLE = files("search.page.templates").joinpath("style.css").read_text(encoding="utf-8")
PALETTES = dict(
    zip(
        ("light", "dark", "print"),
        (dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6})", rule)) for rule in re.findall(r":root \{([^}]*)\}", STYLE)),
        strict=True,
    )
)
TEXT_CONTRAST, MARK_CONTRAST = 4.5, 3.0
"""Least contrast of WCAG 2.2, level AA, for text and for graphics."""


def rgb(colour: str) -> tuple[float, ...]:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    return tuple(int(digits[i : i + 2], 16) / 255.0 for i in (0, 2, 4))


def luminance(colour: tuple[float, ...]) -> float:
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def over(colour: tuple[float, ...], ground: tuple[float, ...], opacity: float) -> tuple[float, ...]:
    return tuple(opacity * a + (1.0 - opacity) * b for a, b in zip(colour, ground, strict=True))


def test_black_on_white_has_the_highest_contrast() -> None:
    assert contrast(rgb("#000"), rgb("#ffffff")) == pytest.approx(21.0)


@pytest.mark.parametrize("palette", PALETTES)
def test_text_can_be_read(palette: str) -> None:
    colours = {name: rgb(value) for name, value in PALETTES[palette].items()}
    for ground in ("ground", "soft"):
        for text in ("text", "muted", "accent"):
            assert contrast(colours[text], colours[ground]) >= TEXT_CONTRAST, (text, ground)


@pytest.mark.parametrize("palette", PALETTES)
def test_marks_can_be_seen(palette: str) -> None:
    colours = {name: rgb(value) for name, value in PALETTES[palette].items()}
    classes = ("ca", "cb", "cc", "cd", "ce", "cf")  # of the map
    assert len({colours[mark] for mark in classes}) == len(classes)
    for mark in ("accent", "warn", "faint", "muted", *classes):
        assert contrast(colours[mark], colours["ground"]) >= MARK_CONTRAST, mark


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("opacity", [FAINTEST, 0.4, STRONGEST])
def test_numbers_on_cells_can_be_read(palette: str, opacity: float) -> None:
    colours = {name: rgb(value) for name, value in PALETTES[palette].items()}
    for cell in ("right", "wrong"):
        ground = over(colours[cell], colours["ground"], opacity)
        assert contrast(colours["text"], ground) >= TEXT_CONTRAST, cell
