"""Dimensions of the search space: their values, when each is active, and the recipe that sampled values give.

A space is a tuple of dimensions, ordered so that a dimension follows all fields that its conditions refer to. A
dimension sets one field of the recipe. A field with several ranges, each under its own condition, has one dimension for
each (``optimizer.lr@adamw``, ``optimizer.lr@sgd``), of which at most one is active.

A dimension is one Optuna parameter of the same name. A range that can also be *off* is two parameters: a switch
(``augment.sepia.on``) and, while it is on, the range. A range alone would hardly ever be sampled at exactly 0.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from studies.errors import StudyError, listed, shown
from trainer.common.errors import suggest
from trainer.networks.backbones import family_of
from trainer.recipe.recipe import Scalar

FAMILY = "backbone.family"
"""The architecture family of the backbone: no field, but conditions may refer to it."""

GRID_TOLERANCE = 1e-6
"""Tolerance of a multiple of the step, in steps, for rounding: 0.1 + 0.2 is not 0.3."""

Condition = tuple[str, tuple[Scalar, ...]]
"""A field, or `FAMILY`, and its admitted values; see `holds`."""

SHOWN_PATTERNS = 6  # of a filter, in a line
SWITCH = ".on"
"""Suffix of a switch: added to the name of a range that can be off."""


@dataclass(frozen=True, kw_only=True)
class BackboneFilter:
    """Criteria for backbones, all of which a model has to meet; `studies.space.backbone_filter` finds the models."""

    match: tuple[str, ...] = ("*",)
    """Patterns over timm's model names, as for ``timm.list_models``; at least one has to match."""
    exclude: tuple[str, ...] = ()
    """Patterns of which none may match."""
    pretrained: bool = True
    """Only models with pre-trained weights; each set of weights is a separate backbone."""
    family: tuple[str, ...] = ()
    """Names of `trainer.networks.backbones.FAMILIES`; empty: all."""
    min_params: float | None = None
    """Minimum number of parameters, in millions, including a classifier of 1000 classes."""
    max_params: float | None = None
    """Maximum number of parameters, counted in the same way."""
    min_size: float | None = None
    """The network can be built from its weights for square images of a side, in pixels, from this to `max_size`."""
    max_size: float | None = None
    """The upper limit of that side."""
    license: tuple[str, ...] = ()
    """Licences of the weights, of which one has to match; see `studies.space.backbone_filter`. Empty: all."""
    one_per_architecture: bool = False
    """Of several sets of weights, only timm's default, or the first if the default does not pass the filter."""
    at_hand: bool = False
    """Only models whose weights are on this machine: in the folder of ``--weights`` or the Hugging Face cache."""


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """The values that trials sample for one field: ``choices``, or a closed interval ``low .. high``.

    ``match`` stands in for choices that are not known yet; `studies.resolve_backbones.check_backbones` replaces it.
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
    """Whether the interval holds whole numbers only."""
    off: Scalar | None = None
    """The field's value while the interval is switched off; None: it cannot be switched off."""
    when: tuple[Condition, ...] = ()
    """The dimension is active if all conditions hold; empty: always."""
    default: Scalar | None = None
    """The value in trial 0, contained in the dimension; None only while ``match`` is unresolved."""
    match: BackboneFilter | None = None

    @property
    def switch(self) -> Dimension | None:
        """The dimension that decides whether the range is on, sampled before it; None if it cannot be off."""
        if self.off is None:
            return None
        is_on = self.default != self.off
        return Dimension(name=self.name + SWITCH, field=self.field, choices=(False, True), default=is_on)

    @property
    def parameters(self) -> tuple[Dimension, ...]:
        """The Optuna parameters of this dimension: the switch, if there is one, and the choices or range."""
        switch = self.switch
        return (self,) if switch is None else (switch, replace(self, off=None))

    def contains(self, value: object) -> bool:
        """Whether ``value`` can be sampled from this dimension, or is its off value."""
        if self.choices is not None:
            return any(type(choice) is type(value) and choice == value for choice in self.choices)
        if self.low is None or self.high is None or isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if self.off is not None and value == self.off:
            return True
        if not self.low <= value <= self.high or (self.integer and value != int(value)):
            return False
        return self.step is None or is_multiple(value - self.low, self.step)

    def is_active(self, settings: Mapping[str, Scalar]) -> bool:
        """Whether the conditions hold for flat ``settings``, which must include every field of the conditions."""
        return all(holds(setting_of(settings, field), field, values) for field, values in self.when)


