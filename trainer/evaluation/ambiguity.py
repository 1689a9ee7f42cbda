"""What the average of several networks will be worth, from what each of them says alone.

A cross-validation judges one network an image, and the test images are predicted by the average of all. How much that
adds differs from recipe to recipe, and no label is needed to tell: the squared error of an average is the mean squared
error of its members less how far these scatter about it, their ambiguity (Krogh & Vedelsby 1995, "Neural Network
Ensembles, Cross Validation, and Active Learning"). For class probabilities the squared error is the Brier score. The
scatter is seen on the test images, which none of the networks was trained on.

Networks that are too sure or too shy are put right by one temperature; the average is best at another one, lower,
because averaging itself makes less sure. So it is sought for the average.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.metrics import Probabilities
from trainer.evaluation.targets import Labels, Targets
from trainer.evaluation.temperature_scaling import RANGE, scale_temperature


@dataclass(frozen=True, kw_only=True)
class Average:
    """What the average of a training's networks may be expected to be, at the temperature that suits it best."""

    temperature: float
    brier: float
    """Its Brier score: 0 (all certain and right) .. 2 (all certain and wrong)."""
    ambiguity: float
    """By how much that is better than the mean of the networks' own: 0 .. 1."""


def brier_scores(y: Labels, proba: Probabilities) -> NDArray[np.float64]:
    """Squared distance of each image's probabilities from the truth, summed over the classes (Brier 1950).

    Args:
        y: ``(n,)``.
        proba: ``(n, C)``.

    Returns:
        ``(n,)``, 0 .. 2.
    """
    squares = np.square(proba, dtype=np.float64).sum(axis=1)
    return np.asarray(squares - 2.0 * proba[np.arange(len(y)), y] + 1.0)


def ambiguity(members: Sequence[Probabilities]) -> float:
    """How far networks scatter about their average, as squared distance: 0 (all say the same) .. 1.

    Args:
        members: of each network, its probabilities for the same images, ``(m, C)``.
    """
    stack = np.stack(members).astype(np.float64)
    return float(np.mean(np.square(stack - stack.mean(axis=0)).sum(axis=2)))


def expected_average(targets: Targets, proba: Probabilities, members: Sequence[Probabilities]) -> Average:
    """What the average of networks may be expected to be.

    Args:
        targets: true classes and weights of n images that are held out, at least one.
        proba: what the network that was not trained on each says, ``(n, C)``.
        members: what each network says about the same other images, ``(m, C)`` each; none where there are no images
            that no network was trained on: then the ambiguity is unknown and taken to be 0.
    """
    from scipy.optimize import minimize_scalar

    def at(log_temperature: float) -> Average:
        temperature = math.exp(log_temperature)
        own = targets.mean(brier_scores(targets.y, scale_temperature(proba, temperature)))
        scatter = ambiguity([scale_temperature(one, temperature) for one in members]) if len(members) else 0.0
        # Were networks right on average, all their errors would be scatter, of which so much goes. The two are told by
        # different images, and where hardly one is wrong chance alone would say more.
        scatter = min(scatter, own * (1.0 - 1.0 / max(1, len(members))))
        return Average(temperature=temperature, brier=own - scatter, ambiguity=scatter)

    low, high = map(math.log, RANGE)
    return at(float(minimize_scalar(lambda x: at(x).brier, bounds=(low, high), method="bounded").x))
