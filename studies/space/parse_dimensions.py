"""Read an entry of ``[space]`` as candidate dimensions, each checked by itself, not yet against the others."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from studies.errors import Problems, listed, shown
from studies.file.document import GROUPS, flatten, known_field, shorten
from studies.settings import check_scalar
from studies.space.backbone_filter import BACKBONE_PATTERN, FILTER_KEYS, read_filter
from studies.space.dimension import FAMILY, Condition, Dimension, describe, is_multiple, is_pattern
from trainer.common.errors import suggest
from trainer.networks.backbones import FAMILIES
from trainer.recipe.recipe import FieldInfo, RecipeError, Scalar

NEVER_SAMPLED = {"epochs": "trials of different length cannot be compared while they run"}
"""Fields that a study cannot sample, with the reason."""

MAX_CHOICES = 2000  # timm knows about 1,700 sets of weights
MAX_BRANCHES = 50

BACKBONE_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_-]+)?")
"""timm's ``architecture`` or ``architecture.weights``; neither a path nor the address of a model hub."""
DIMENSION_NAME = re.compile(r"[A-Za-z0-9_.@/+-]{1,200}")

_KINDS = {"choices": "choices", "low": "range", "high": "range", **dict.fromkeys(FILTER_KEYS, "filter")}
_KEYS = {
    "choices": ("choices",),
    "range": ("low", "high", "log", "step", "off"),
    "filter": FILTER_KEYS,
}
_COMMON_KEYS = ("default", "when", "name")

Note = Callable[[str], None]


def read_dimensions(path: str, raw: object, problems: Problems) -> list[Dimension]:
    """Read the candidate dimensions of one field, in file order; mistakes are recorded and left out.

    ``raw`` is a list of choices, a table, or a list of tables with a condition each. Missing names stay empty and
    missing defaults None; `studies.space.conditions.settle` fills them in. Stored studies give the names.
    """

    note = partial(_note, problems, path)
    try:
        info = known_field(path)
    except RecipeError as error:
        problems.add("space", str(error), path)
        return []
    if path in NEVER_SAMPLED:
        note(f" cannot be sampled: {NEVER_SAMPLED[path]}")
        return []
    tables = _tables(raw, note)
    read = []
    for number, table in enumerate(tables, 1):
        place = f" (range {number})" if len(tables) > 1 else ""
        dimension = _read_table(info, table, partial(_note, problems, path, place))
        if dimension is not None:
            read.append(dimension)
    return read


def check_backbone_name(value: object) -> None:
    """Check the form of a timm model's name, not whether timm has the model.

    Raises:
        RecipeError: ``value`` cannot be such a name.
    """
    if isinstance(value, str) and not BACKBONE_NAME.fullmatch(value):
        raise RecipeError(f"backbone cannot be {shown(value)}: give the name of a timm model, such as resnet18.a1_in1k")


def _note(problems: Problems, path: str, *message: str) -> None:
    problems.add("space", f"{path}{''.join(message)}", path)


def _tables(raw: object, note: Note) -> list[Mapping[str, object]]:
    """The tables of one entry; a bare list of choices becomes one table."""
    if isinstance(raw, Mapping):
        return [raw]
    if not isinstance(raw, list):
        example = "{ low = 0.0, high = 0.5 }"
        note(f" = {shown(raw)} is one value: fix it in [recipe], or give [choices] or a table such as {example}")
        return []
    tables = [item for item in raw if isinstance(item, Mapping)]
    if not tables:
        return [{"choices": raw}]
    if len(tables) < len(raw):
        note(" mixes choices and tables in one list")
        return []
    if len(tables) > MAX_BRANCHES:
        note(f" has {len(tables)} ranges; more than {MAX_BRANCHES} are surely a mistake")
        return []
    return tables


def _read_table(info: FieldInfo, table: Mapping[str, object], note: Note) -> Dimension | None:
    kinds = list(dict.fromkeys(_KINDS[key] for key in table if key in _KINDS))
    possible = [kind for kind in _KEYS if kind != "filter" or info.path == "backbone"]
    valid = [*(key for kind in kinds or possible for key in _KEYS[kind]), *_COMMON_KEYS]
    for key in table:
        if key not in valid:
            note(f": there is no key {shorten(key)!r}{suggest(shorten(key), valid)}")
    if len(kinds) != 1:
        note(" needs either choices, or low and high" + (", or a filter by match" if info.path == "backbone" else ""))
        return None
    when = read_when(table.get("when", {}), note)
    try:
        dimension = _DOMAINS[kinds[0]](info, table)
    except RecipeError as error:
        note(f": {error}")
        return None
    return replace(
        dimension,
        name=_read_name(info, table, note),
        when=when,
        default=_read_default(info, dimension, table, note),
    )


def _read_choices(info: FieldInfo, table: Mapping[str, object]) -> Dimension:
    raw = table["choices"]
    if not isinstance(raw, list) or not raw:
        raise RecipeError(f"choices is a list of at least one value, not {shown(raw)}")
    if len(raw) > MAX_CHOICES:
        raise RecipeError(f"{len(raw)} choices are more than {MAX_CHOICES}")
    choices = tuple(check_value(info, value) for value in raw)
    twice = [value for value in dict.fromkeys(choices) if choices.count(value) > 1]
    if twice:
        raise RecipeError(f"choices holds {listed(twice)} more than once")
    return Dimension(name="", field=info.path, choices=choices)


