"""Importance-weighted validation under covariate shift: ``protocol.weighting = "test_like"``.

Out-of-fold scores are means over the training images. If the test images are distributed differently, each training
image counts by the density ratio of test to training images (Shimodaira 2000, "Improving predictive inference under
covariate shift"; Sugiyama, Krauledat and Mueller 2007, importance-weighted cross-validation). An adversarial validator
estimates the ratio once, when the study is created (`trainer.shift.adversarial`). The weights are stored with the study
and weight all of its scores.

Weighting costs precision: the standard error is that of `effective_images` images with equal weights. In simulations
with two styles of images (`benchmarks/replays/weighted_validation.py`, 650 images) weighted scores were two to three
times closer to the test score. The selection of a recipe improved with thousands of images, or if the best recipe
depends strongly on the style. With a few hundred images and little dependence, the additional noise cost more than the
bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.runtime.errors import SearchError
from search.runtime.home import Home
from search.study_setup.backbone_features import Say, backbone_features
from search.study_setup.data_folder import Competition
from search.study_setup.shift_features import shift_features, shift_groups
from search.study_state.study import Study
from search.study_state.study_targets import read_image_weights
from storage.records.study_rows import ImageWeights
from storage.stores import Stores
from trainer.evaluation.targets import effective_images
from trainer.shift.adversarial import Shift, TooFewImages, importance_weights, measure_shift

ALIKE = 0.6
"""AUC below which training and test images count as alike, even if the difference is significant."""
APART = 0.9
"""AUC from which hardly any training image is like the test images."""
SIGNIFICANT = 2.0
"""Standard errors from 0.5 at which an AUC is significant."""
MIN_EFFECTIVE_SHARE = 0.25
"""Minimum effective sample size as a share of the training images. Below it the largest weights are clipped
(`trainer.shift.adversarial.CLIP`), which biases the weighted score by points, whatever the number of images."""

SETTING = "protocol.weighting=test_like"
OTHERWISE = "without it all training images count the same"


class CannotWeight(SearchError):
    """Validation cannot be weighted toward the test images; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Weighting:
    """Importance weights of ``n`` training images, and the shift that they were estimated from."""

    values: NDArray[np.float64]
    """``(n,)``, positive, mean 1."""
    shift: Shift
    features: str
    """Name of the features by which the images were compared."""

    @property
    def stored(self) -> ImageWeights:
        """The weights in the form that is stored with a study."""
        about = {"features": self.features, "auc": self.shift.auc, "auc_error": self.shift.standard_error}
        return ImageWeights(values=self.values, about=about)


def estimate_image_weights(competition: Competition, *, weights: Path | None, home: Home, say: Say) -> Weighting:
    """Estimate the importance weights of the training images, by features as `backbone_features` chooses them.

    Args:
        weights: folder of pre-trained weights.
        home: keeps the features.
        say: see `search.study_setup.backbone_features.Say`.

    Raises:
        CannotWeight: there are no or too few test images, or too few training images are like them.
        BackboneError: the weights folder does not exist.
        DataError: an image can no longer be read.
    """
    if not len(competition.images.test_ids):
        raise CannotWeight(f"{SETTING} needs test images, and there are none in the data; {OTHERWISE}")
    try:
        found = backbone_features(competition, backbone=None, weights=weights, home=home, say=say)
        features = shift_features(competition, found, say)
        say("comparing training with test images")
        shift = measure_shift(features.train, features.test, shift_groups(competition))
    except TooFewImages as error:
        raise CannotWeight(
            f"{SETTING} cannot estimate which images are like the test images: {error}; {OTHERWISE}"
        ) from error
    problem = why_not(shift)
    if problem:
        raise CannotWeight(
            f"{SETTING} is not possible here: by {features.name} training and test images are separated with AUC "
            f"{shift.auc:.2f} ± {shift.standard_error:.2f}, and {problem}. `search check` shows the differences; "
            f"{OTHERWISE}"
        )
    values, _ = importance_weights(shift.train, len(shift.test))
    return Weighting(values=values, shift=shift, features=features.name)


def is_shifted(shift: Shift) -> bool:
    """Whether training and test images differ significantly and by enough to matter."""
    return shift.auc >= ALIKE and shift.auc - SIGNIFICANT * shift.standard_error > 0.5


def why_not(shift: Shift) -> str:
    """The reason, for people, why scores cannot be weighted toward the test images; empty if they can."""
    if shift.auc >= APART:
        # Nearly all weights would be clipped to the same value, so the scores would look unweighted and unsuspicious.
        return "hardly any training image is like the test images, so that weighting them cannot mend it"
    values, effective = importance_weights(shift.train, len(shift.test))
    if effective < MIN_EFFECTIVE_SHARE * len(values):
        return (
            f"scores would depend on a few images: weighted, {len(values)} training images have the effective sample "
            f"size {effective:.0f}"
        )
    return ""


def weights_lines(stores: Stores, study: Study) -> list[str]:
    """Lines for people about the weighting of a study's scores; none without weighting."""
    stored = read_image_weights(stores, study)
    return [] if stored is None else [weights_line(stored)]


def weights_line(stored: ImageWeights) -> str:
    """A line for people about weighted scores: effective sample size, standard errors, origin of the weights."""
    about: Mapping[str, Any] = stored.about
    effective = effective_images(stored.values)
    error_factor = float(np.sqrt(len(stored.values) / effective))
    origin = f"separated by {about.get('features', 'features that were not recorded')}"
    if "auc" in about and "auc_error" in about:
        origin += f", AUC {float(about['auc']):.2f} ± {float(about['auc_error']):.2f}"
    return (
        f"Scores are weighted toward the test images: the {len(stored.values)} images count as {effective:.0f} equal "
        f"ones, so that standard errors are about {error_factor:.1f} times as large ({origin})."
    )
