"""Check a study's backbones against the installed timm, and replace a backbone filter by the models that it finds."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from studies.errors import Problems, listed
from studies.portfolio import settle_portfolio
from studies.space.backbone_filter import Found, find_backbones
from studies.space.backbone_hints import none_found
from studies.space.combinations import can_occur
from studies.space.conditions import settle
from studies.space.dimension import FAMILY, Dimension, branches, describe
from studies.space.parse_dimensions import MAX_CHOICES
from studies.spec import StudySpec
from trainer.common.errors import BackboneError
from trainer.networks.architectures import STEP, takes_size
from trainer.networks.backbones import check_backbone, family_of
from trainer.networks.pretrained.find_weights import weights_at_hand
from trainer.networks.pretrained.folder_networks import networks_in_folder, unknown_files, with_nearest_name
from trainer.networks.pretrained.missing_message import match_option, probe_option
from trainer.recipe.recipe import LORA

SHOWN_NAMES = 8  # models in a message

log = logging.getLogger(__name__)


def check_backbones(
    spec: StudySpec, *, lenient: bool = True, weights: Path | None = None, kept: Sequence[str] = ()
) -> StudySpec:
    """Check that timm has every backbone of a study, and replace a filter by the models that it finds.

    Models whose weights cannot be used for images of the study's size are left out, and the log names them.

    Imports timm, which takes seconds: run all other checks first.

    Args:
        lenient: portfolio entries that do not fit the models found are left out; otherwise they are mistakes.
        weights: the weights folder, in which a filter with ``at_hand`` looks.
        kept: the models that such a filter found before, which it finds again; empty: it looks.

    Raises:
        BackboneError: the weights folder does not exist.
        StudyError: naming every backbone that timm does not know, with the nearest names; or a filter finds no model;
            or backbones that ``tune = "lora"`` cannot adapt.
    """
    problems = Problems(spec.title)
    # The models that a filter finds exist.
    for name in backbones_of(spec) if spec.is_resolved else ():
        try:
            check_backbone(name)
        except BackboneError as error:
            problems.add("", str(error))
    dimensions = [
        dimension if dimension.match is None else _resolve(dimension, spec, problems, weights, kept)
        for dimension in spec.space
    ]
    problems.raise_if_any()
    if spec.is_resolved:
        _check_adapters(spec)
        return spec
    # With the models known, more conditions on the family can be decided; names depend on the remaining dimensions.
    candidates = dict(branches([replace(dimension, name="") for dimension in dimensions]))
    space = settle(candidates, spec.recipe, explicit=spec.recipe.keys(), lenient=True, problems=problems)
    problems.raise_if_any()
    portfolio = settle_portfolio(spec.portfolio, space, spec.recipe, lenient=lenient, problems=problems, filtered=True)
    problems.raise_if_any()
    resolved = replace(spec, space=space, portfolio=portfolio)
    _check_adapters(resolved)
    return resolved


def backbones_of(spec: StudySpec) -> list[str]:
    """Every backbone that a resolved study can train, each once."""
    return [str(name) for name in spec.values_of("backbone")]


def _resolve(
    dimension: Dimension, spec: StudySpec, problems: Problems, weights: Path | None, kept: Sequence[str]
) -> Dimension:
    assert dimension.match is not None, "only filters are resolved"
    try:
        found = find_backbones(dimension.match)
    except BackboneError as error:
        problems.add("space", f"backbone: {error}")
        found = Found(names=[])
    wanted, where, left_out = found.names, "", dict(found.left_out)
    if dimension.match.at_hand:
        if unknown := unknown_files(weights):
            more = f" and {len(unknown) - SHOWN_NAMES} more" * (len(unknown) > SHOWN_NAMES)
            shown = ", ".join(map(with_nearest_name, unknown[:SHOWN_NAMES]))
            _say(f"not used, because no network has this name: {shown}{more}")
        wanted = list(kept) or weights_at_hand(wanted, weights)
        where = f"; {_places(weights, probed=spec.search_settings.trials == 0)}" * (not wanted and bool(found.names))
        left_out = {name: why for name, why in left_out.items() if not kept and weights_at_hand([name], weights)}
    sizes = _image_sizes(spec)
    pretrained = dimension.match.pretrained and "pretrained" in spec.values_of("init") and not kept
    untabled = [size for size in sizes if size % STEP] if pretrained else []
    if untabled and len(wanted) > SHOWN_NAMES:
        _say(
            f"{len(wanted)} backbones are tried at {listed(untabled)} pixels, which may take minutes; for "
            f"multiples of {STEP} a table says which of them can be used"
        )
    for name in wanted if pretrained else ():
        unfit = [size for size in sizes if not takes_size(name, size)]
        if unfit:
            left_out[name] = f"unusable for images of {listed(unfit)} pixels"
    names = [name for name in wanted if name not in left_out]
    reasons = "; ".join(described_reasons(left_out))
    if reasons and names:
        _say(f"backbones that a study cannot use are left out: {reasons}")
    if where:
        problems.add("space", f"backbone: there are no {describe(dimension)}{where}")
    elif not names:
        problems.add("space", f"backbone: {none_found(dimension.match, described_reasons(left_out))}")
    elif len(names) > MAX_CHOICES:
        problems.add("space", f"backbone: {describe(dimension)} are {len(names)}; narrow them to {MAX_CHOICES}")
    elif dimension.default is not None and dimension.default not in names:
        first = f"{listed(names[:SHOWN_NAMES])}{' …' if len(names) > SHOWN_NAMES else ''}"
        problems.add("space", f"backbone: the default {dimension.default} is not among {describe(dimension)}: {first}")
    return replace(dimension, choices=tuple(names), match=None)


def described_reasons(left_out: Mapping[str, str]) -> list[str]:
    """A line for each reason in `studies.space.backbone_filter.Found.left_out`, with the models to which it applies."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        by_reason.setdefault(reason, []).append(name)
    return [
        f"{listed(names[:SHOWN_NAMES])}{f' and {len(names) - SHOWN_NAMES} more' * (len(names) > SHOWN_NAMES)}: {reason}"
        for reason, names in by_reason.items()
    ]


