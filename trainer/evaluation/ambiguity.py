"""Expected Brier score of the average of several networks, from the predictions of each network alone.

A cross-validation scores one network per image, whereas the test images are predicted by the average of all networks.
The gain from averaging differs between recipes. It needs no labels (Krogh & Vedelsby 1995, "Neural Network Ensembles,
Cross Validation, and Active Learning"):

    error of the average = mean error of the members - ambiguity

    error      squared error; for class probabilities, the Brier score
    ambiguity  mean squared distance of the members from their average

The ambiguity is measured on the test images, which no network was trained on.

Overconfidence is corrected by temperature scaling. Averaging itself lowers the confidence, so the optimal temperature
for the average is lower than for one network. The temperature is therefore fitted for the average.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.metrics import Probabilities
from trainer.evaluation.several_labels import as_pairs, has_several
from trainer.evaluation.targets import Labels, Targets
from trainer.evaluation.temperature_scaling import RANGE, scale_temperature

LEAST_IMAGES = 20
"""Fewest images on which the ambiguity of networks is measured. A single image on which they differ by chance would
predict a gain for all others.
"""


@dataclass(frozen=True, kw_only=True)
class Average:
    """Expected Brier score of the average of a training's networks, at the optimal temperature for the average."""

    temperature: float
    brier: float
    """Expected Brier score: 0 (all certain and right) .. 2 (all certain and wrong)."""
    ambiguity: float
    """By how much ``brier`` is lower than the mean Brier score of the networks: 0 .. 1."""


def brier_scores(y: Labels, proba: Probabilities) -> NDArray[np.float64]:
    """Brier score of each image: squared distance of its probabilities from the one-hot label (Brier 1950).

    Of several labels it is the mean over the classes, each a choice between two.

    Args:
        y: true classes, ``(n,)`` or ``(n, C)``.
        proba: ``(n, C)``.

    Returns:
        ``(n,)``, 0 .. 2.
    """
    if has_several(y):
        of_pairs = brier_scores(y.reshape(-1), as_pairs(proba))
        return np.asarray(of_pairs.reshape(y.shape).mean(axis=1))
    squares = np.square(proba, dtype=np.float64).sum(axis=1)
    return np.asarray(squares - 2.0 * proba[np.arange(len(y)), y] + 1.0)


def ambiguity(members: Sequence[Probabilities]) -> float:
    """Mean squared distance of networks from their average: 0 (all predict the same) .. 1.

    Args:
        members: probabilities of each network for the same images, ``(m, C)``.
    """
    stack = np.stack(members).astype(np.float64)
    return float(np.mean(np.square(stack - stack.mean(axis=0)).sum(axis=2)))


def expected_average(targets: Targets, proba: Probabilities, members: Sequence[Probabilities]) -> Average:
    """Estimate the Brier score of the average of networks.

    Args:
        targets: true classes and weights of n images that are held out, at least one.
        proba: out-of-fold probabilities, each image by the network that was not trained on it, ``(n, C)``.
        members: probabilities of each network for the same other images, which none was trained on, ``(m, C)`` each.
            Empty if there are no such images. Of fewer than `LEAST_IMAGES`, the ambiguity is taken to be 0.
    """
    from scipy.optimize import minimize_scalar

    if any(len(one) < LEAST_IMAGES for one in members):
        members = ()
    if targets.several_labels:
        targets, proba = targets.pairs(proba)
        members = [as_pairs(one) for one in members]

    def at(log_temperature: float) -> Average:
        temperature = math.exp(log_temperature)
        own = targets.mean(brier_scores(targets.y, scale_temperature(proba, temperature)))
        scatter = ambiguity([scale_temperature(one, temperature) for one in members]) if len(members) else 0.0
        # Upper limit: if all error is scatter, averaging m networks removes a share 1 - 1 / m of it. Error and
        # ambiguity come from different images, so the ambiguity may exceed the limit by chance if few images are wrong.
        scatter = min(scatter, own * (1.0 - 1.0 / max(1, len(members))))
        return Average(temperature=temperature, brier=own - scatter, ambiguity=scatter)

    low, high = map(math.log, RANGE)
    return at(float(minimize_scalar(lambda x: at(x).brier, bounds=(low, high), method="bounded").x))
