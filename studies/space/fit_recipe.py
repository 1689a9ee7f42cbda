"""Convert a wanted recipe into the parameter values that a study has to sample for it.

Portfolios, recipes of earlier studies and recipes on the command line give values of recipe fields. Optuna needs values
of its parameters: a field may have several (``optimizer.lr@adamw``, ``optimizer.lr@sgd``) or two at once (a switch and
a range). Values that do not fit are reported here, because Optuna would run a number outside its range silently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from studies.errors import shown
from studies.space.dimension import (
    SWITCH,
    Condition,
    Dimension,
    default_of,
    describe,
    describe_conditions,
    field_behind,
    holds,
    setting_of,
    written,
)
from trainer.recipe.recipe import Scalar


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The closest that a space comes to a wanted recipe."""

    params: Mapping[str, Scalar]
    """Values by parameter name; they give the wanted recipe only if there are no `misfits`."""
    settings: Mapping[str, Scalar]
    """The flat recipe of these values."""
    misfits: tuple[str, ...]
    """The wanted values that the space cannot give, one sentence each, beginning with the field."""


def fit(
    space: Sequence[Dimension],
    fixed: Mapping[str, Scalar],
    wanted: Mapping[str, Scalar],
    *,
    like: Mapping[str, Scalar] | None = None,
    when: Sequence[Condition] = (),
) -> Fit | None:
    """Find the sampled values with which every field of ``wanted`` has its wanted value.

    Args:
        space: resolved, see `studies.spec.StudySpec.is_resolved`.
        fixed: complete flat settings: the value of a field where the field is not sampled.
        wanted: flat settings, as far as they matter.
        like: flat settings that the other sampled fields take where their range allows; the rest take their defaults.
        when: conditions that the recipe has to meet. A sampled field of a condition takes the first value that meets
            it, tried in this order: ``like``, default, all others.

    Returns:
        None if no recipe of this space meets ``when``.

    Raises:
        BackboneError: ``when`` has a condition on the family, and the family of a backbone is unknown.
    """
    settings, params, misfits = dict(fixed), dict[str, Scalar](), dict[str, str]()
    for dimension in space:
        if not dimension.is_active(settings):
            continue
        field = dimension.field
        if field in wanted and not dimension.contains(wanted[field]):
            misfits[field] = f"{field} = {shown(wanted[field])} is not among {describe(dimension)}"
        if field in wanted and field not in misfits:
            value = wanted[field]
        else:
            value = _steered(dimension, settings, when, like or {})
        settings[field] = value
        params |= parameters_for(dimension, value)
    if not all(holds(setting_of(settings, field), field, values) for field, values in when):
        return None
    for field, value in wanted.items():
        if field not in misfits and settings[field] != value:
            misfits[field] = _why_not(space, field, value, settings[field])
    return Fit(params=params, settings=settings, misfits=tuple(misfits.values()))


def parameters_for(dimension: Dimension, value: Scalar) -> dict[str, Scalar]:
    """The values of `Dimension.parameters` that give the field ``value``, which the dimension contains."""
    if dimension.off is None:
        return {dimension.name: value}
    is_on = value != dimension.off
    return {dimension.name + SWITCH: is_on} | ({dimension.name: value} if is_on else {})


def starting_at(
    space: Sequence[Dimension], fixed: Mapping[str, Scalar], recipe: Mapping[str, Scalar]
) -> tuple[tuple[Dimension, ...], list[str]]:
    """The same space with the values of a flat ``recipe`` as defaults of the dimensions that are active for them.

    Returns:
        The space, and the fields whose range does not contain the recipe's value; these keep their defaults.
    """
    settings, moved, lost = dict(fixed), list[Dimension](), list[str]()
    for dimension in space:
        if dimension.is_active(settings):
            value = recipe.get(dimension.field, default_of(dimension))
            if dimension.contains(value):
                dimension = replace(dimension, default=value)
            else:
                lost.append(dimension.field)
            settings[dimension.field] = default_of(dimension)
        moved.append(dimension)
    return tuple(moved), lost


def _steered(
    dimension: Dimension, settings: Mapping[str, Scalar], when: Sequence[Condition], like: Mapping[str, Scalar]
) -> Scalar:
    """The first candidate value that meets the conditions on this field; if none does, the first candidate."""
    field = dimension.field
    asked = [(name, values) for name, values in when if field_behind(name) == field]
    offered = [like[field]] if field in like else []
    offered += [default_of(dimension), *(dimension.choices or ())]
    offered += [value for name, values in asked if name == field for value in values]
    possible = [value for value in offered if dimension.contains(value)]

    def is_met(value: Scalar) -> bool:
        return all(holds(setting_of({**settings, field: value}, name), name, values) for name, values in asked)

    return next((value for value in possible if is_met(value)), possible[0])


def _why_not(space: Sequence[Dimension], field: str, value: Scalar, instead: Scalar) -> str:
    sampled = [dimension for dimension in space if dimension.field == field]
    given, is_now = written([value]), written([instead])
    if not sampled:
        return f"{field} = {given} is not sampled, but {is_now} in every trial"
    conditions = " or ".join(dict.fromkeys(describe_conditions(dimension.when) for dimension in sampled))
    return f"{field} = {given} is sampled only when {conditions}; here it is {is_now}"
