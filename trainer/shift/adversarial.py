"""Adversarial validation: train a classifier to tell test images from training images.

Its out-of-fold predictions measure how much the two sets differ. This is a classifier two-sample test (Lopez-Paz and
Oquab 2017) whose statistic is the area under the ROC curve: 0.5 if the sets are alike, 1 if every image reveals its
set. The predicted probabilities give density ratios (Sugiyama, Suzuki and Kanamori 2012, chapter 4), which serve as
importance weights of the training images.

All functions are pure functions of arrays. scikit-learn is imported when a function is called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trainer.common.arrays import Float64Array
from trainer.common.errors import DataError, TrainerError
from trainer.data.folds import make_folds
from trainer.evaluation.metrics import score, standard_error
from trainer.evaluation.several_labels import has_several
from trainer.evaluation.targets import Targets, effective_images

FOLDS = 5
MIN_IMAGES = 20  # of each set; with fewer images even a large difference is not significant
TREES = 100  # in the random forest
LEAF = 5  # fewest images in a leaf of a tree
CLIP = (0.2, 5.0)
"""Smallest and largest density ratio. The limits keep a few images from dominating a weighted score."""
SHIFT_THRESHOLD = 3.0  # standard errors between two shares of a class that count as a shift


class TooFewImages(TrainerError):
    """There are too few images or groups for a meaningful result."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shift:
    """How well a classifier tells n training images from m test images.

    auc: area under the ROC curve of the out-of-fold predictions.
    standard_error: of the area, over the sampling of the images (DeLong et al. 1988).
    train, test: calibrated out-of-fold probabilities of being a test image, float64 ``(n,)`` and ``(m,)``, strictly
        between 0 and 1. If the classifier finds no difference, all are m / (n + m).
    """

    auc: float
    standard_error: float
    train: Float64Array
    test: Float64Array


@dataclass(frozen=True, kw_only=True)
class ShiftedClass:
    """Evidence of label shift: a class that is more or less frequent among the most test-like training images.

    share: share of the class in the third of the training images that is most like test images.
    overall: share of the class in all training images.
    """

    class_index: int
    share: float
    overall: float


def measure_shift(
    train: NDArray[np.floating[Any]],
    test: NDArray[np.floating[Any]],
    groups: NDArray[np.int64],
    *,
    model: Literal["linear", "forest"] = "linear",
    seed: int = 0,
) -> Shift:
    """Train a classifier to tell training images from test images, by cross-validation.

    Args:
        train, test: finite features, ``(n, d)`` and ``(m, d)``.
        groups: int64 ``(n + m,)``, training images first. All images of a group are in one fold, so an image that is
            in both sets does not change the result.
        model: "linear" (logistic regression) for many features; "forest" (random forest) for a few features with
            nonlinear effects, such as an exact file size.
        seed: seed of the folds and the forest.

    Raises:
        TooFewImages: a set has fewer than `MIN_IMAGES` images, there are fewer groups than folds, or one group holds
            all images of a set.
    """
    n, m = len(train), len(test)
    if min(n, m) < MIN_IMAGES:
        raise TooFewImages(f"{n} training and {m} test images; at least {MIN_IMAGES} of each are needed")
    features = np.concatenate([train, test]).astype(np.float64)
    part = np.repeat(np.array([0, 1], np.int64), [n, m])
    try:
        folds = make_folds(part, groups, FOLDS, seed)
    except DataError as error:
        raise TooFewImages(str(error)) from error
    log_odds = np.zeros(n + m)
    for fold in range(FOLDS):
        out = folds == fold
        if len(np.unique(part[~out])) < 2:
            raise TooFewImages("one group holds all training or all test images; there is nothing to learn from")
        log_odds[out] = _log_odds(model, seed, features[~out], part[~out], features[out])
    proba = _calibrated(log_odds, part)
    # The area is computed before calibration, because calibration may make all probabilities equal.
    ranked = 1 / (1 + np.exp(-log_odds))
    both = np.stack([1 - ranked, ranked], axis=1)
    return Shift(
        auc=score("roc_auc", Targets(part), both),
        standard_error=standard_error("roc_auc", Targets(part), both),
        train=proba[:n],
        test=proba[n:],
    )


