"""Passes of images through the networks of a training: those of an epoch, and those after the last one. Pure functions.

A pass is one image in one forward pass. The predictions after the last epoch may take longer than an epoch where there
are many test images. Where the time of a pass has not been measured, it follows from that of an epoch: a training step
of an image takes three passes if all layers learn, for its backward pass takes about twice as long as its forward pass.
"""

from __future__ import annotations

from dataclasses import dataclass

from search.study_state.training_costs import passes, passes_together
from trainer.inference.networks.views import TTA
from trainer.recipe.recipe import LINEAR_PROBE, Recipe

STEP = 3.0
"""Passes of a training step of one image, if all layers learn."""
START_SHARES = 3
"""Shares of the starting weights with which `wise_ft` predicts the held-out images, beside the one of every epoch."""
PROBE_EVALUATION = 1.1
"""`ImagePasses.evaluation` of a linear probe, whose epoch computes the features of all images."""
PROBE_PREDICTIONS = 0.1
"""`ImagePasses.predictions` of a linear probe: its features are those of all images, and what is left are the fits."""


@dataclass(frozen=True, kw_only=True)
class ImagePasses:
    """The numbers of images of one training, over all its networks."""

    trained: int
    """Images on which an epoch trains, 1 or more: with K folds, each image counts K - 1 times."""
    held_out: int
    """Images that are held out and predicted after every epoch."""
    test: int
    """Test images times networks: each network predicts all."""
    networks: int = 1
    """Number of networks."""

    @classmethod
    def of_folds(cls, images: int, test_images: int, folds: int) -> ImagePasses:
        """Those of a cross-validation of ``images``, or with one fold of a training on all of them."""
        held_out = images if folds > 1 else 0
        trained = max(1, folds * images - held_out)
        return cls(trained=trained, held_out=held_out, test=folds * test_images, networks=folds)

    def evaluation(self, recipe: Recipe) -> float:
        """Length of an epoch with the predictions of the held-out images, relative to its training alone."""
        if recipe.method == LINEAR_PROBE:
            return PROBE_EVALUATION
        return self._epoch(recipe) / self._steps(recipe)

    def held_out_passes(self, recipe: Recipe) -> int:
        """Passes of the held-out images after an epoch."""
        return len(TTA[recipe.tta]) * self.held_out

    def last_passes(self, recipe: Recipe, *, plain: bool) -> float:
        """Passes after the last epoch of a fine-tuning. Frozen layers run once for all networks that have them.

        Args:
            plain: whether the training predicts the test images with the recipe's own test-time views alone, as a
                shortened trial does. Others predict with the views among which an export may choose.
        """
        own = len(TTA[recipe.tta])
        views = own if plain or recipe.tta != "none" else len(TTA["flips"])
        shares = passes_together(START_SHARES, recipe.freeze) * own if recipe.wise_ft else 0.0
        test = self.test * passes_together(self.networks, recipe.freeze) / self.networks
        return views * test + (views - own + shares) * self.held_out

    def predictions(self, recipe: Recipe, *, plain: bool) -> float:
        """Length of the predictions after the last epoch, in epochs, where the time of a pass is not known.

        Args:
            plain: as for `last_passes`.
        """
        if recipe.method == LINEAR_PROBE:
            return PROBE_PREDICTIONS
        return self.last_passes(recipe, plain=plain) / self._epoch(recipe)

    def _steps(self, recipe: Recipe) -> float:
        return STEP * passes(recipe.freeze) * self.trained

    def _epoch(self, recipe: Recipe) -> float:
        return self._steps(recipe) + self.held_out_passes(recipe)
