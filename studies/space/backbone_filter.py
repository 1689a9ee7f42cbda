"""Backbone filters: read one from a study file, and find its models in the installed timm.

A licence in a filter is the name that timm gives to the licence of the weights, a pattern over these names (``cc-*``),
`PERMISSIVE_LICENSE`, or ``unknown`` where timm states none. A leading ``!`` excludes.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from studies.errors import shown
from studies.space.dimension import BackboneFilter, describe_size
from trainer.common.errors import BackboneError, suggest
from trainer.networks.backbones import FAMILIES, PERMISSIVE, UNKNOWN_LICENSE, family_of, license_of
from trainer.recipe.recipe import RecipeError

FILTER_KEYS = (
    "match",
    "exclude",
    "pretrained",
    "family",
    "min_params",
    "max_params",
    "min_size",
    "max_size",
    "license",
    "one_per_architecture",
    "at_hand",
)
"""The keys of a filter in a study file; each is a field of `BackboneFilter`."""

PERMISSIVE_LICENSE = "permissive"
"""Stands for each of `trainer.networks.backbones.PERMISSIVE`."""

LICENSE_PATTERN = re.compile(r"!?[a-z0-9.*-]{1,60}")
BACKBONE_PATTERN = re.compile(r"[A-Za-z0-9_.*?\[\]!-]{1,100}")

MAX_PARAMS = 1e6  # largest value of min_params and max_params, in millions; no network has as many parameters
MAX_SIZE = 1e5  # largest value of min_size and max_size, in pixels


def read_filter(table: Mapping[str, object]) -> BackboneFilter:
    """Read the filter of one entry of ``[space]``; keys outside `FILTER_KEYS` are ignored.

    Raises:
        RecipeError: a key has an invalid value.
    """
    settings: dict[str, Any] = {key: table[key] for key in FILTER_KEYS if key in table}
    for key in settings.keys() & {"match", "exclude", "family", "license"}:
        settings[key] = _read_list(key, settings[key])
    for key in settings.keys() & {"pretrained", "one_per_architecture", "at_hand"}:
        if not isinstance(settings[key], bool):
            raise RecipeError(f"{key} is true or false, not {shown(settings[key])}")
    for key in settings.keys() & {"min_params", "max_params"}:
        settings[key] = _read_bound(key, settings[key], "a number of millions", MAX_PARAMS)
    for key in settings.keys() & {"min_size", "max_size"}:
        settings[key] = _read_bound(key, settings[key], "a number of pixels", MAX_SIZE)
    for quantity, largest in (("params", MAX_PARAMS), ("size", MAX_SIZE)):
        low, high = settings.get(f"min_{quantity}", 0), settings.get(f"max_{quantity}", largest)
        if low > high:
            raise RecipeError(f"min_{quantity} = {low:g} lies above max_{quantity} = {high:g}")
    return BackboneFilter(**settings)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a filter finds."""

    names: list[str]
    """The models that pass, in timm's order."""
    left_out: dict[str, str] = field(default_factory=dict)
    """The reason for each model that meets the other criteria but cannot be used: it is no classifier, or it cannot be
    built for images of the wanted size."""


def find_backbones(criteria: BackboneFilter) -> Found:
    """The classifiers of the installed timm that pass a filter.

    Imports timm, which takes seconds.

    Raises:
        BackboneError: no weights have one of the filter's licences.
    """
    import timm

    _check_licenses(criteria)
    names = timm.list_models(
        list(criteria.match), pretrained=criteria.pretrained, exclude_filters=list(criteria.exclude)
    )
    names = [name for name in names if _fits(name, criteria)]
    reasons = {name: reason for name in names if (reason := _obstacle(name, criteria))}
    found = [name for name in names if name not in reasons]
    return Found(names=_one_per_architecture(found) if criteria.one_per_architecture else found, left_out=reasons)


def _fits(name: str, criteria: BackboneFilter) -> bool:
    from trainer.networks.architectures import architecture_of

    if criteria.family and known_family(name) not in criteria.family:
        return False
    if criteria.license and not _has_license(name, criteria.license):
        return False
    # This check is last, because it builds a model that the table of architectures lacks.
    return _within(architecture_of(name).parameters / 1e6, criteria.min_params, criteria.max_params)


