"""``[[portfolio]]``: published recipes that are tried right after the default recipe.

    [[portfolio]]
    source = "Liu et al. 2022, fine-tuning of ConvNeXt"     # publication
    when = { backbone = "convnext*" }                       # optional: condition on the recipe
    "optimizer.lr" = 5e-5                                   # other fields are those of the default recipe

An entry is one trial. A sampled field in ``when`` takes the first value that meets the condition, the default before
all others: an entry for a family of backbones is tried with the first backbone of that family.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from studies.errors import Problems, shown
from studies.file.document import flatten, known_field, shorten
from studies.settings import MAX_TEXT
from studies.space.dimension import Condition, Dimension, describe, describe_conditions, field_behind
from studies.space.fit_recipe import fit
from studies.space.parse_dimensions import check_value, read_when
from trainer.common.errors import BackboneError
from trainer.recipe.recipe import FIELDS, RecipeError, Scalar

MAX_ENTRIES = 100

_OWN_KEYS = ("source", "when")


@dataclass(frozen=True, kw_only=True)
class PortfolioEntry:
    """One entry: a partial recipe and its source."""

    source: str
    """Publication or other origin of the recipe."""
    when: tuple[Condition, ...] = ()
    """Conditions that the complete recipe has to meet."""
    settings: tuple[tuple[str, Scalar], ...]
    """(recipe field, value) pairs, in the order of `trainer.recipe.recipe.FIELDS`."""

    def to_dict(self) -> dict[str, Any]:
        """The entry as a table of a study file."""
        when = {field: list(values) for field, values in self.when}
        return {"source": self.source} | ({"when": when} if when else {}) | dict(self.settings)


def read_portfolio(raw: object, problems: Problems) -> list[PortfolioEntry]:
    """Read the entries of a study file or stored study; mistakes within an entry are recorded in ``problems``."""
    if not isinstance(raw, list) or not all(isinstance(entry, Mapping) for entry in raw):
        problems.add("", f"portfolio is an array of tables, each [[portfolio]], not {shown(raw)}", "portfolio")
        return []
    if len(raw) > MAX_ENTRIES:
        problems.add("portfolio", f"{len(raw)} entries are more than {MAX_ENTRIES}")
        return []
    entries = [_read_entry(entry, number, problems) for number, entry in enumerate(raw, 1)]
    return [entry for entry in entries if entry is not None]


def settle_portfolio(
    entries: Sequence[PortfolioEntry],
    space: Sequence[Dimension],
    fixed: Mapping[str, Scalar],
    *,
    lenient: bool,
    problems: Problems,
    filtered: bool = False,
) -> tuple[PortfolioEntry, ...]:
    """The entries that this study can try, checked against its space.

    Args:
        space: with an unresolved backbone filter, entries are checked only as far as their values do not depend on the
            backbone; call again once the filter is resolved.
        fixed: complete flat settings: the value of a field where the field is not sampled.
        lenient: entries that do not fit are left out in silence, as after an override; otherwise they are mistakes.
        filtered: the backbones come from a filter, so an entry whose ``when`` fits none of them is not a mistake.
        problems: mistakes are recorded here; after one, the result is not usable.
    """
    resolved = all(dimension.match is None for dimension in space)
    kept = []
    for number, entry in enumerate(entries, 1):
        note = partial(_note, problems, number, entry.source)
        try:
            tried = fit(space, fixed, dict(entry.settings), when=entry.when) if resolved else None
        except BackboneError as error:
            note(f": {error}")
            continue
        if not resolved:
            misfits = list(_possible_misfits(entry, space, fixed))
        elif tried is not None:
            misfits = list(tried.misfits)
        elif lenient or filtered or not _asks_for_sampled(entry, space):
            continue  # a fixed field decided the condition: no mistake
        else:
            misfits = [f"when {describe_conditions(entry.when)}: no recipe of this study meets this"]
        if not misfits:
            kept.append(entry)
        for misfit in misfits if not lenient else ():
            note(f": {misfit}")
    return tuple(kept)


def portfolio_params(
    entries: Sequence[PortfolioEntry],
    space: Sequence[Dimension],
    fixed: Mapping[str, Scalar],
) -> Iterator[tuple[PortfolioEntry, Mapping[str, Scalar]]]:
    """Each entry of a settled portfolio with its sampled values, by parameter name."""
    for entry in entries:
        tried = fit(space, fixed, dict(entry.settings), when=entry.when)
        assert tried is not None and not tried.misfits, "a settled portfolio fits"
        yield entry, tried.params


def _read_entry(raw: Mapping[str, object], number: int, problems: Problems) -> PortfolioEntry | None:
    source = raw.get("source")
    if not isinstance(source, str) or not 0 < len(source) <= MAX_TEXT or not source.isprintable():
        wanted = f"source is the recipe's origin, in up to {MAX_TEXT} printable characters"
        _note(problems, number, "", f": {wanted}, not {shown(source)}")
        return None
    note = partial(_note, problems, number, source)
    when = read_when(raw.get("when", {}), note)
    doubled = Problems("")
    flat = flatten("", {key: value for key, value in raw.items() if key not in _OWN_KEYS}, doubled)
    if doubled:
        note(" names one field twice")
    settings = {}
    for field, value in flat.items():
        try:
            settings[field] = check_value(known_field(field), value)
        except RecipeError as error:
            note(f": {error}")
    if not flat:
        note(": names no field of a recipe")
    in_order = sorted(settings.items(), key=lambda item: list(FIELDS).index(item[0]))
    return PortfolioEntry(source=source, when=when, settings=tuple(in_order))


def _asks_for_sampled(entry: PortfolioEntry, space: Sequence[Dimension]) -> bool:
    sampled = {dimension.field for dimension in space}
    return any(field_behind(field) in sampled for field, _ in entry.when)


def _possible_misfits(entry: PortfolioEntry, space: Sequence[Dimension], fixed: Mapping[str, Scalar]) -> Iterator[str]:
    """Misfits that do not depend on the backbones that a filter finds."""
    for field, value in entry.settings:
        sampled = [dimension for dimension in space if dimension.field == field]
        if not sampled and fixed[field] != value:
            yield f"{field} = {shown(value)} is not sampled, but {fixed[field]} in every trial"
        elif sampled and not any(dimension.match or dimension.contains(value) for dimension in sampled):
            yield f"{field} = {shown(value)} is not among {' or '.join(map(describe, sampled))}"


def _note(problems: Problems, number: int, source: str, *message: str) -> None:
    name = f"entry {number}" + (f" ({shorten(source)})" if source else "")
    problems.add("portfolio", f"{name}{''.join(message)}")
