"""Parse the TOML text of a study file into flat tables of unchecked values."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from studies.errors import Problems, StudyError, shown
from studies.file.catalog import StudyFile
from studies.settings import SECTIONS
from trainer.common.errors import suggest
from trainer.recipe.recipe import FIELDS, RENAMED_VALUES, FieldInfo, field_info

GROUPS = frozenset(path.partition(".")[0] for path in FIELDS if "." in path)
"""The groups of recipe fields, which a file may write as nested tables."""

TABLES = ("protocol", "recipe", "space", "search", "probe", "confirm", "final", "data", "rules")
PORTFOLIO = "portfolio"
"""The one array of tables beside the tables; see `studies.portfolio`."""
MAX_KEY = 80  # characters of an unknown key in a message

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Document:
    """The settings of a study file with flat keys (``"optimizer.lr"``) and unchecked values."""

    label: str
    title: object
    recipe: Mapping[str, object] = field(default_factory=dict)
    space: Mapping[str, object] = field(default_factory=dict)
    portfolio: object = field(default_factory=list)
    """As written; not even its type is checked."""
    sections: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """The tables of `studies.settings.SECTIONS` that the file has, by name."""
    overridden: Mapping[str, str] = field(default_factory=dict)
    """The override of each overridden setting, by ``table.key``."""


def parse_document(file: StudyFile, problems: Problems) -> Document:
    """Parse a study file; unknown tables and duplicate keys are recorded in ``problems``.

    Raises:
        StudyError: the text is not valid TOML; the message names the line.
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
    """Flatten nested ``groups`` and record duplicates: ``{optimizer = {lr = 1}}`` becomes ``{"optimizer.lr": 1}``."""
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
    """`trainer.recipe.recipe.field_info` for keys of any length, which messages cut.

    Raises:
        RecipeError: no such field.
    """
    return field_info(shorten(path))


def warn_of_renamed_values(document: Document) -> None:
    """Log a line for each value of `trainer.recipe.recipe.RENAMED_VALUES` in the document: it is read as the new one.

    Of the space, choices and defaults are looked at.
    """
    for (path, old), new in RENAMED_VALUES.items():
        places = [document.recipe.get(path), *_leaves(document.space.get(path))]
        places += [entry.get(path) for entry in _leaves(document.portfolio) if isinstance(entry, Mapping)]
        if old in places:
            _warn(f'{document.label}: {path} = "{old}" is now called "{new}"; please write "{new}"')


@lru_cache(maxsize=100)
def _warn(message: str) -> None:
    """Log a warning once: a command reads its study several times."""
    log.warning(message)


def _leaves(entry: object) -> list[object]:
    """What an entry of [space] holds: a list of choices, or tables with choices and defaults. Tables are included."""
    tables = entry if isinstance(entry, list) else [entry]
    within = [value for table in tables if isinstance(table, Mapping) for value in table.values()]
    return [*tables, *within, *(item for value in within if isinstance(value, list) for item in value)]


def shorten(key: str) -> str:
    """``key``, cut to `MAX_KEY` characters for a message."""
    return key if len(key) <= MAX_KEY else f"{key[:MAX_KEY]}…"


def _table(name: str, raw: object, problems: Problems) -> Mapping[str, object]:
    if isinstance(raw, Mapping):
        return raw
    problems.add("", f"{name} is a table, [{name}], not {shown(raw)}")
    return {}


def _syntax_message(file: StudyFile, error: ValueError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return f"{file.label}: nested too deeply for a study file"
    # tomllib appends the place in words: "Expected ']' (at line 3, column 5)", "... (at end of document)".
    what, _, place = str(error).rstrip(")").rpartition(" (at ")
    if place == "end of document":
        place = f"line {file.text.count(chr(10)) + 1}, the last"
    where = f"{file.label}, {place}" if what else file.label
    return f"{where}: not valid TOML: {shorten(what or str(error))}"
