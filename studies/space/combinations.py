"""Check that no trial combines settings that exclude each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, product

from studies.errors import Problems
from studies.space.dimension import Condition, Dimension, field_behind, holds, setting_of
from trainer.recipe.exclusions import EXCLUSIONS
from trainer.recipe.recipe import Scalar

When = tuple[Condition, ...]


def check_combinations(space: Sequence[Dimension], base: Mapping[str, Scalar], problems: Problems) -> None:
    """Record every pair of `EXCLUSIONS` that some trial could combine.

    Args:
        space: settled, with or without a backbone filter.
        base: complete flat settings: the value of a field where the field is not sampled.
    """
    sampled = {dimension.field for dimension in space}
    for each in EXCLUSIONS:
        if not can_occur(space, base, each.pair):
            continue
        hint = (
            f", or sample {each.field} only when = {{ {each.other} = [...] }}, without {each.excluded}"
            if each.other in sampled
            else ""
        )
        problems.add("space" if each.field in sampled else "recipe", f"{each}{hint}", each.field)


def can_occur(space: Sequence[Dimension], base: Mapping[str, Scalar], wanted: Mapping[str, Scalar]) -> bool:
    """Whether some trial may have all ``wanted`` values.

    Conditions are compared with the wanted values and with each other, not with the conditions of the fields to which
    they refer. Those on backbones are compared with a wanted backbone only. So the answer may be True for a combination
    that no trial reaches, never False for one that a trial does.

    Raises:
        BackboneError: no family is known for the wanted backbone.
    """
    return any(
        _may_hold([condition for when in chosen for condition in when], wanted)
        for chosen in product(*(list(_ways(space, base, wanted, field)) for field in wanted))
    )


def _ways(
    space: Sequence[Dimension], base: Mapping[str, Scalar], wanted: Mapping[str, Scalar], field: str
) -> list[When]:
    """The conditions of each way in which ``field`` gets its wanted value."""
    own = [dimension for dimension in space if dimension.field == field]
    ways = [dimension.when for dimension in own if dimension.contains(wanted[field])]
    # The value of [recipe] counts where no dimension is active.
    is_sampled = any(
        all(
            field_behind(name) in wanted and holds(setting_of(wanted, name), name, values)
            for name, values in dimension.when
        )
        for dimension in own
    )
    return ways if is_sampled or base[field] != wanted[field] else [*ways, ()]


def _may_hold(conditions: Sequence[Condition], wanted: Mapping[str, Scalar]) -> bool:
    known = [(name, values) for name, values in conditions if field_behind(name) in wanted]
    if not all(holds(setting_of(wanted, name), name, values) for name, values in known):
        return False
    return all(
        set(values) & set(others)
        for (name, values), (other, others) in combinations(conditions, 2)
        if name == other and name != "backbone"
    )
