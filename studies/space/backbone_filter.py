"""Backbone filters: read one from a study file, and find its models in the installed timm."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from studies.errors import listed, shown
from studies.space.dimension import BackboneFilter, describe_filter
from trainer.common.errors import BackboneError, suggest
from trainer.networks.backbones import FAMILIES, family_of
from trainer.recipe.recipe import RecipeError

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

FILTER_KEYS = (
    "match",
    "exclude",
    "pretrained",
    "family",
    "min_params",
    "max_params",
    "min_size",
    "max_size",
    "one_per_architecture",
)
"""The keys of a filter in a study file; each is a field of `BackboneFilter`."""

BACKBONE_PATTERN = re.compile(r"[A-Za-z0-9_.*?\[\]!-]{1,100}")

SHOWN_NAMES = 3  # models in a message
MAX_PARAMS = 1e6  # largest value of min_params and max_params, in millions; no network has as many parameters
MAX_SIZE = 1e5  # largest value of min_size and max_size, in pixels


def read_filter(table: Mapping[str, object]) -> BackboneFilter:
    """Read the filter of one entry of ``[space]``; keys outside `FILTER_KEYS` are ignored.

    Raises:
        RecipeError: a key has an invalid value.
    """
    settings: dict[str, Any] = {key: table[key] for key in FILTER_KEYS if key in table}
    for key in settings.keys() & {"match", "exclude", "family"}:
        settings[key] = _read_list(key, settings[key])
    for key in settings.keys() & {"pretrained", "one_per_architecture"}:
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


def find_backbones(criteria: BackboneFilter) -> list[str]:
    """The classifiers of the installed timm that pass a filter, in timm's order.

    Imports timm, which takes seconds.
    """
    import timm
    from timm.models import get_pretrained_cfg

    names = timm.list_models(
        list(criteria.match), pretrained=criteria.pretrained, exclude_filters=list(criteria.exclude)
    )
    found = [name for name in names if _fits(name, get_pretrained_cfg(name), criteria)]
    return _one_per_architecture(found) if criteria.one_per_architecture else found


def none_found(criteria: BackboneFilter) -> str:
    """Message for a filter that finds no model: its criteria, and the nearest ones that find some. Imports timm."""
    return f"there are no {describe_filter(criteria)}{_remedy(criteria)}"


def _remedy(criteria: BackboneFilter) -> str:
    import timm

    if named := timm.list_models(list(criteria.match), pretrained=criteria.pretrained):
        return f"; their names match {len(named)}, such as {named[0]}, but the other criteria leave none of these"
    if criteria.pretrained and (named := timm.list_models(list(criteria.match))):
        return f"; timm has no pre-trained weights of {listed(named[:SHOWN_NAMES])}"
    for wider in _wider_patterns(criteria.match):
        if found := find_backbones(replace(criteria, match=(wider,))):
            return f"; {wider!r} finds {len(found)}, such as {found[0]} (* stands for anything)"
        if named := timm.list_models(wider, pretrained=criteria.pretrained):
            return f"; {wider!r} matches {len(named)}, such as {named[0]}, but the other criteria leave none of these"
    words = [pattern.partition(".")[0].strip("*").lower() for pattern in criteria.match]
    architectures = list({name.partition(".")[0] for name in timm.list_models(pretrained=criteria.pretrained)})
    near = [found for word in words for found in difflib.get_close_matches(word, architectures, n=3, cutoff=0.6)]
    if near:
        return f"; did you mean {' or '.join(repr(f'{name}*') for name in near[:3])}?"
    return "; * stands for anything, as in 'resnet*'"


def _wider_patterns(patterns: Sequence[str]) -> Iterator[str]:
    """Patterns for parts of names: ``*lite0*`` instead of ``lite0``, and in timm's spelling, without hyphens."""
    for pattern in patterns:
        word = pattern.strip("*").lower()
        yield from dict.fromkeys(f"*{part}*" for part in (word, word.replace("-", "_"), word.replace("-", "")))


def _fits(name: str, config: PretrainedCfg | None, criteria: BackboneFilter) -> bool:
    from trainer.networks.architectures import architecture_of

    if criteria.family and known_family(name) not in criteria.family:
        return False
    limits_size = criteria.min_size is not None or criteria.max_size is not None
    if limits_size and (config is None or not _within(config.input_size[-1], criteria.min_size, criteria.max_size)):
        return False
    # This check is last, because it builds a model that the table of architectures lacks.
    architecture = architecture_of(name)
    return architecture.classifies and _within(architecture.parameters / 1e6, criteria.min_params, criteria.max_params)


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
    example = "families such as 'cnn'" if key == "family" else "patterns such as 'resnet18*'"
    # An empty `exclude` is valid; an empty `match` or `family` would find no model.
    if not isinstance(values, list) or (key != "exclude" and not values):
        raise RecipeError(f"{key} is a list of {example}, not {shown(raw)}")
    for value in values:
        if key == "family" and value not in FAMILIES:
            raise RecipeError(f"there is no backbone family {shown(value)}{suggest(shown(value), FAMILIES)}")
        if not isinstance(value, str) or not BACKBONE_PATTERN.fullmatch(value):
            raise RecipeError(f"{key}: {shown(value)} is no pattern over timm's names, such as 'resnet18*'")
    return tuple(values)


def _read_bound(key: str, raw: object, unit: str, high: float) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 <= raw <= high:
        raise RecipeError(f"{key} is {unit} up to {high:,.0f}, not {shown(raw)}")
    return raw
