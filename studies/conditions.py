"""Candidate dimensions -> a search space: conditions decided where they can be, order, names, defaults.

What is fixed decides the conditions that speak of it: a dimension that can never be active is dropped, a condition
that always holds is removed. So what is left is exactly what will be sampled.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from studies.errors import Problems, listed
from studies.space import FAMILY, Dimension, describe, describe_conditions, field_behind, setting_of
from trainer.backbones import FAMILIES, BackboneError, check_backbone, family_of
from trainer.recipe import Scalar

MAX_BRANCH_NAME = 60  # characters after the @ of a dimension's name

Candidates = Mapping[str, Sequence[Dimension]]


def settle(
    candidates: Candidates,
    base: Mapping[str, Scalar],
    *,
    explicit: Collection[str],
    lenient: bool,
    problems: Problems,
) -> tuple[Dimension, ...]:
    """Make a space of candidates by field.

    Args:
        candidates: as `studies.dimensions.read_dimensions` gives them.
        base: flat settings, complete: what holds wherever nothing is sampled.
        explicit: fields of ``base`` that were given and did not just take their default.
        lenient: conditions that can never hold, and values of ``base`` outside their ranges, are passed over in
            silence: in a file they are mistakes, after an override they are its consequences.
        problems: what is wrong is recorded here; the result is then of no use.
    """
    order = _ordered(candidates, problems)
    if order is None or not _families_known(candidates, base, problems):
        return ()
    settler = _Settler(base, explicit, lenient, problems)
    for field in order:
        settler.settle(field, candidates[field])
    space = tuple(dimension for dimensions in settler.kept.values() for dimension in dimensions)
    names = [dimension.name for dimension in space]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            problems.add("space", f"{name} is the name of {names.count(name)} dimensions", name.partition("@")[0])
    return space


def _ordered(candidates: Candidates, problems: Problems) -> list[str] | None:
    """Fields in file order, except that a field comes after those that its conditions speak of; None on a cycle."""
    done: dict[str, None] = {}

    def visit(field: str, trail: tuple[str, ...]) -> bool:
        if field in trail:
            cycle = " -> ".join([*trail[trail.index(field) :], field])
            problems.add("space", f"the conditions go round in a circle: {cycle}", field)
            return False
        if field in done:
            return True
        behind = [field_behind(name) for dimension in candidates[field] for name, _ in dimension.when]
        if not all(visit(name, (*trail, field)) for name in dict.fromkeys(behind) if name in candidates):
            return False
        done[field] = None
        return True

    for field in candidates:
        if not visit(field, ()):
            return None
    return list(done)


def _families_known(candidates: Candidates, base: Mapping[str, Scalar], problems: Problems) -> bool:
    """Whether conditions on the family, if there are any, can be answered for every backbone that is written down."""
    if not any(field == FAMILY for dimensions in candidates.values() for d in dimensions for field, _ in d.when):
        return True
    sampled = candidates.get("backbone", ())
    names = [name for dimension in sampled for name in dimension.choices or ()]
    if all(dimension.when for dimension in sampled):
        names.append(base["backbone"])
    unknown = False
    for name in map(str, names):
        try:
            family_of(name)
        except BackboneError as error:
            unknown = True
            problems.add("space" if sampled else "recipe", f"backbone: {_why_unknown(name, error)}", "backbone")
    return not unknown


def _why_unknown(name: str, error: BackboneError) -> BackboneError:
    """The better of two messages: a name of no family is most likely misspelt, and timm has the nearest names."""
    try:
        check_backbone(name)
    except BackboneError as misspelt:
        return misspelt
    return error


class _Settler:
    """Settles one field after another; `kept` grows."""

    def __init__(
        self, base: Mapping[str, Scalar], explicit: Collection[str], lenient: bool, problems: Problems
    ) -> None:
        self.base = base
        self.explicit = explicit
        self.lenient = lenient
        self.problems = problems
        self.kept: dict[str, list[Dimension]] = {}

    def settle(self, field: str, candidates: Sequence[Dimension]) -> None:
        dimensions = [settled for candidate in candidates if (settled := self._decided(candidate)) is not None]
        for one, other in itertools.combinations(dimensions, 2):
            if not _exclude_each_other(one, other):
                self._note(
                    one,
                    f": {_title(one)} and {_title(other)} overlap; give each a `when` that excludes the other",
                )
        unfit = field in self.explicit and not any(
            candidate.default is not None or candidate.match or candidate.contains(self.base[field])
            for candidate in candidates
        )
        if unfit and not self.lenient:
            ranges = " or ".join(describe(candidate) for candidate in candidates)
            message = f"{field} = {self.base[field]} is not among what [space] gives: {ranges}"
            self.problems.add("recipe", message, field)
        self.kept[field] = [self._with_default(dimension) for dimension in _named(field, dimensions)]

    def _decided(self, dimension: Dimension) -> Dimension | None:
        """``dimension`` with only the conditions that are open; None if they can never hold together."""
        open_conditions: dict[str, tuple[Scalar, ...]] = {}
        for field, values in dimension.when:
            possible = self._values(dimension, field)
            if possible is None:
                continue
            held = tuple(value for value in values if value in possible)
            self._check_possible(dimension, field, values, possible)
            if not held:
                return None
            if set(held) != set(possible):
                open_conditions[field] = held
        if FAMILY in open_conditions and "backbone" in open_conditions:
            families = open_conditions.pop(FAMILY)
            names = tuple(name for name in open_conditions["backbone"] if family_of(str(name)) in families)
            if not names:
                if not self.lenient:
                    self._note(dimension, f": never active: none of these backbones is of family {listed(families)}")
                return None
            open_conditions["backbone"] = names
        return replace(dimension, when=tuple(open_conditions.items()))

    def _values(self, dimension: Dimension, field: str) -> list[Scalar] | None:
        """Every value that ``field`` can take; None where the question was a mistake, which is recorded."""
        behind = field_behind(field)
        if behind not in self.kept and behind not in self.explicit:
            self._note(dimension, f": when {field}: {behind} is neither sampled nor fixed in [recipe]")
            return None
        sources = self.kept.get(behind, [])
        if any(source.match for source in sources):
            if field == FAMILY:
                return list(FAMILIES)
            self._note(dimension, f": when {field}: with match, which backbones there are is not known; ask for family")
            return None
        # A field that is sampled only now and then is what [recipe] says the rest of the time.
        sometimes = all(source.when for source in sources)
        values: dict[Scalar, None] = {self.base[behind]: None} if sometimes else {}
        for source in sources:
            if source.choices is None and not source.integer:
                self._note(dimension, f": when {field}: {behind} is a continuous range; conditions need choices")
                return None
            values.update(dict.fromkeys(_all_values(source)))
        if field == FAMILY:
            return list(dict.fromkeys(setting_of({"backbone": value}, FAMILY) for value in values))
        return list(values)

    def _check_possible(
        self, dimension: Dimension, field: str, values: tuple[Scalar, ...], possible: Collection[Scalar]
    ) -> None:
        never = [value for value in values if value not in possible]
        # What is fixed decides and is no mistake. Of the families, which are few and always the same, some may lack.
        if self.lenient or not never or not self.kept.get(field_behind(field)):
            return
        if field != FAMILY or len(never) == len(values):
            self._note(
                dimension, f": when {field} = {listed(never)}: never the case, {field} is one of {listed(possible)}"
            )

    def _with_default(self, dimension: Dimension) -> Dimension:
        if dimension.default is not None:
            return dimension
        value = self.base[dimension.field]
        if dimension.match is not None:
            # Whether the filter finds it is known later, see `studies.backbones`.
            return replace(dimension, default=value) if "backbone" in self.explicit and not self.lenient else dimension
        return replace(dimension, default=value if dimension.contains(value) else _middle(dimension))

    def _note(self, dimension: Dimension, message: str) -> None:
        self.problems.add("space", f"{dimension.field}{message}", dimension.field)


def _exclude_each_other(one: Dimension, other: Dimension) -> bool:
    first, second = dict(one.when), dict(other.when)
    if any(not set(first[field]) & set(second[field]) for field in first.keys() & second.keys()):
        return True
    for mine, theirs in ((first, second), (second, first)):
        if "backbone" in mine and FAMILY in theirs:
            return not {family_of(str(name)) for name in mine["backbone"]} & set(theirs[FAMILY])
    return False


def _named(field: str, dimensions: Sequence[Dimension]) -> list[Dimension]:
    """Names where there are none: the field's, or field@values of the conditions where there are several ranges."""
    if len(dimensions) == 1:
        return [replace(dimension, name=dimension.name or field) for dimension in dimensions]
    suffixes = ["+".join("/".join(map(str, values)) for _, values in dimension.when) for dimension in dimensions]
    return [
        replace(
            dimension,
            name=dimension.name
            or f"{field}@{suffix if len(suffix) <= MAX_BRANCH_NAME and suffixes.count(suffix) == 1 else number}",
        )
        for number, (dimension, suffix) in enumerate(zip(dimensions, suffixes, strict=True), 1)
    ]


def _title(dimension: Dimension) -> str:
    return f"{describe(dimension)} ({describe_conditions(dimension) or 'always'})"


def _all_values(dimension: Dimension) -> Sequence[Scalar]:
    if dimension.choices is not None:
        return dimension.choices
    assert dimension.low is not None and dimension.high is not None, "a dimension without choices has a range"
    return range(int(dimension.low), int(dimension.high) + 1, int(dimension.step or 1))


def _middle(dimension: Dimension) -> Scalar:
    """The first choice, or the geometric or arithmetic middle of the range, rounded where it can be."""
    if dimension.choices is not None:
        return dimension.choices[0]
    low, high = dimension.low, dimension.high
    assert low is not None and high is not None, "a dimension without choices has a range"
    middle = math.sqrt(low) * math.sqrt(high) if dimension.log else low + (high - low) / 2
    if dimension.step is not None:
        middle = low + dimension.step * round((middle - low) / dimension.step)
    if dimension.integer:
        return min(max(round(middle), int(low)), int(high))
    rounded = float(f"{middle:.2g}")
    if dimension.contains(rounded):
        return rounded
    return min(max(middle, low), high)
