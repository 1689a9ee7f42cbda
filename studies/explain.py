"""A study in words: what it fixes and samples, and how two studies differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from studies.space.dimension import Dimension, branches, describe, describe_conditions, written
from studies.spec import FREE_TO_CHANGE, StudySpec
from trainer.recipe.recipe import FIELDS, Scalar

ALWAYS_SHOWN = ("backbone", "init", "image_size", "epochs", "batch_size", "optimizer.name", "optimizer.lr")
"""Fixed settings that an explanation names even where they are at their default."""

LONG_LIST = 8
"""Longer lists of choices are not written out; two of them are compared by what came and went."""


@dataclass(frozen=True, kw_only=True)
class FixedRow:
    """A setting that all trials share."""

    field: str
    value: Scalar
    doc: str


@dataclass(frozen=True, kw_only=True)
class SampledRow:
    """A dimension: what it is sampled from, under which conditions (empty: always), and its value in trial 0."""

    name: str
    values: str
    when: str
    default: Scalar | None
    doc: str


@dataclass(frozen=True, kw_only=True)
class PortfolioRow:
    """A recipe that is tried early: where it is known from, what it sets, and for what (empty: anything)."""

    source: str
    settings: str
    when: str


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What ``search studies NAME`` shows. ``settings`` are (setting, value) pairs: how trials are judged and run."""

    title: str
    settings: tuple[tuple[str, str], ...]
    fixed: tuple[FixedRow, ...]
    sampled: tuple[SampledRow, ...]
    portfolio: tuple[PortfolioRow, ...]
    begun_from: str
    """``STUDY:TRIAL`` whose recipe it begins at; empty: none."""


def explain(spec: StudySpec) -> Explanation:
    """Say what a study does. Fixed settings at the product's defaults are left out, except the most important."""
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
    """What changed from ``old`` to ``new``, a line each: ``optimizer.lr: 1e-05 .. 0.003, log -> 1e-05 .. 0.01, log``.

    Empty exactly if both have the same `StudySpec.spec_hash`: what may change while a study runs is not compared.
    """
    before, after = dict(_binding_rows(old)), dict(_binding_rows(new))
    lines = []
    for key in dict.fromkeys([*before, *after]):
        # What is said of a dimension beside its values goes without saying where the dimension itself came or went.
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
