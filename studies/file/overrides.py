"""Overrides: ``--set FIELD=VALUE`` on the command line changes a setting of a study file."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence

from studies.errors import Problems, StudyError, listed
from studies.file.document import PORTFOLIO, TABLES, Document, shorten
from studies.settings import SECTIONS, DataSettings, read_section, setting_names
from trainer.common.errors import suggest
from trainer.recipe.exclusions import EXCLUSIONS
from trainer.recipe.recipe import FIELDS


def apply_overrides(document: Document, overrides: Sequence[str]) -> Document:
    """Return ``document`` with all overrides applied, in turn; values are not checked here.

    ``recipe.FIELD=VALUE`` fixes a field, which is then no longer sampled. ``space.FIELD=[...]`` or ``{...}`` replaces
    the field's range, ``space.FIELD.low=...`` one key of it. A value that is not valid TOML is taken as text.

    Raises:
        StudyError: listing every override without ``=`` and every override of an unknown setting.
    """
    problems: list[str] = []
    for text in overrides:
        try:
            document = _apply(document, text)
        except StudyError as error:
            problems.extend(f"--set {shorten(text)}: {problem}" for problem in error.problems)
    if problems:
        raise StudyError(*problems)
    return document


def merged(earlier: Sequence[str], later: Sequence[str]) -> list[str]:
    """The overrides of a study that is continued with ``later`` ones: of several for one setting, the last counts."""
    last: dict[str, str] = {}
    for text in (*earlier, *later):
        setting = text.partition("=")[0].strip().replace('"', "")
        last.pop(setting, None)  # the order of the others may matter: they are applied in turn
        last[setting] = text
    return list(last.values())


def data_settings(overrides: Sequence[str]) -> DataSettings:
    """The settings of [data] for a command that reads images without a study.

    Raises:
        StudyError: an override is invalid, or of another table.
    """
    document = apply_overrides(Document(label="--set", title=""), overrides)
    problems = Problems("--set", document.overridden)
    for path in document.overridden:
        table, _, key = path.partition(".")
        if table != "data":
            problems.add(table, "this command takes settings of [data] only, such as data.label_column", key)
    settings = read_section("data", DataSettings, document.sections.get("data", {}), problems)
    problems.raise_if_any()
    return settings


def fit_to_fixed(document: Document) -> Document:
    """Where a field has been fixed, leave out the values of the study that exclude its value (`EXCLUSIONS`).

    An override, or the recipe from which a study begins, has fixed ``init = "scratch"``, for example: the fields with a
    value that excludes it go back to their default and are no longer sampled. Fields that an override sets itself stay
    as they are.
    """
    given = {key for path in document.overridden for key in (path, path.rpartition(".")[0])}
    left_out = {
        each.field: FIELDS[each.field].default
        for each in EXCLUSIONS
        if each.other not in document.space
        and document.recipe.get(each.other) == each.excluded
        and (each.field in document.space or each.field in document.recipe)
        and not {f"recipe.{each.field}", f"space.{each.field}"} & given
    }
    space = {field: raw for field, raw in document.space.items() if field not in left_out}
    # Set, not left out: conditions may refer to them.
    return dataclasses.replace(document, recipe={**document.recipe, **left_out}, space=space)


def parse_value(text: str) -> object:
    """``text`` as a TOML value, such as ``1e-4``, ``true`` or ``["a", "b"]``; or ``text`` itself if it is not TOML."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    # With a line break, the text could define a second key.
    return parsed["value"] if len(parsed) == 1 else text


def _apply(document: Document, text: str) -> Document:
    name, equals, given = text.partition("=")
    table, _, key = name.strip().replace('"', "").partition(".")
    if not equals or not given.strip():
        raise StudyError("give FIELD=VALUE, such as recipe.epochs=5")
    value = parse_value(given.strip())
    overridden = {**document.overridden, f"{table}.{key}": f"--set {shorten(text)}"}
    document = dataclasses.replace(document, overridden=overridden)
    if table == "title" and not key:
        return dataclasses.replace(document, title=given.strip().strip("\"'"))
    if table == PORTFOLIO and not key:
        return dataclasses.replace(document, portfolio=value)
    if table in SECTIONS and key in setting_names(table):
        if key.endswith("_column") and not isinstance(value, str):
            value = given.strip()  # a column may be called 2021
        section = {**document.sections.get(table, {}), key: value}
        return dataclasses.replace(document, sections={**document.sections, table: section})
    if table == "recipe" and key in FIELDS:
        space = {path: raw for path, raw in document.space.items() if path != key}
        return dataclasses.replace(document, recipe={**document.recipe, key: value}, space=space)
    if table == "space" and key:
        return _override_space(document, key, value, f"--set {shorten(text)}")
    raise StudyError(f"there is no setting {shorten(name)!r}{_nearest(name.strip())}")


def _override_space(document: Document, key: str, value: object, words: str) -> Document:
    if key in FIELDS:
        return dataclasses.replace(document, space={**document.space, key: value})
    field, _, attribute = key.rpartition(".")
    if field not in FIELDS:
        raise StudyError(f"there is no recipe field {shorten(key)!r}{suggest(shorten(key), FIELDS)}")
    present = document.space.get(field)
    if isinstance(present, list) and present and isinstance(present[0], Mapping):
        raise StudyError(f"{field} has {len(present)} ranges; replace all of them: space.{field}=[{{...}}, {{...}}]")
    # As a table, a list of choices can take further keys, such as a default.
    table = {"choices": present} if isinstance(present, list) else dict(present) if isinstance(present, Mapping) else {}
    overridden = {**document.overridden, f"space.{field}": words}
    return dataclasses.replace(
        document, space={**document.space, field: {**table, attribute: value}}, overridden=overridden
    )


def _nearest(name: str) -> str:
    valid = [f"recipe.{path}" for path in FIELDS] + [f"space.{path}" for path in FIELDS] + ["title", PORTFOLIO]
    valid += [f"{table}.{key}" for table in SECTIONS for key in setting_names(table)]
    if name in FIELDS:
        return f"; did you mean recipe.{name}?"
    return suggest(shorten(name), valid) or f"; settings begin with {listed(('title', *TABLES, PORTFOLIO))}"