def _read_range(info: FieldInfo, table: Mapping[str, object]) -> Dimension:
    if info.type in (str, bool):
        takes = "names" if info.type is str else "true and false"
        raise RecipeError(f"this field takes {takes}: give choices")
    missing = [key for key in ("low", "high") if key not in table]
    if missing:
        raise RecipeError(f"{missing[0]} is missing")
    low, high = (_check_number(info, table[key], key) for key in ("low", "high"))
    log = table.get("log", False)
    if not isinstance(log, bool):
        raise RecipeError(f"log is true or false, not {shown(log)}")
    if low > high:
        raise RecipeError(f"low = {low} lies above high = {high}")
    if log and low <= 0:
        raise RecipeError(f"a log range begins above zero, not at {low}")
    step = _read_step(info, table["step"], high - low, log) if "step" in table else None
    off = _check_number(info, table["off"], "off") if "off" in table else None
    return Dimension(
        name="", field=info.path, low=low, high=high, log=log, step=step, off=off, integer=info.type is int
    )


def _read_step(info: FieldInfo, raw: object, length: float, log: bool) -> float:
    if log:
        raise RecipeError("a log range takes no step")
    step = _check_number(FieldInfo(path="step", type=info.type, default=1, doc=""), raw, "step")
    if step <= 0 or not is_multiple(length, step):
        raise RecipeError(f"step = {step} does not divide the range of {length:g}")
    return step


def _read_filter(info: FieldInfo, table: Mapping[str, object]) -> Dimension:
    if info.path != "backbone":
        key = next(key for key in table if key in FILTER_KEYS)
        raise RecipeError(f"{key} describes backbones; this field takes choices or a range")
    return Dimension(name="", field="backbone", match=read_filter(table))


_DOMAINS: dict[str, Callable[[FieldInfo, Mapping[str, object]], Dimension]] = {
    "choices": _read_choices,
    "range": _read_range,
    "filter": _read_filter,
}


def _read_default(info: FieldInfo, dimension: Dimension, table: Mapping[str, object], note: Note) -> Scalar | None:
    if table.get("default") is None:
        return None
    try:
        value = check_value(info, table["default"])
    except RecipeError as error:
        note(f": default: {error}")
        return None
    if dimension.match is None and not dimension.contains(value):
        note(f": default = {shown(value)} is not among {describe(dimension)}")
        return None
    return value


def _read_name(info: FieldInfo, table: Mapping[str, object], note: Note) -> str:
    name = table.get("name", info.path)
    if not isinstance(name, str) or not DIMENSION_NAME.fullmatch(name) or name.partition("@")[0] != info.path:
        note(f": name = {shown(name)} is not {info.path}, nor {info.path}@ and a word")
        return ""
    return name if "name" in table else ""


def read_when(raw: object, note: Note) -> tuple[Condition, ...]:
    """Read the conditions of a table's ``when``; mistakes go to ``note`` and are left out."""
    if not isinstance(raw, Mapping):
        note(f": when is a table such as {{ 'optimizer.name' = 'sgd' }}, not {shown(raw)}")
        return ()
    doubled = Problems("")
    flat = flatten("", raw, doubled, {*GROUPS, "backbone"})
    if doubled or ("family" in flat and FAMILY in flat):
        note(": when names one field twice")
    pairs: dict[str, tuple[Scalar, ...]] = {}
    for key, given in flat.items():
        field = FAMILY if key == "family" else key
        values = given if isinstance(given, list) else [given]
        try:
            if not values:
                raise RecipeError(f"{shorten(field)} = [] can never hold")
            pairs[field] = tuple(dict.fromkeys(_check_condition(field, value) for value in values))
        except RecipeError as error:
            note(f": when: {error}")
    return tuple(pairs.items())


def _check_condition(field: str, value: object) -> Scalar:
    if field == "backbone" and isinstance(value, str) and is_pattern(value):
        if not BACKBONE_PATTERN.fullmatch(value.removeprefix("!")):
            raise RecipeError(f"{shown(value)} is no pattern over timm's names, such as 'convnext*' or '!convnext*'")
        return value
    if field != FAMILY:
        return check_value(known_field(field), value)
    if not isinstance(value, str) or value not in FAMILIES:
        raise RecipeError(f"there is no backbone family {shown(value)}{suggest(shown(value), FAMILIES)}")
    return value


def check_value(info: FieldInfo, value: object) -> Scalar:
    """Check one value of a field from an untrusted file, and return it as the field's type.

    Raises:
        RecipeError: the field cannot take the value.
    """
    checked = check_scalar(info, value)
    if info.path == "backbone":
        check_backbone_name(checked)
    return checked


def _check_number(info: FieldInfo, value: object, key: str) -> float:
    try:
        checked = check_scalar(info, value)
    except RecipeError as error:
        raise RecipeError(f"{key}: {error}") from error
    assert not isinstance(checked, str), "fields of names take choices"
    return checked