def _obstacle(name: str, criteria: BackboneFilter) -> str:
    """Why a model cannot be used that meets the other criteria; empty if it can."""
    from trainer.networks.architectures import architecture_of

    if not architecture_of(name).classifies:
        return "no class scores (encoders)"
    low, high = criteria.min_size, criteria.max_size
    if (low is None and high is None) or _takes_size_within(name, low, high):
        return ""
    return f"unusable for images of {describe_size(criteria)}"


def _takes_size_within(name: str, low: float | None, high: float | None) -> bool:
    from timm.models import get_pretrained_cfg

    from trainer.networks.architectures import TRIED_SIZES, takes_size

    config = get_pretrained_cfg(name)
    native = config.input_size[-1] if config is not None else TRIED_SIZES[0]
    bounds = [round(bound) for bound in (low, high) if bound is not None and bound >= 1]
    sizes = [size for size in (native, *TRIED_SIZES, *bounds) if _within(size, low, high)]
    return config is not None and any(takes_size(name, size) for size in sizes)


def _has_license(name: str, wanted: tuple[str, ...]) -> bool:
    given = license_of(name)
    excluded = [pattern[1:] for pattern in wanted if pattern.startswith("!")]
    admitted = [pattern for pattern in wanted if not pattern.startswith("!")]
    return not _is_license(given, excluded) and (not admitted or _is_license(given, admitted))


def _is_license(given: str, patterns: list[str]) -> bool:
    return any(
        given in PERMISSIVE if pattern == PERMISSIVE_LICENSE else fnmatch.fnmatchcase(given, pattern)
        for pattern in patterns
    )


def _check_licenses(criteria: BackboneFilter) -> None:
    import timm

    if not criteria.license:
        return
    known = sorted({license_of(name) for name in timm.list_models(pretrained=True)} | {UNKNOWN_LICENSE})
    for pattern in criteria.license:
        name = pattern.removeprefix("!")
        if not any(_is_license(given, [name]) for given in known):
            valid = [PERMISSIVE_LICENSE, *known]
            raise BackboneError(f"no weights have the licence {name!r}{suggest(name, valid)}")


def known_family(name: str) -> str | None:
    """The family of a model; None if no rule covers it, as for an architecture of a newer timm."""
    try:
        return family_of(name)
    except BackboneError:
        return None


def _within(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _one_per_architecture(names: list[str]) -> list[str]:
    """Keep one set of weights of each architecture: timm's default if it is among ``names``, else the first."""
    from timm.models import get_pretrained_cfg

    by_architecture: dict[str, list[str]] = {}
    for name in names:
        by_architecture.setdefault(name.partition(".")[0], []).append(name)
    kept = []
    for architecture, found in by_architecture.items():
        config = get_pretrained_cfg(architecture)
        default = f"{architecture}.{config.tag}" if config is not None else ""
        kept.append(default if default in found else found[0])
    return kept


def _read_list(key: str, raw: object) -> tuple[str, ...]:
    values = [raw] if isinstance(raw, str) else raw
    examples = {"family": "families such as 'cnn'", "license": "licences such as 'mit' or 'permissive'"}
    example = examples.get(key, "patterns such as 'resnet18*'")
    # An empty `exclude` is valid; an empty `match` or `family` would find no model.
    if not isinstance(values, list) or (key != "exclude" and not values):
        raise RecipeError(f"{key} is a list of {example}, not {shown(raw)}")
    for value in values:
        if key == "family" and value not in FAMILIES:
            raise RecipeError(f"there is no backbone family {shown(value)}{suggest(shown(value), FAMILIES)}")
        if key == "license":
            if not isinstance(value, str) or not LICENSE_PATTERN.fullmatch(value):
                raise RecipeError(f"license: {shown(value)} is no name of a licence, such as 'mit' or 'permissive'")
            continue
        if not isinstance(value, str) or not BACKBONE_PATTERN.fullmatch(value):
            raise RecipeError(f"{key}: {shown(value)} is no pattern over timm's names, such as 'resnet18*'")
    return tuple(values)


def _read_bound(key: str, raw: object, unit: str, high: float) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 <= raw <= high:
        raise RecipeError(f"{key} is {unit} up to {high:,.0f}, not {shown(raw)}")
    return raw