def field_of(parameter: str) -> str:
    """The flat recipe field that a parameter sets, by the name of its dimension or switch."""
    return parameter.partition("@")[0].removesuffix(SWITCH)


def is_pattern(value: Scalar) -> bool:
    """Whether a condition's value is a pattern over backbones: ``convnext*``, or ``!vit*`` for all others."""
    return isinstance(value, str) and any(mark in value for mark in "!*?[")


def holds(value: Scalar, field: str, wanted: Sequence[Scalar]) -> bool:
    """Whether the condition "``field`` is one of ``wanted``" holds for ``value``.

    For the backbone, ``wanted`` may hold patterns. A pattern with a leading ``!`` excludes the names that it matches;
    if all patterns are such, every other name is wanted.
    """
    if field != "backbone":
        return value in wanted
    name, patterns = str(value), [str(pattern) for pattern in wanted]
    if any(fnmatch.fnmatchcase(name, pattern[1:]) for pattern in patterns if pattern.startswith("!")):
        return False
    positive = [pattern for pattern in patterns if not pattern.startswith("!")]
    return not positive or any(fnmatch.fnmatchcase(name, pattern) for pattern in positive)


def is_multiple(length: float, step: float) -> bool:
    """Whether ``length`` is a whole number of steps, within `GRID_TOLERANCE`."""
    steps = length / step
    return math.isfinite(steps) and abs(steps - round(steps)) <= GRID_TOLERANCE


def setting_of(settings: Mapping[str, Scalar], field: str) -> Scalar:
    """The value that a condition on ``field`` compares.

    Raises:
        BackboneError: ``field`` is `FAMILY` and no family is known for the backbone.
    """
    return family_of(str(settings["backbone"])) if field == FAMILY else settings[field]


def field_behind(field: str) -> str:
    """The recipe field that decides a condition on ``field``."""
    return "backbone" if field == FAMILY else field


def default_of(dimension: Dimension) -> Scalar:
    """The value of a resolved dimension in trial 0."""
    assert dimension.default is not None, "dimensions of a resolved study have a default"
    return dimension.default


def choose(
    space: Sequence[Dimension], fixed: Mapping[str, Scalar], pick: Callable[[Dimension], Scalar]
) -> dict[str, Scalar]:
    """Values by parameter name: ``pick`` is called once for each active parameter, in order, and returns its value."""
    settings = dict(fixed)
    params: dict[str, Scalar] = {}
    for dimension in space:
        if not dimension.is_active(settings):
            continue
        *switches, domain = dimension.parameters
        for switch in switches:
            params[switch.name] = pick(switch)
        if dimension.off is not None and not params[dimension.name + SWITCH]:
            settings[dimension.field] = dimension.off
        else:
            settings[dimension.field] = params[domain.name] = pick(domain)
    return params


def assemble(
    space: Sequence[Dimension], params: Mapping[str, Scalar], fixed: Mapping[str, Scalar]
) -> dict[str, Scalar]:
    """The flat settings of the sampled values ``params``, by parameter name; other fields are as in ``fixed``.

    Raises:
        StudyError: ``params`` does not fit this space: values are missing, superfluous or outside their dimension.
    """
    settings = dict(fixed)
    problems: list[str] = []
    used: set[str] = set()
    for dimension in space:
        if dimension.is_active(settings):
            value = _sampled(dimension, params, used, problems)
            if value is not None:
                settings[dimension.field] = value
    names = [parameter.name for dimension in space for parameter in dimension.parameters]
    for name in sorted(params.keys() - used):
        what = "is not sampled under these settings" if name in names else f"is no dimension{suggest(name, names)}"
        problems.append(f"{name} {what}")
    if problems:
        raise StudyError(*problems)
    return settings