def importance_weights(train: Float64Array, n_test: int) -> tuple[Float64Array, float]:
    """Importance weights of the training images for an expectation over the test images.

    A weight is the density ratio p / (1 - p) * n / m, clipped to `CLIP` and divided by the mean of all clipped ratios.
    The division may move a weight slightly outside of `CLIP`.

    Args:
        train: each training image's probability of being a test image, ``(n,)``, strictly between 0 and 1.
        n_test: m, at least 1.

    Returns:
        The weights, float64 ``(n,)``, positive, mean 1; and the effective sample size, see
        `trainer.evaluation.targets.effective_images`.
    """
    ratios = np.clip(train / (1 - train) * len(train) / n_test, *CLIP)
    weights = ratios / ratios.mean()
    return weights, effective_images(weights)


def shifted_classes(y: NDArray[np.int64], train: Float64Array) -> tuple[ShiftedClass, ...]:
    """Classes whose frequency among the most test-like training images differs from their overall frequency.

    A class counts if its share in the most test-like third differs from its share in all training images by more than
    `SHIFT_THRESHOLD` standard errors of the hypergeometric distribution. The largest difference comes first.

    Args:
        y: class of each training image, int64 ``(n,)``; or ``(n, C)``, 0 and 1 for each of several labels.
        train: each training image's probability of being a test image, ``(n,)``.
    """
    n = len(y)
    third = np.argsort(-train, kind="stable")[: n // 3]
    found = []
    for c in range(y.shape[1]) if has_several(y) else np.unique(y):
        own = y[:, c] == 1 if has_several(y) else y == c
        overall = float(own.mean())
        share = float(own[third].mean()) if len(third) else overall
        error = np.sqrt(overall * (1 - overall) / max(1, len(third)) * (n - len(third)) / max(1, n - 1))
        if abs(share - overall) > SHIFT_THRESHOLD * error:
            found.append((abs(share - overall) / error, ShiftedClass(class_index=int(c), share=share, overall=overall)))
    return tuple(shifted for _, shifted in sorted(found, key=lambda pair: -pair[0]))


def _log_odds(
    model: str, seed: int, features: Float64Array, part: NDArray[np.int64], unseen: Float64Array
) -> NDArray[np.float64]:
    """Fit a classifier to ``features`` and predict the log-odds of ``unseen`` being test images, within about +-14."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if model == "forest":
        classifier = RandomForestClassifier(TREES, min_samples_leaf=LEAF, random_state=seed)
    else:
        # The prior variance of each weight is 1 / d. Under the prior, the log-odds of a standardised image then have a
        # standard deviation of 1 for any number of features.
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=1 / features.shape[1], max_iter=1000))
    proba = classifier.fit(features, part).predict_proba(unseen)[:, 1]
    proba = np.clip(proba, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(proba / (1 - proba)), np.float64)


def _calibrated(log_odds: Float64Array, part: NDArray[np.int64]) -> Float64Array:
    """Probabilities from out-of-fold log-odds by Platt scaling (1999): slope and intercept are fitted to all images.

    With hundreds of features the log-odds are overconfident, and weights would follow noise. A slope of 0 or less
    occurs by chance if the sets do not differ; then every probability is the share of test images.
    """
    from sklearn.linear_model import LogisticRegression

    share = float(part.mean())
    scale = float(log_odds.std())
    if scale < 1e-9:
        return np.full(len(part), share)
    centred = (log_odds - log_odds.mean())[:, None] / scale
    fitted = LogisticRegression(C=1e3, max_iter=1000).fit(centred, part)
    if fitted.coef_[0, 0] <= 0:
        return np.full(len(part), share)
    return np.asarray(np.clip(fitted.predict_proba(centred)[:, 1], 1e-6, 1 - 1e-6), np.float64)