def _check_adapters(spec: StudySpec) -> None:
    """Check that no trial combines ``tune = "lora"`` with a backbone without linear layers.

    Raises:
        StudyError: naming the backbones, and the condition that excludes them.
    """
    if not can_occur(spec.space, spec.recipe, {"tune": LORA}):
        return
    from trainer.networks.low_rank import misfit, takes_adapters  # torch, which most studies need not wait for

    unfit = [
        name
        for name in backbones_of(spec)
        # All transformers and MLPs have linear layers, and building a network takes a second at worst.
        if family_of(name) not in ("transformer", "mlp")
        and can_occur(spec.space, spec.recipe, {"tune": LORA, "backbone": name})
        and not takes_adapters(name)
    ]
    if not unfit:
        return
    names = f"{listed(unfit[:SHOWN_NAMES])}{f' and {len(unfit) - SHOWN_NAMES} more' * (len(unfit) > SHOWN_NAMES)}"
    problems = Problems(spec.title)
    if "backbone" in {dimension.field for dimension in spec.space}:
        problems.add(
            "space",
            f"tune: low-rank adapters need linear layers, of which {names} have none or few. Sample tune for the other "
            f'backbones only: tune = {{ choices = ["all", "lora"], when = {{ "{FAMILY}" = "transformer" }} }}',
        )
    else:
        problems.add("recipe", misfit(unfit[0]))
    problems.raise_if_any()


def _image_sizes(spec: StudySpec) -> list[int]:
    """The sizes of a study that are known: the fixed one, or the choices; none of a range."""
    if any(dimension.field == "image_size" and dimension.choices is None for dimension in spec.space):
        return []
    return [int(size) for size in spec.values_of("image_size")]


@lru_cache(maxsize=100)
def _say(message: str) -> None:
    """Log a line once: a command resolves a study several times."""
    log.info(message)


def _places(weights: Path | None, *, probed: bool) -> str:
    """Where weights were looked for, and what can be done.

    Args:
        probed: the study trains nothing, as that of ``search probe``, which has an option of its own.
    """
    folder = f"the folder {weights}" if weights else "no folder (--weights names one)"
    others = networks_in_folder(weights)
    if others:
        option = match_option(others)
        option = f"{probe_option(others)} (search start takes {option})" if probed else option
        remedy = f"{option} chooses among the networks that the folder has"
    else:
        remedy = "Put NAME.safetensors or NAME.pth into a folder, with a name that `search backbones` lists"
    return f"looked in {folder} and the Hugging Face cache. {remedy}"
