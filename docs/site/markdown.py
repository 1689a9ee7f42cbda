"""Markdown from values: tables, code, and what study files and ranges look like."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MARK = "<!-- `python -m docs.site.reference` writes this page from the code. -->"
"""The line below the title of a page that is not written by hand."""


def joined(parts: Iterable[str]) -> str:
    """The page of these parts, paragraphs wrapped as in the other pages."""
    return "\n\n".join(part if part[0] in "|#< " else textwrap.fill(part, 128) for part in parts) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown; columns without any content are left out."""
    filled = list(rows)
    kept = [i for i in range(len(header)) if any(row[i] for row in filled)]
    lines = [[header[i] for i in kept], ["---"] * len(kept), *([escaped(row[i]) for i in kept] for row in filled)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(text: str) -> str:
    """Text of a cell: outside of code, characters that Markdown reads are escaped."""
    parts = text.replace("``", "`").split("`")
    parts[::2] = [re.sub(r"([|*<])", r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [part.replace("|", r"\|") for part in parts[1::2]]
    return "`".join(parts)


def code(*names: str) -> str:
    return ", ".join(f"`{name}`" for name in names)


def listed(names: Iterable[str]) -> str:
    return code(*names)


def assigned(field: str, setting: Any) -> str:
    return code(f"{field} = {toml(setting)}")


def value(setting: Any) -> str:
    return "" if setting is None or setting == [] else code(toml(setting))


def toml(setting: Any) -> str:
    """A value as a study file writes it."""
    if isinstance(setting, bool):
        return str(setting).lower()
    if isinstance(setting, list):
        return f"[{', '.join(map(toml, setting))}]"
    return f'"{setting}"' if isinstance(setting, str) else f"{setting}"


def type_name(kind: type) -> str:
    names: Mapping[type, str] = {str: "name", int: "whole number", float: "number", bool: "true or false"}
    return names[kind]


def range_of(low: float, high: float, choices: Sequence[str] = ()) -> str:
    """The valid values; empty where any goes."""
    if choices:
        return listed(choices)
    if low == -math.inf and high == math.inf:
        return ""
    return f"from {number(low)}" if high == math.inf else f"{number(low)} .. {number(high)}"


def number(amount: float) -> str:
    return f"{amount:,.0f}" if amount == int(amount) and abs(amount) >= 1000 else f"{amount:g}"
