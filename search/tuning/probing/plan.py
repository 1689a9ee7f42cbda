"""Linear probes of a new study: every backbone is judged by its frozen features before any network is fine-tuned.

A probe costs one pass over the images, a small part of a training (`trainer.training.linear_probe`). It is a trial of
Optuna and a record like any other, except that it does not count against the budget and that samplers do not see it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from search.study_state.optuna_attributes import (
    EPOCHS_ATTRIBUTE,
    ORIGIN_ATTRIBUTE,
    PROBE_ATTRIBUTE,
    PROBE_SIZE_ATTRIBUTE,
)
from studies.space.fit_recipe import fit
from studies.spec import StudySpec
from trainer.networks.architectures import architecture_of
from trainer.networks.backbones import license_of, native_size, pretrained_config
from trainer.recipe.recipe import LINEAR_PROBE, Recipe, Scalar

PROBE = "probe"
"""Source of a probe, see `search.study_state.optuna_attributes.ORIGIN_ATTRIBUTE`."""
MIRRORED = "hflip"
"""Test-time augmentation of probes whose study mirrors training images: features of an image and its mirror image."""
SIZE_STEP = 32
"""Enlarged and reduced images are a multiple of it; the strides of most backbones multiply to 32."""
LEAST_REDUCED = 64
"""Pixels of the smallest reduced images."""
LARGEST_REDUCTION = 0.75
"""Largest side of reduced images relative to the whole ones."""
PROBE_FIELDS = ("method", "epochs", "tta")
"""Fields in which the recipe of a probe differs from that of the trials that it stands for; see `as_probe`."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A linear probe of one backbone, image size and pre-trained start."""

    params: Mapping[str, Scalar]
    """Values of the search space, by parameter name: those of the default recipe, except for what is probed."""
    recipe: Recipe
    """The recipe of the probe."""
    resized: bool = False
    """Whether its images are smaller or larger than those of all trials; see `reduced_size` and `enlarged_size`."""

    @property
    def attributes(self) -> dict[str, Scalar]:
        """The user attributes of its trial in Optuna."""
        found: dict[str, Scalar] = {EPOCHS_ATTRIBUTE: 1, ORIGIN_ATTRIBUTE: self.origin, PROBE_ATTRIBUTE: True}
        return {**found, PROBE_SIZE_ATTRIBUTE: self.recipe.image_size} if self.resized else found

    @property
    def origin(self) -> str:
        """Source and details for people: backbone, image size, and what is known of its weights."""
        name, init = self.recipe.backbone, self.recipe.init
        known = (
            *([f"from {init}"] if init != "pretrained" else []),
            f"{architecture_of(name).parameters / 1e6:.1f} M parameters",
            f"made for {native_size(name)} px",
            f"licence {license_of(name)}",
        )
        return f"{PROBE}: {name} at {self.recipe.image_size} px, {', '.join(known)}"


def plan_probes(spec: StudySpec) -> list[Probe]:
    """A probe of every combination of backbone, image size and pre-trained start that trials may have.

    The default recipe's comes first, so that the first result is that of the study's own network, then those of small
    networks. Where only probes are planned, the smallest network comes first. Of a range of image sizes only the
    default is probed. In the end each backbone is planned once more on enlarged images; of these probes, workers begin
    only those of the best backbones. If trials follow, the default recipe's is also planned on reduced images, which
    workers begin with: it takes a third of the time, and it shows whether trainings lose anything by smaller images
    (`search.worker.limits.shortened.sufficient_size`).

    Args:
        spec: resolved specification of the study.
    """
    if not spec.probe.enabled:
        return []
    values = [_values_of(spec, "backbone"), image_sizes(spec), _values_of(spec, "init")]
    probes: dict[tuple[Scalar, ...], Probe] = {}
    for backbone, size, init in itertools.product(*values):
        wanted = {"backbone": backbone, "image_size": size, "init": init}
        found = fit(spec.space, spec.recipe, wanted)
        if init != "scratch" and found is not None and not found.misfits:
            probes[backbone, size, init] = Probe(params=found.params, recipe=as_probe(Recipe.from_flat(found.settings)))
    planned = list(probes.values())
    first = 1 if spec.search_settings.trials else 0
    ordered = planned[:first] + sorted(planned[first:], key=_cost) + _enlarged(planned, spec.probe.enlarge)
    return ordered + (_reduced(planned, spec.probe.reduce) if spec.search_settings.trials else [])


