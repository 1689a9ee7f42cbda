"""Validation weighted toward the images that are like the test images: ``protocol.weighting = "test_like"``.

Out-of-fold scores are means over the training images. Where the test images are others, each training image is to count
by how many test images there are of its kind: by the ratio of the densities of test and training images where it lies
(Shimodaira 2000, "Improving predictive inference under covariate shift"; Sugiyama, Krauledat and Mueller 2007,
importance-weighted cross-validation). An adversarial validator estimates it (`trainer.shift.adversarial`), once, when
the study is
founded: the weights are stored with the study, and all of its scores are weighted by them.

What it costs is precision: the weighted mean of n images is as certain as that of `effective_images` equal ones. In
simulations with two styles of images (`benchmarks/replays/weighted_validation.py`, 650 images) weighted scores were two
to three times nearer to the test score. The choice of a recipe became better with thousands of images, or where recipes
differ much in which style suits them; with a few hundred images and recipes that hardly do, noise cost more than the
bias did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.study_setup.data_folder import Competition
from search.study_setup.shift_features import Say, shift_features, shift_groups
from search.study_state.study import Study
from search.study_state.study_targets import read_image_weights
from storage.records.studies import ImageWeights
from storage.stores import Stores
from trainer.evaluation.targets import effective_images
from trainer.shift.adversarial import Shift, TooFewImages, importance_weights, measure_shift

ALIKE = 0.6  # area below which parts count as alike, however certain it is
APART = 0.9  # area from which hardly any training image is like the test images
SURE = 2.0  # standard errors from 0.5 that an area has to be, to mean anything
LEAST_SHARE = 0.25
"""Share of the training images as which they have to count at least. Below it the largest weights are clipped
(`trainer.shift.adversarial.CLIP`), so that the weighted score stays off by points, however many images there are."""

SETTING = "protocol.weighting=test_like"
WITHOUT = "without it all training images count the same"


class CannotWeight(ValueError):  # noqa: N818 - named for the fact
    """Validation cannot be weighted toward the test images; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Weighting:
    """How much each of ``n`` training images counts, and what says so."""

    values: NDArray[np.float64]
    """``(n,)``, positive, mean 1."""
    shift: Shift
    features: str
    """What the images were compared by."""

    @property
    def stored(self) -> ImageWeights:
        """As it is kept with a study."""
        about = {"features": self.features, "auc": self.shift.auc, "auc_error": self.shift.standard_error}
        return ImageWeights(values=self.values, about=about)


def weigh(competition: Competition, *, weights: Path | None, say: Say) -> Weighting:
    """Compare training with test images, by what is at hand, and weigh the training images by it.

    Args:
        weights: folder of pre-trained weights.
        say: see `search.study_setup.shift_features.Say`.

    Raises:
        CannotWeight: there are no test images, too few, or too few training images are like them.
        BackboneError: a weights folder that does not exist.
        DataError: images that can no longer be read.
    """
    if not len(competition.images.test_ids):
        raise CannotWeight(f"{SETTING} needs test images, and there are none in the data; {WITHOUT}")
    try:
        features = shift_features(competition, backbone=None, weights=weights, say=say)
        say("comparing training with test images")
        shift = measure_shift(features.train, features.test, shift_groups(competition))
    except TooFewImages as error:
        raise CannotWeight(
            f"{SETTING} cannot tell which images are like the test images: {error}; {WITHOUT}"
        ) from error
    problem = why_not(shift)
    if problem:
        raise CannotWeight(
            f"{SETTING} is not possible here: by {features.name} test images are told from training images with AUC "
            f"{shift.auc:.2f} ± {shift.standard_error:.2f}, and {problem}. `search check` shows what differs; {WITHOUT}"
        )
    values, _ = importance_weights(shift.train, len(shift.test))
    return Weighting(values=values, shift=shift, features=features.name)


def is_shifted(shift: Shift) -> bool:
    """Whether training and test images differ by more than chance, and by enough to matter."""
    return shift.auc >= ALIKE and shift.auc - SURE * shift.standard_error > 0.5


def why_not(shift: Shift) -> str:
    """Why scores cannot be weighted toward the test images, for people; empty where they can."""
    if shift.auc >= APART:
        # Clipped, the weights would be near 1 again, as if nothing were wrong.
        return "hardly any training image is like the test images, so that weighting them cannot mend it"
    values, effective = importance_weights(shift.train, len(shift.test))
    if effective < LEAST_SHARE * len(values):
        return (
            f"scores would rest on a handful: weighted, {len(values)} training images would tell as much as "
            f"{effective:.0f}"
        )
    return ""


def weights_lines(stores: Stores, study: Study) -> list[str]:
    """What the scores of a study are, for people; nothing where all images count the same."""
    stored = read_image_weights(stores, study)
    return [] if stored is None else [weights_line(stored)]


def weights_line(stored: ImageWeights) -> str:
    """What weighted scores are, for people."""
    about: Mapping[str, Any] = stored.about
    effective = effective_images(stored.values)
    wider = float(np.sqrt(len(stored.values) / effective))
    told = f"told apart by {about.get('features', 'features that were not recorded')}"
    if "auc" in about and "auc_error" in about:
        told += f", AUC {float(about['auc']):.2f} ± {float(about['auc_error']):.2f}"
    return (
        f"Scores are weighted toward the test images: the {len(stored.values)} images count as {effective:.0f} equal "
        f"ones, so that standard errors are about {wider:.1f} times as large ({told})."
    )
