"""A study as rows of text: its fixed and sampled settings, and the differences between two studies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from studies.space.dimension import Dimension, branches, describe, describe_conditions, written
from studies.spec import FREE_TO_CHANGE, StudySpec
from trainer.recipe.recipe import FIELDS, Scalar

ALWAYS_SHOWN = ("backbone", "init", "image_size", "epochs", "batch_size", "optimizer.name", "optimizer.lr")
"""Fixed fields that an explanation includes even at their default."""

LONG_LIST = 8
"""Maximum number of choices that are written out; of longer lists, only the additions and removals are shown."""


@dataclass(frozen=True, kw_only=True)
class FixedRow:
    """A recipe field with one value in all trials."""

    field: str
    value: Scalar
    doc: str


@dataclass(frozen=True, kw_only=True)
class SampledRow:
    """A dimension: its range or choices, its conditions (empty: always sampled), and its value in trial 0."""

    name: str
    values: str
    when: str
    default: Scalar | None
    doc: str


@dataclass(frozen=True, kw_only=True)
class PortfolioRow:
    """An entry of the portfolio: its source, its settings, and its conditions (empty: none)."""

    source: str
    settings: str
    when: str


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The content of ``search studies NAME``; ``settings`` are (setting, value) pairs of the sections."""

    title: str
    settings: tuple[tuple[str, str], ...]
    fixed: tuple[FixedRow, ...]
    sampled: tuple[SampledRow, ...]
    portfolio: tuple[PortfolioRow, ...]
    begun_from: str
    """``STUDY:TRIAL`` whose recipe the study starts from; empty: none."""


def explain(spec: StudySpec) -> Explanation:
    """Describe a study. Fixed fields at their default are left out, except those of `ALWAYS_SHOWN`."""
    sampled = {dimension.field for dimension in spec.space}
    return Explanation(
        title=spec.title,
        settings=tuple((path, value) for path, value in _settings(spec) if value is not None),
        fixed=tuple(
            FixedRow(field=path, value=spec.recipe[path], doc=info.doc)
            for path, info in FIELDS.items()
            if path not in sampled and (path in ALWAYS_SHOWN or spec.recipe[path] != info.default)
        ),
        sampled=tuple(
            SampledRow(
                name=dimension.name,
                values=describe(dimension),
                when=describe_conditions(dimension.when),
                default=dimension.default,
                doc=FIELDS[dimension.field].doc,
            )
            for dimension in spec.space
        ),
        portfolio=tuple(
            PortfolioRow(
                source=entry.source,
                settings=" ".join(f"{field}={written([value])}" for field, value in entry.settings),
                when=describe_conditions(entry.when),
            )
            for entry in spec.portfolio
        ),
        begun_from=spec.begun_from,
    )


def differences(old: StudySpec, new: StudySpec) -> list[str]:
    """The changes from ``old`` to ``new``, one line each: ``optimizer.lr: 1e-05 .. 0.003, log -> 1e-05 .. 0.01, log``.

    Empty exactly if both have the same `StudySpec.spec_hash`: settings of `FREE_TO_CHANGE` are not compared.
    """
    before, after = dict(_binding_rows(old)), dict(_binding_rows(new))
    lines = []
    for key in dict.fromkeys([*before, *after]):
        # Default and conditions of a dimension are compared only where both studies have the dimension.
        beside = " " in key and not (key in before and key in after)
        if before.get(key) != after.get(key) and not beside:
            lines.append(f"{key}: {_change(before.get(key), after.get(key))}")
    order = [_order(spec) for spec in (old, new)]
    if not lines and order[0] != order[1]:
        lines.append(f"order of [space]: {', '.join(order[0])} -> {', '.join(order[1])}")
    return lines


_Row = str | tuple[str, ...] | None


def _settings(spec: StudySpec) -> Iterator[tuple[str, str | None]]:
    for table, section in spec.sections.items():
        for key, value in section.items():
            yield f"{table}.{key}", None if value is None else str(value)


def _binding_rows(spec: StudySpec) -> Iterator[tuple[str, _Row]]:
    for path, value in _settings(spec):
        if path not in FREE_TO_CHANGE and path.partition(".")[0] not in FREE_TO_CHANGE:
            yield path, value
    sampled: Mapping[str, list[Dimension]] = dict(branches(spec.space))
    for path in FIELDS:
        dimensions = sampled.get(path, [])
        yield f"{path} where not sampled" if dimensions else path, str(spec.recipe[path])
        for dimension in dimensions:
            yield dimension.name, _choices(dimension) or f"sampled from {describe(dimension)}"
            yield f"{dimension.name} in trial 0", str(dimension.default)
            yield f"{dimension.name} when", describe_conditions(dimension.when) or "always"


def _choices(dimension: Dimension) -> tuple[str, ...] | None:
    return None if dimension.choices is None else tuple(map(str, dimension.choices))


def _order(spec: StudySpec) -> list[str]:
    return [dimension.name for dimension in spec.space]


def _change(before: _Row, after: _Row) -> str:
    if isinstance(before, tuple) and isinstance(after, tuple) and max(len(before), len(after)) > LONG_LIST:
        gone = [f"-{name}" for name in before if name not in after]
        come = [f"+{name}" for name in after if name not in before]
        return " ".join(gone + come) or "the same choices in another order"
    return f"{_words(before)} -> {_words(after)}"


def _words(row: _Row) -> str:
    if row is None:
        return "not given"
    if isinstance(row, str):
        return row
    return f"one of {', '.join(row)}" if len(row) <= LONG_LIST else f"one of {len(row)} choices"
