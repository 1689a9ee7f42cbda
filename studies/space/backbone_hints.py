"""What to try instead of a filter that finds no backbone."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from studies.errors import listed
from studies.space.backbone_filter import find_backbones
from studies.space.dimension import BackboneFilter, describe_filter

SHOWN_NAMES = 3  # models in a message


def none_found(criteria: BackboneFilter, reasons: Sequence[str] = ()) -> str:
    """Message for a filter that finds no model that can be used: its criteria, and the nearest ones that find some.

    Imports timm.

    Args:
        reasons: why models that meet the criteria cannot be used.
    """
    why = f" ({'; '.join(reasons)})" if reasons else _remedy(criteria)
    return f"there are no {describe_filter(criteria)}{why}"


def _remedy(criteria: BackboneFilter) -> str:
    import timm

    if named := timm.list_models(list(criteria.match), pretrained=criteria.pretrained):
        return f"; their names match {len(named)}, such as {named[0]}, but the other criteria leave none of these"
    if criteria.pretrained and (named := timm.list_models(list(criteria.match))):
        return f"; timm has no pre-trained weights of {listed(named[:SHOWN_NAMES])}"
    for wider in _wider_patterns(criteria.match):
        if found := find_backbones(replace(criteria, match=(wider,))).names:
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