def _sampled(dimension: Dimension, params: Mapping[str, Scalar], used: set[str], problems: list[str]) -> Scalar | None:
    """The value of an active dimension; None after a problem. Adds the names of its parameters to ``used``."""
    value: Scalar | None = None
    for parameter in dimension.parameters:
        if parameter.name not in params:
            problems.append(f"no value for {parameter.name}, which is sampled here")
            return None
        used.add(parameter.name)
        value = params[parameter.name]
        if not parameter.contains(value):
            problems.append(f"{parameter.name} cannot be {shown(value)}; it is sampled from {describe(parameter)}")
            return None
        if parameter.name != dimension.name and not value:
            return dimension.off
    return value


def describe(dimension: Dimension) -> str:
    """The values of a dimension in one line: ``1e-05 .. 0.003, log``, ``0.1 .. 0.5, or off (0.0)``."""
    if dimension.match is not None:
        return describe_filter(dimension.match)
    if dimension.choices is not None:
        return written(dimension.choices)
    kinds = [f"{dimension.low} .. {dimension.high}"]
    if dimension.log:
        kinds.append("log")
    if dimension.step is not None:
        kinds.append(f"step {dimension.step}")
    if dimension.off is not None:
        kinds.append(f"or off ({dimension.off})")
    return ", ".join(kinds)


def describe_filter(chosen: BackboneFilter) -> str:
    """The criteria of a filter in one line: ``timm models resnet18.* with pre-trained weights, of family resnet``."""
    words = [f"timm models {_patterns(chosen.match)}"]
    if chosen.exclude:
        words[0] += f" except {_patterns(chosen.exclude)}"
    if chosen.pretrained:
        words[0] += " with pre-trained weights"
    if chosen.family:
        words.append(f"of family {' or '.join(chosen.family)}")
    if chosen.license:
        words.append(f"under the licence {' or '.join(chosen.license)}".replace("!", "not "))
    if bounds := _bounds(chosen.min_params, chosen.max_params):
        words.append(f"{bounds} million parameters")
    if _bounds(chosen.min_size, chosen.max_size):
        words.append(f"for images of {describe_size(chosen)}")
    if chosen.one_per_architecture:
        words.append("one set of weights per architecture")
    if chosen.at_hand:
        words.append("whose weights are on this machine")
    return ", ".join(words)


def _patterns(patterns: Sequence[str]) -> str:
    rest = len(patterns) - SHOWN_PATTERNS
    return (
        listed(patterns[:SHOWN_PATTERNS])
        + f" and {rest} more patterns" * (rest > 1)
        + f", {patterns[-1]}" * (rest == 1)
    )


def describe_size(chosen: BackboneFilter) -> str:
    """The limits of the image size in a filter: ``at most 224 pixels``; it has one at least."""
    return f"{_bounds(chosen.min_size, chosen.max_size)} pixels"


def _bounds(low: float | None, high: float | None) -> str:
    if low is not None and low == high:
        return f"{low:g}"
    bounds = [f"at least {low:g}"] if low is not None else []
    bounds += [f"at most {high:g}"] if high is not None else []
    return " and ".join(bounds)


def written(values: Iterable[Scalar], between: str = ", ") -> str:
    """Values as in a study file, in one line: ``adamw, sgd``, ``false, true``."""
    return between.join(str(value).lower() if isinstance(value, bool) else str(value) for value in values)


def describe_conditions(when: Iterable[Condition]) -> str:
    """Conditions in one line: ``optimizer.name = adamw or radam``; empty if there are none."""
    return " and ".join(
        f"{field} = {written(values, ' or ')}".replace("= !", "= not ").replace("or !", "nor ")
        for field, values in when
    )


def branches(space: Sequence[Dimension]) -> Iterator[tuple[str, list[Dimension]]]:
    """The dimensions of each sampled field, in the order of the space."""
    fields = dict.fromkeys(dimension.field for dimension in space)
    for field in fields:
        yield field, [dimension for dimension in space if dimension.field == field]
