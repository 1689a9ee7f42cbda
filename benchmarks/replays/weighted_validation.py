"""Plain validation against validation weighted toward the test images, on simulated competitions.

Training images are mostly of one style, test images mostly of a second, harder one. Recipes differ in skill, and by
``--taste`` in the style that suits them. The score of a recipe is its accuracy on the training images, either plain or
weighted as in `search.study_setup.image_weights` (by clipped density ratios, which are known exactly here). For each
mix of styles, the table shows the root mean square error of the score against the true test accuracy, and the regret of
choosing the recipe with the best score, both in points.

    python -m benchmarks.replays.weighted_validation
    python -m benchmarks.replays.weighted_validation --images 2000 --taste 0.01
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from search.study_setup.image_weights import MIN_EFFECTIVE_SHARE
from trainer.evaluation.targets import mean_over
from trainer.shift.adversarial import importance_weights

RECIPES = 20
SKILL = 0.02
"""Standard deviation over recipes of the accuracy that both styles share."""
HARDER = 0.16
"""Difference in accuracy between the styles; the test images' style is the harder one."""
EASE = 0.5
"""Share of the variance of an image's outcome that all recipes share: easy and hard images."""
MIXES = ((0.5, 0.9), (0.3, 0.9), (0.2, 0.9), (0.1, 0.9), (0.05, 0.9), (0.3, 0.5), (0.1, 0.5))
"""Shares of the harder style among the training images and among the test images."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Result for one mix of styles. Errors and regrets are in points, for plain and weighted scores."""

    train_share: float
    test_share: float
    area: float
    """Area under the ROC curve of a classifier of training against test images that knows the style."""
    effective: float
    """Effective sample size of the weighted training images, as a share of their number."""
    errors: tuple[float, float]
    regrets: tuple[float, float]


def simulate(train_share: float, test_share: float, *, images: int, taste: float, repeats: int, seed: int) -> Row:
    """Score recipes in ``repeats`` competitions of one mix of styles.

    Args:
        images: number of training images.
        taste: standard deviation of a recipe's accuracy on one style, in addition to `SKILL`.
    """
    generator = np.random.default_rng(seed)
    other = np.arange(images) < round(train_share * images)
    odds = np.where(other, test_share / other.mean(), (1.0 - test_share) / (1.0 - other.mean()))
    weights, effective = importance_weights(odds / (1.0 + odds), images)
    errors, regrets = [], []
    for _ in range(repeats):
        skill = 0.7 + SKILL * generator.normal(size=RECIPES)
        usual, unusual = (skill + sign * HARDER / 2 + taste * generator.normal(size=RECIPES) for sign in (1, -1))
        true = (1.0 - test_share) * usual + test_share * unusual
        accuracy = np.where(other, unusual[:, None], usual[:, None])
        luck = np.sqrt(EASE) * generator.normal(size=images)
        luck = luck + np.sqrt(1.0 - EASE) * generator.normal(size=(RECIPES, images))
        hits = luck < _thresholds(accuracy)
        scores = np.array([[mean_over(own, w) for own in hits] for w in (None, weights)])
        errors.append(scores[:, 0] - true[0])
        regrets.append(true.max() - true[scores.argmax(axis=1)])
    mean_regrets, rms = 100 * np.mean(regrets, axis=0), 100 * np.sqrt(np.mean(np.square(errors), axis=0))
    return Row(
        train_share=train_share,
        test_share=test_share,
        area=0.5 + (test_share - train_share) / 2.0,
        effective=effective / images,
        errors=(float(rms[0]), float(rms[1])),
        regrets=(float(mean_regrets[0]), float(mean_regrets[1])),
    )


def _thresholds(accuracy: np.ndarray) -> np.ndarray:
    """Quantiles of the standard normal distribution at these probabilities."""
    values, places = np.unique(accuracy, return_inverse=True)
    inverse = np.array([NormalDist().inv_cdf(min(max(float(p), 1e-6), 1 - 1e-6)) for p in values])
    return inverse[places].reshape(accuracy.shape)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=650, help="number of training images")
    parser.add_argument(
        "--taste", type=float, default=0.02, help="standard deviation of a recipe's accuracy on one style"
    )
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    print("| style in train | in test | AUC | counts as | error plain | weighted | regret plain | weighted | allowed |")
    print("| --- " * 9 + "|")
    for train_share, test_share in MIXES:
        row = simulate(
            train_share, test_share, images=given.images, taste=given.taste, repeats=given.repeats, seed=given.seed
        )
        numbers = " | ".join(f"{value:.2f}" for value in (*row.errors, *row.regrets))
        allowed = "yes" if row.effective >= MIN_EFFECTIVE_SHARE else "no"
        print(
            f"| {row.train_share:.0%} | {row.test_share:.0%} | {row.area:.2f} | {row.effective:.0%} | {numbers} "
            f"| {allowed} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
