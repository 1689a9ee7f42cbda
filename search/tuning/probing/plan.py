"""Linear probes of a new study: every backbone is judged by its frozen features before any network is fine-tuned.

A probe costs one pass over the images, a small part of a training (`trainer.training.linear_probe`). It is a trial of
Optuna and a record like any other, except that it does not count against the budget and that samplers do not see it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from studies.space.fit_recipe import fit
from studies.spec import StudySpec
from trainer.networks.architectures import architecture_of
from trainer.networks.backbones import license_of, native_size
from trainer.recipe.recipe import LINEAR_PROBE, Recipe, Scalar

PROBE = "probe"
"""Source of a probe, see `search.study_state.optuna_attributes.ORIGIN_ATTRIBUTE`."""
MIRRORED = "hflip"
"""Test-time augmentation of probes whose study mirrors training images: features of an image and its mirror image."""
PROBE_FIELDS = ("method", "epochs", "tta")
"""Fields in which the recipe of a probe differs from that of the trials that it stands for; see `as_probe`."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A linear probe of one backbone, image size and pre-trained start."""

    params: Mapping[str, Scalar]
    """Values of the search space, by parameter name: those of the default recipe, except for what is probed."""
    recipe: Recipe
    """The recipe of the probe."""

    @property
    def origin(self) -> str:
        """Source and details for people: backbone, image size, and what is known of its weights."""
        name = self.recipe.backbone
        known = (
            f"{architecture_of(name).parameters / 1e6:.1f} M parameters",
            f"made for {native_size(name)} px",
            f"licence {license_of(name)}",
        )
        return f"{PROBE}: {name} at {self.recipe.image_size} px, {', '.join(known)}"


def plan_probes(spec: StudySpec) -> list[Probe]:
    """A probe of every combination of backbone, image size and pre-trained start that trials may have.

    The default recipe's comes first, so that the first result is that of the study's own network, then those of small
    networks. Where only probes are planned, the smallest network comes first. Of a range of image sizes only the
    default is probed.

    Args:
        spec: resolved specification of the study.
    """
    if not spec.probe.enabled:
        return []
    default = spec.default_recipe()
    values = [
        [default[field], *(value for value in spec.values_of(field) if value != default[field])]
        for field in ("backbone", "image_size", "init")
    ]
    probes: dict[tuple[Scalar, ...], Probe] = {}
    for backbone, size, init in itertools.product(*values):
        wanted = {"backbone": backbone, "image_size": size, "init": init}
        found = fit(spec.space, spec.recipe, wanted)
        if init != "scratch" and found is not None and not found.misfits:
            probes[backbone, size, init] = Probe(params=found.params, recipe=as_probe(Recipe.from_flat(found.settings)))
    planned = list(probes.values())
    first = 1 if spec.search_settings.trials else 0
    return planned[:first] + sorted(planned[first:], key=_cost)


def as_probe(recipe: Recipe) -> Recipe:
    """The linear probe of a recipe's backbone: one pass, with the mirror image where training mirrors images."""
    tta = MIRRORED if recipe.tta == "none" and recipe.augment.strengths["hflip"] > 0.0 else recipe.tta
    return recipe.replace({"method": LINEAR_PROBE, "epochs": 1, "tta": tta})


def _cost(probe: Probe) -> float:
    return architecture_of(probe.recipe.backbone).parameters * float(probe.recipe.image_size) ** 2