def image_sizes(spec: StudySpec) -> list[Scalar]:
    """Image sizes at which every backbone is probed: those of the trials; of a range only the default."""
    return _values_of(spec, "image_size")


def _values_of(spec: StudySpec, field: str) -> list[Scalar]:
    """The field's value of the default recipe, and then all others that are no range."""
    default = spec.default_recipe()[field]
    return [default, *(value for value in spec.values_of(field) if value != default)]


def as_probe(recipe: Recipe, image_size: int | None = None) -> Recipe:
    """The linear probe of a recipe's backbone: one pass, with the mirror image where training mirrors images.

    Args:
        image_size: of reduced or enlarged images; None: that of ``recipe``.
    """
    tta = MIRRORED if recipe.tta == "none" and recipe.augment.strengths["hflip"] > 0.0 else recipe.tta
    size = recipe.image_size if image_size is None else image_size
    return recipe.replace({"method": LINEAR_PROBE, "epochs": 1, "tta": tta, "image_size": size})


def enlarged_size(backbone: str, factor: float) -> int | None:
    """Side of enlarged images for a backbone: ``factor`` times the size its weights were made for, rounded down to 32.

    Training crops make objects look larger than they are in whole images. A network that was trained on crops of 224
    pixels therefore sees them at their usual size in whole images of about 288 (Touvron et al. 2019, "Fixing the
    train-test resolution discrepancy"). If timm states at which size the authors test their weights, it is that size.

    Returns:
        None for networks that are built for one size.
    """
    config = pretrained_config(backbone)
    if config.fixed_input_size or factor <= 1.0:
        return None
    if config.test_input_size is not None:
        return int(config.test_input_size[-1])
    return int(factor * native_size(backbone)) // SIZE_STEP * SIZE_STEP


def _enlarged(planned: Sequence[Probe], factor: float) -> list[Probe]:
    """A further probe of each backbone and start on enlarged images, if these are larger than those planned."""
    largest = dict[tuple[str, str], Probe]()
    for probe in sorted(planned, key=lambda probe: probe.recipe.image_size):
        largest[probe.recipe.backbone, probe.recipe.init] = probe
    found = []
    for (backbone, _), probe in largest.items():
        size = enlarged_size(backbone, factor)
        if size is not None and size > probe.recipe.image_size:
            found.append(replace(probe, recipe=as_probe(probe.recipe, size), resized=True))
    return found


def reduced_size(backbone: str, image_size: int, factor: float) -> int | None:
    """Side of reduced images: ``factor`` times ``image_size``, rounded up to 32, at least `LEAST_REDUCED`.

    Returns:
        None for networks that are built for one size, and where the images are hardly smaller.
    """
    size = max(LEAST_REDUCED, math.ceil(factor * image_size / SIZE_STEP) * SIZE_STEP)
    if pretrained_config(backbone).fixed_input_size or size > LARGEST_REDUCTION * image_size:
        return None
    return size


def _reduced(planned: Sequence[Probe], factor: float) -> list[Probe]:
    """The first of the planned probes on reduced images; none if its backbone has another one on images as small."""
    if not planned:
        return []
    recipe = planned[0].recipe
    size = reduced_size(recipe.backbone, recipe.image_size, factor)
    same = [p.recipe for p in planned if (p.recipe.backbone, p.recipe.init) == (recipe.backbone, recipe.init)]
    if size is None or any(other.image_size <= size for other in same):
        return []
    return [replace(planned[0], recipe=as_probe(recipe, size), resized=True)]


def _cost(probe: Probe) -> float:
    return architecture_of(probe.recipe.backbone).parameters * float(probe.recipe.image_size) ** 2
