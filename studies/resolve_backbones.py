"""The one check of a study that needs timm: do its backbones exist, and which does a filter find."""

from __future__ import annotations

from dataclasses import replace

from studies.errors import Problems, listed
from studies.portfolio import settle_portfolio
from studies.space.backbone_filter import find_backbones
from studies.space.conditions import settle
from studies.space.dimension import Dimension, branches, describe
from studies.space.parse_dimensions import MAX_CHOICES
from studies.spec import StudySpec
from trainer.common.errors import BackboneError
from trainer.networks.backbones import check_backbone

SHOWN_NAMES = 8  # of the models that a filter finds, in a message


def check_backbones(spec: StudySpec, *, lenient: bool = True) -> StudySpec:
    """Ask timm about every backbone of a study, and put the models found in place of a filter.

    Imports timm, which takes seconds; call it after everything that can be checked without.

    Args:
        lenient: entries of the portfolio with values that the backbones found do not have are left out; else they are
            mistakes.

    Raises:
        StudyError: naming every backbone that timm does not know, with the nearest names; or a filter finds none.
    """
    problems = Problems(spec.title)
    # What a filter finds exists.
    for name in backbones_of(spec) if spec.is_resolved else ():
        try:
            check_backbone(name)
        except BackboneError as error:
            problems.add("", str(error))
    dimensions = [dimension if dimension.match is None else _resolve(dimension, problems) for dimension in spec.space]
    problems.raise_if_any()
    if spec.is_resolved:
        return spec
    # Conditions on the family can be decided further now; names follow from what is left.
    candidates = dict(branches([replace(dimension, name="") for dimension in dimensions]))
    space = settle(candidates, spec.recipe, explicit=spec.recipe.keys(), lenient=True, problems=problems)
    problems.raise_if_any()
    portfolio = settle_portfolio(spec.portfolio, space, spec.recipe, lenient=lenient, problems=problems, filtered=True)
    problems.raise_if_any()
    return replace(spec, space=space, portfolio=portfolio)


def backbones_of(spec: StudySpec) -> list[str]:
    """Every backbone that a trial of a resolved study can have, each once."""
    return [str(name) for name in spec.values_of("backbone")]


def _resolve(dimension: Dimension, problems: Problems) -> Dimension:
    assert dimension.match is not None, "only filters are resolved"
    names = find_backbones(dimension.match)
    if not names:
        problems.add("space", f"backbone: there are no {describe(dimension)}")
    elif len(names) > MAX_CHOICES:
        problems.add("space", f"backbone: {describe(dimension)} are {len(names)}; narrow them to {MAX_CHOICES}")
    elif dimension.default is not None and dimension.default not in names:
        found = f"{listed(names[:SHOWN_NAMES])}{' …' if len(names) > SHOWN_NAMES else ''}"
        problems.add("space", f"backbone: the default {dimension.default} is not among {describe(dimension)}: {found}")
    return replace(dimension, choices=tuple(names), match=None)
