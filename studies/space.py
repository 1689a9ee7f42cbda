"""The search space: dimensions, when each is active, and how sampled values become settings of a recipe.

A space is a tuple of dimensions, ordered so that a dimension comes after everything its conditions speak of. A
dimension is one Optuna parameter. It sets one field of the recipe; where a field has a range of its own under each of
several conditions, each range is a dimension of its own (``optimizer.lr@adamw``, ``optimizer.lr@sgd``), of which at
most one is active.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from studies.errors import StudyError, listed, shown
from trainer.backbones import family_of
from trainer.recipe import Scalar, suggest

FAMILY = "backbone.family"
"""Not a field, but something conditions may ask about: the architecture family of the backbone."""

GRID_TOLERANCE = 1e-6
"""How far from a multiple of the step a number may lie, in steps: 0.1 + 0.2 is not 0.3."""


@dataclass(frozen=True, kw_only=True)
class BackboneFilter:
    """Backbones described by patterns over timm's model names, as ``timm.list_models`` takes them."""

    match: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    pretrained: bool = True


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One sampled parameter: either ``choices``, or a closed interval ``low .. high`` (both may be whole numbers).

    ``match`` stands for choices that are not known yet; `studies.backbones.check_backbones` replaces it.
    """

    name: str
    """The Optuna parameter: the field, or field@branch where the field has several ranges."""
    field: str
    """The flat recipe field that it sets."""
    choices: tuple[Scalar, ...] | None = None
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    integer: bool = False
    when: tuple[tuple[str, tuple[Scalar, ...]], ...] = ()
    """(field or `FAMILY`, values) pairs, all of which must hold; none: always active."""
    default: Scalar | None = None
    """The value in trial 0, always one that the dimension contains; None only while ``match`` is unresolved."""
    match: BackboneFilter | None = None

    def contains(self, value: object) -> bool:
        """Whether this dimension could have proposed ``value``."""
        if self.choices is not None:
            return any(type(choice) is type(value) and choice == value for choice in self.choices)
        if self.low is None or self.high is None or isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not self.low <= value <= self.high or (self.integer and value != int(value)):
            return False
        return self.step is None or is_multiple(value - self.low, self.step)

    def is_active(self, settings: Mapping[str, Scalar]) -> bool:
        """Whether the conditions hold for these flat settings, which must hold every field they speak of."""
        return all(setting_of(settings, field) in values for field, values in self.when)


def is_multiple(length: float, step: float) -> bool:
    """Whether ``length`` is a whole number of steps, up to rounding."""
    steps = length / step
    return math.isfinite(steps) and abs(steps - round(steps)) <= GRID_TOLERANCE


def setting_of(settings: Mapping[str, Scalar], field: str) -> Scalar:
    """What a condition on ``field`` looks at.

    Raises:
        BackboneError: ``field`` is `FAMILY` and no family is known for the backbone.
    """
    return family_of(str(settings["backbone"])) if field == FAMILY else settings[field]


def field_behind(field: str) -> str:
    """The recipe field that decides about a condition on ``field``."""
    return "backbone" if field == FAMILY else field


def active_dimensions(
    space: Sequence[Dimension], params: Mapping[str, Scalar], fixed: Mapping[str, Scalar]
) -> list[Dimension]:
    """The dimensions that are certainly active, given the values chosen so far.

    Args:
        space: a whole space, in order.
        params: values by dimension name, of dimensions that are active.
        fixed: flat settings that hold wherever nothing is sampled.

    Returns:
        In order. A dimension whose conditions wait for a value that ``params`` lacks is left out: ask again later.
    """
    settings = dict(fixed)
    undecided: set[str] = set()
    active: list[Dimension] = []
    for dimension in space:
        if any(field_behind(field) in undecided for field, _ in dimension.when):
            # Whether it is active is open, hence also what its field will be.
            undecided.add(dimension.field)
        elif dimension.is_active(settings):
            active.append(dimension)
            if dimension.name in params:
                settings[dimension.field] = params[dimension.name]
            else:
                undecided.add(dimension.field)
    return active


def choose(
    space: Sequence[Dimension], fixed: Mapping[str, Scalar], pick: Callable[[Dimension], Scalar]
) -> dict[str, Scalar]:
    """Values by dimension name: ``pick`` is asked once for each dimension that is active, in order."""
    settings = dict(fixed)
    params: dict[str, Scalar] = {}
    for dimension in space:
        if dimension.is_active(settings):
            settings[dimension.field] = params[dimension.name] = pick(dimension)
    return params


def assemble(
    space: Sequence[Dimension], params: Mapping[str, Scalar], fixed: Mapping[str, Scalar]
) -> dict[str, Scalar]:
    """The flat settings that sampled ``params`` stand for, on top of ``fixed``.

    Raises:
        StudyError: ``params`` is not what this space samples: a value outside its dimension, one missing, one too many.
    """
    settings = dict(fixed)
    problems: list[str] = []
    unused = set(params)
    for dimension in space:
        if not dimension.is_active(settings):
            continue
        if dimension.name not in params:
            problems.append(f"no value for {dimension.name}, which is sampled here")
            continue
        unused.discard(dimension.name)
        value = params[dimension.name]
        if not dimension.contains(value):
            problems.append(f"{dimension.name} cannot be {shown(value)}; it is sampled from {describe(dimension)}")
            continue
        settings[dimension.field] = value
    names = [dimension.name for dimension in space]
    for name in sorted(unused):
        what = "is not sampled under these settings" if name in names else f"is no dimension{suggest(name, names)}"
        problems.append(f"{name} {what}")
    if problems:
        raise StudyError(*problems)
    return settings


def describe(dimension: Dimension) -> str:
    """What a dimension is sampled from, in one line: ``1e-05 .. 0.003, log`` or ``adamw, sgd``."""
    if dimension.match is not None:
        chosen = dimension.match
        exclude = f" except {listed(chosen.exclude)}" if chosen.exclude else ""
        pretrained = ", with pre-trained weights" if chosen.pretrained else ""
        return f"timm models {listed(chosen.match)}{exclude}{pretrained}"
    if dimension.choices is not None:
        return listed(dimension.choices)
    kinds = [f"{dimension.low} .. {dimension.high}"]
    if dimension.log:
        kinds.append("log")
    if dimension.step is not None:
        kinds.append(f"step {dimension.step}")
    return ", ".join(kinds)


def describe_conditions(dimension: Dimension) -> str:
    """When a dimension is active, in one line; empty where always: ``optimizer.name = adamw or radam``."""
    return " and ".join(f"{field} = {' or '.join(map(str, values))}" for field, values in dimension.when)


def branches(space: Sequence[Dimension]) -> Iterator[tuple[str, list[Dimension]]]:
    """The dimensions of each sampled field, in the order of the space."""
    fields = dict.fromkeys(dimension.field for dimension in space)
    for field in fields:
        yield field, [dimension for dimension in space if dimension.field == field]
