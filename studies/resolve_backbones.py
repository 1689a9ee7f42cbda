"""Check a study's backbones against the installed timm, and replace a backbone filter by the models that it finds."""

from __future__ import annotations

from dataclasses import replace

from studies.errors import Problems, listed
from studies.portfolio import settle_portfolio
from studies.space.backbone_filter import find_backbones, none_found
from studies.space.conditions import settle
from studies.space.dimension import Dimension, branches, describe
from studies.space.parse_dimensions import MAX_CHOICES
from studies.spec import StudySpec
from trainer.common.errors import BackboneError
from trainer.networks.backbones import check_backbone

SHOWN_NAMES = 8  # models in a message


def check_backbones(spec: StudySpec, *, lenient: bool = True) -> StudySpec:
    """Check that timm has every backbone of a study, and replace a filter by the models that it finds.

    Imports timm, which takes seconds: run all other checks first.

    Args:
        lenient: portfolio entries that do not fit the models found are left out; otherwise they are mistakes.

    Raises:
        StudyError: naming every backbone that timm does not know, with the nearest names; or a filter finds no model.
    """
    problems = Problems(spec.title)
    # The models that a filter finds exist.
    for name in backbones_of(spec) if spec.is_resolved else ():
        try:
            check_backbone(name)
        except BackboneError as error:
            problems.add("", str(error))
    dimensions = [dimension if dimension.match is None else _resolve(dimension, problems) for dimension in spec.space]
    problems.raise_if_any()
    if spec.is_resolved:
        return spec
    # With the models known, more conditions on the family can be decided; names depend on the remaining dimensions.
    candidates = dict(branches([replace(dimension, name="") for dimension in dimensions]))
    space = settle(candidates, spec.recipe, explicit=spec.recipe.keys(), lenient=True, problems=problems)
    problems.raise_if_any()
    portfolio = settle_portfolio(spec.portfolio, space, spec.recipe, lenient=lenient, problems=problems, filtered=True)
    problems.raise_if_any()
    return replace(spec, space=space, portfolio=portfolio)


def backbones_of(spec: StudySpec) -> list[str]:
    """Every backbone that a resolved study can train, each once."""
    return [str(name) for name in spec.values_of("backbone")]


def _resolve(dimension: Dimension, problems: Problems) -> Dimension:
    assert dimension.match is not None, "only filters are resolved"
    names = find_backbones(dimension.match)
    if not names:
        problems.add("space", f"backbone: {none_found(dimension.match)}")
    elif len(names) > MAX_CHOICES:
        problems.add("space", f"backbone: {describe(dimension)} are {len(names)}; narrow them to {MAX_CHOICES}")
    elif dimension.default is not None and dimension.default not in names:
        found = f"{listed(names[:SHOWN_NAMES])}{' …' if len(names) > SHOWN_NAMES else ''}"
        problems.add("space", f"backbone: the default {dimension.default} is not among {describe(dimension)}: {found}")
    return replace(dimension, choices=tuple(names), match=None)
