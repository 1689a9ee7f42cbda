"""A study file's text as flat tables of raw values: nothing is judged here but the form."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from studies.errors import Problems, StudyError, shown
from studies.file.catalog import StudyFile
from studies.settings import SECTIONS
from trainer.common.errors import suggest
from trainer.recipe.recipe import FIELDS, FieldInfo, field_info

GROUPS = frozenset(path.partition(".")[0] for path in FIELDS if "." in path)
"""Recipe fields come in these groups, which a file may write as nested tables."""

TABLES = ("protocol", "recipe", "space", "search", "confirm", "final", "data")
PORTFOLIO = "portfolio"
"""Beside the tables, an array of tables; see `studies.portfolio`."""
MAX_KEY = 80  # characters that a message repeats of an unknown key


@dataclass(frozen=True, kw_only=True)
class Document:
    """Raw settings, keys flat (``"optimizer.lr"``), values unchecked."""

    label: str
    title: object
    recipe: Mapping[str, object] = field(default_factory=dict)
    space: Mapping[str, object] = field(default_factory=dict)
    portfolio: object = field(default_factory=list)
    """As it was written; not even the form is judged."""
    sections: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """By the names of `studies.settings.SECTIONS`; tables that are not given are missing."""
    overridden: Mapping[str, str] = field(default_factory=dict)
    """``table.key`` of every setting changed from outside, with the words that changed it."""


def parse_document(file: StudyFile, problems: Problems) -> Document:
    """Take a study file apart; unknown tables and keys given twice are recorded in ``problems``.

    Raises:
        StudyError: the text is no TOML; the message names the line.
    """
    try:
        raw = tomllib.loads(file.text)
    except (ValueError, RecursionError) as error:
        raise StudyError(_syntax_message(file, error)) from error
    valid = ("title", *TABLES, PORTFOLIO)
    for key in raw:
        if key not in valid:
            problems.add("", f"there is no table [{shorten(key)}]{suggest(key[:MAX_KEY], valid)}")
    tables = {name: _table(name, raw.get(name, {}), problems) for name in TABLES}
    return Document(
        label=file.label,
        title=raw.get("title", file.name),
        recipe=flatten("recipe", tables["recipe"], problems),
        space=flatten("space", tables["space"], problems),
        portfolio=raw.get(PORTFOLIO, []),
        sections={name: tables[name] for name in SECTIONS if name in raw},
    )


def flatten(
    table: str, raw: Mapping[str, object], problems: Problems, groups: Collection[str] = GROUPS
) -> dict[str, object]:
    """``{optimizer = {lr = 1}}`` and ``{"optimizer.lr" = 1}`` alike become ``{"optimizer.lr": 1}``."""
    flat: dict[str, object] = {}
    for key, value in raw.items():
        entries = [(key, value)]
        if key in groups and isinstance(value, Mapping):
            entries = [(f"{key}.{name}", item) for name, item in value.items()]
        for path, item in entries:
            if path in flat:
                problems.add(table, f"{path} is given twice", path)
            flat[path] = item
    return flat


def known_field(path: str) -> FieldInfo:
    """`trainer.recipe.recipe.field_info` for keys of any length.

    Raises:
        RecipeError: no such field.
    """
    return field_info(shorten(path))


def shorten(key: str) -> str:
    """``key``, cut where a message would be flooded."""
    return key if len(key) <= MAX_KEY else f"{key[:MAX_KEY]}…"


def _table(name: str, raw: object, problems: Problems) -> Mapping[str, object]:
    if isinstance(raw, Mapping):
        return raw
    problems.add("", f"{name} is a table, [{name}], not {shown(raw)}")
    return {}


def _syntax_message(file: StudyFile, error: ValueError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return f"{file.label}: nested too deeply for a study file"
    # tomllib says where in words: "Expected ']' (at line 3, column 5)", "... (at end of document)".
    what, _, place = str(error).rstrip(")").rpartition(" (at ")
    if place == "end of document":
        place = f"line {file.text.count(chr(10)) + 1}, the last"
    where = f"{file.label}, {place}" if what else file.label
    return f"{where}: not valid TOML: {shorten(what or str(error))}"
