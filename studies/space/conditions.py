"""Make a search space of candidate dimensions: decide their conditions, order them, and give names and defaults.

Fixed fields decide the conditions that refer to them: a dimension that can never be active is dropped, and a condition
that always holds is removed. The remaining dimensions are exactly the ones that trials sample.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from studies.errors import Problems, listed
from studies.space.dimension import (
    FAMILY,
    Dimension,
    describe,
    describe_conditions,
    field_behind,
    holds,
    is_pattern,
    setting_of,
    written,
)
from trainer.common.errors import BackboneError
from trainer.networks.backbones import FAMILIES, check_backbone, family_of
from trainer.recipe.recipe import Scalar

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
    """Make a search space of candidate dimensions.

    Args:
        candidates: by field, from `studies.space.parse_dimensions.read_dimensions`.
        base: complete flat settings: the value of a field where the field is not sampled.
        explicit: the fields of ``base`` that the study sets; the others have their default.
        lenient: conditions that can never hold, and values of ``base`` outside their ranges, are ignored, as after an
            override; otherwise they are mistakes.
        problems: mistakes are recorded here; after one, the result is not usable.
    """
    order = _ordered(candidates, problems)
    if order is None or not _families_known(candidates, base, problems):
        return ()
    settler = _Settler(base, explicit, lenient, problems)
    for field in order:
        settler.settle(field, candidates[field])
    space = tuple(dimension for dimensions in settler.kept.values() for dimension in dimensions)
    names = [parameter.name for dimension in space for parameter in dimension.parameters]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            problems.add("space", f"{name} is the name of {names.count(name)} parameters", name.partition("@")[0])
    return space


def _ordered(candidates: Candidates, problems: Problems) -> list[str] | None:
    """Fields in file order, except that a field follows all fields of its conditions; None if they form a cycle."""
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
    """Whether every named backbone has a known family, if a condition refers to the family."""
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
    """The better of two errors: a name without a family is probably misspelt, and timm's error suggests names."""
    try:
        check_backbone(name)
    except BackboneError as misspelt:
        return misspelt
    return error


class _Settler:
    """Settles one field after another; `kept` holds the dimensions settled so far, by field."""

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
            if not self._exclude_each_other(one, other):
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
        """``dimension`` with the undecided conditions only; None if its conditions can never hold together."""
        open_conditions: dict[str, tuple[Scalar, ...]] = {}
        for field, values in dimension.when:
            if field == "backbone" and self._is_filter("backbone") and all(map(is_pattern, values)):
                open_conditions[field] = values
                continue
            possible = self._values(dimension, field)
            if possible is None:
                continue
            self._check_possible(dimension, field, values, possible)
            held = [value for value in possible if holds(value, field, values)]
            if not held:
                return None
            if len(held) < len(possible):
                # A pattern is kept, because it is shorter than the names that it matches.
                open_conditions[field] = tuple(value for value in values if value in held or is_pattern(value))
        decided = replace(dimension, when=tuple(open_conditions.items()))
        backbones = None if self._is_filter("backbone") else self._backbones()
        if backbones is not None and {"backbone", FAMILY} <= open_conditions.keys():
            names = _held_by(decided, backbones)
            if not names:
                if not self.lenient:
                    families = listed(open_conditions[FAMILY])
                    self._note(dimension, f": never active: none of these backbones is of family {families}")
                return None
            return replace(decided, when=_without_needless(decided, backbones, names))
        return decided

    def _is_filter(self, field: str) -> bool:
        return any(source.match for source in self.kept.get(field, []))

    def _backbones(self) -> list[str]:
        """Every backbone that a trial can have; valid only without an unresolved filter."""
        sources = self.kept.get("backbone", [])
        names = [str(name) for source in sources for name in source.choices or ()]
        return list(dict.fromkeys(names + [str(self.base["backbone"])] * all(source.when for source in sources)))

    def _values(self, dimension: Dimension, field: str) -> list[Scalar] | None:
        """Every value that ``field`` can take; None if a condition on it is a mistake, which is recorded."""
        behind = field_behind(field)
        if behind not in self.kept and behind not in self.explicit:
            self._note(dimension, f": when {field}: {behind} is neither sampled nor fixed in [recipe]")
            return None
        sources = self.kept.get(behind, [])
        if self._is_filter(behind):
            if field == FAMILY:
                return list(dict.fromkeys(family for s in sources if s.match for family in s.match.family or FAMILIES))
            self._note(
                dimension,
                f": when {field}: the backbones of match are not known yet; use family, or patterns such as convnext*",
            )
            return None
        # Where none of its conditions holds, a sampled field has its value of [recipe].
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

    def _exclude_each_other(self, one: Dimension, other: Dimension) -> bool:
        first, second = dict(one.when), dict(other.when)
        if any(
            not set(first[field]) & set(second[field])
            for field in first.keys() & second.keys()
            if field != "backbone" or not any(map(is_pattern, first[field] + second[field]))
        ):
            return True
        if not self._is_filter("backbone"):
            backbones = self._backbones()
            return not set(_held_by(one, backbones)) & set(_held_by(other, backbones))
        # Patterns are compared once the filter is resolved, by the names that they match.
        return "backbone" in first or "backbone" in second

    def _check_possible(
        self, dimension: Dimension, field: str, values: tuple[Scalar, ...], possible: Collection[Scalar]
    ) -> None:
        # A pattern may exclude names that do not occur.
        wanted = [value for value in values if not (isinstance(value, str) and value.startswith("!"))]
        never = [value for value in wanted if not any(holds(other, field, [value]) for other in possible)]
        # A fixed field decides its conditions without a mistake. A condition may list families that do not occur,
        # since the families are always the same few.
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
            # Checked against the models found once the filter is resolved, see `studies.resolve_backbones`.
            return replace(dimension, default=value) if "backbone" in self.explicit and not self.lenient else dimension
        return replace(dimension, default=value if dimension.contains(value) else _middle(dimension))

    def _note(self, dimension: Dimension, message: str) -> None:
        self.problems.add("space", f"{dimension.field}{message}", dimension.field)


def _held_by(dimension: Dimension, backbones: Sequence[str]) -> list[str]:
    """The ``backbones`` that meet a dimension's conditions on backbone and family."""
    asked = [(field, values) for field, values in dimension.when if field_behind(field) == "backbone"]
    return [
        name
        for name in backbones
        if all(holds(setting_of({"backbone": name}, field), field, values) for field, values in asked)
    ]


def _without_needless(
    dimension: Dimension, backbones: Sequence[str], names: Sequence[str]
) -> tuple[tuple[str, tuple[Scalar, ...]], ...]:
    """The conditions, without the one on the family if the one on the backbone alone admits the same ``names``."""
    when = dict(dimension.when)
    if not any(map(is_pattern, when["backbone"])):
        when["backbone"] = tuple(names)
    without = replace(dimension, when=tuple((field, values) for field, values in when.items() if field != FAMILY))
    return without.when if _held_by(without, backbones) == list(names) else dimension.when


def _named(field: str, dimensions: Sequence[Dimension]) -> list[Dimension]:
    """Fill in missing names: the field, or ``field@values`` of the conditions where the field has several ranges."""
    if len(dimensions) == 1:
        return [replace(dimension, name=dimension.name or field) for dimension in dimensions]
    suffixes = [
        "+".join(re.sub(r"[^A-Za-z0-9_.@/+-]", "", written(values, "/").replace("!", "not-")) for _, values in d.when)
        for d in dimensions
    ]
    return [
        replace(
            dimension,
            name=dimension.name
            or f"{field}@{suffix if len(suffix) <= MAX_BRANCH_NAME and suffixes.count(suffix) == 1 else number}",
        )
        for number, (dimension, suffix) in enumerate(zip(dimensions, suffixes, strict=True), 1)
    ]


def _title(dimension: Dimension) -> str:
    return f"{describe(dimension)} ({describe_conditions(dimension.when) or 'always'})"


def _all_values(dimension: Dimension) -> Sequence[Scalar]:
    if dimension.choices is not None:
        return dimension.choices
    assert dimension.low is not None and dimension.high is not None, "a dimension without choices has a range"
    numbers = range(int(dimension.low), int(dimension.high) + 1, int(dimension.step or 1))
    return [*numbers, *([] if dimension.off is None else [dimension.off])]


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
