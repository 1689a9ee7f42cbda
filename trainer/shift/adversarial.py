"""Whether training and test images can be told apart: adversarial validation.

A classifier learns which part an image is from; what it says of images that it did not learn from shows how much the
parts differ. That is a classifier two-sample test (Lopez-Paz and Oquab 2017) with the area under the ROC curve as its
statistic: 0.5 where the parts are alike, 1 where every image gives itself away. Its probabilities are density ratios
(Sugiyama, Suzuki and Kanamori 2012, chapter 4), and so say how much a training image counts for the test images.

Pure functions of feature arrays, whoever made them; scikit-learn is imported when one is called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trainer.common.errors import DataError
from trainer.data.folds import make_folds
from trainer.evaluation.metrics import score, standard_error
from trainer.evaluation.targets import Targets, effective_images

Floats = NDArray[np.float64]

FOLDS = 5
FEWEST = 20  # images of either part; with fewer even a large difference would not show
TREES = 100
LEAF = 5  # images in a leaf of a tree, at least
CLIP = (0.2, 5.0)
"""Smallest and largest density ratio that is believed: a handful of images must not decide about a score."""
STRIKING = 3.0  # standard errors


class TooFewImages(ValueError):  # noqa: N818 - named for the fact
    """So few images that no answer would mean anything."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shift:
    """How far n training and m test images can be told apart.

    ``train`` ``(n,)`` and ``test`` ``(m,)`` are out-of-fold probabilities of being a test image, float64, strictly
    between 0 and 1, calibrated: where nothing can be told they are all m / (n + m).
    """

    auc: float
    standard_error: float
    """Of the area, over the draw of the images (DeLong et al. 1988)."""
    train: Floats
    test: Floats


@dataclass(frozen=True, kw_only=True)
class Striking:
    """A class that has another share among the training images most like test images than among all."""

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
    """Tell training images from test images by their features.

    Args:
        train, test: finite features, ``(n, d)`` and ``(m, d)``.
        groups: int64 ``(n + m,)``, training images first; images of one group are never on both sides of a fold, so
            that a picture which lies in both parts decides nothing.
        model: "linear" for many features, "forest" for a few which may matter in any shape (an exact file size).
        seed: of the folds and of the forest.

    Raises:
        TooFewImages: less than `FEWEST` images in a part, or in fewer groups than folds.
    """
    n, m = len(train), len(test)
    if min(n, m) < FEWEST:
        raise TooFewImages(f"{n} training and {m} test images; at least {FEWEST} of each are needed")
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
            raise TooFewImages("one group holds all images of a part, which leaves nothing to learn from")
        log_odds[out] = _log_odds(model, seed, features[~out], part[~out], features[out])
    proba = _calibrated(log_odds, part)
    # The area is that of the scores before calibration, which may have found that their order says nothing.
    ranked = 1 / (1 + np.exp(-log_odds))
    both = np.stack([1 - ranked, ranked], axis=1)
    return Shift(
        auc=score("roc_auc", Targets(part), both),
        standard_error=standard_error("roc_auc", Targets(part), both),
        train=proba[:n],
        test=proba[n:],
    )


def importance_weights(train: Floats, n_test: int) -> tuple[Floats, float]:
    """How much each training image counts in a mean over images like the test images.

    The weight is the density ratio p / (1 - p) * n / m, clipped to `CLIP`, divided by the mean: after that a weight may
    lie a little outside of `CLIP`.

    Args:
        train: probability of being a test image of each training image, ``(n,)``, strictly between 0 and 1.
        n_test: m, at least 1.

    Returns:
        Weights float64 ``(n,)``, positive, mean 1; and how many images with equal weights would give a mean as certain,
        see `trainer.evaluation.targets.effective_images`.
    """
    ratios = np.clip(train / (1 - train) * len(train) / n_test, *CLIP)
    weights = ratios / ratios.mean()
    return weights, effective_images(weights)


def striking_classes(y: NDArray[np.int64], train: Floats) -> tuple[Striking, ...]:
    """Classes whose share among the third of the training images that is most like test images differs from their share
    overall by more than `STRIKING` standard errors (hypergeometric), the most striking first.

    Args:
        y: class of each training image, int64 ``(n,)``.
        train: its probability of being a test image, ``(n,)``.
    """
    n = len(y)
    third = np.argsort(-train, kind="stable")[: n // 3]
    found = []
    for c in np.unique(y):
        overall = float((y == c).mean())
        share = float((y[third] == c).mean()) if len(third) else overall
        error = np.sqrt(overall * (1 - overall) / max(1, len(third)) * (n - len(third)) / max(1, n - 1))
        if abs(share - overall) > STRIKING * error:
            found.append((abs(share - overall) / error, Striking(class_index=int(c), share=share, overall=overall)))
    return tuple(one for _, one in sorted(found, key=lambda pair: -pair[0]))


def _log_odds(model: str, seed: int, features: Floats, part: NDArray[np.int64], unseen: Floats) -> NDArray[np.float64]:
    """Learn from ``features``, judge the ``unseen``: log-odds of being a test image, float64, within +-14 or so."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if model == "forest":
        classifier = RandomForestClassifier(TREES, min_samples_leaf=LEAF, random_state=seed)
    else:
        # A prior variance of 1 / d for each weight: the log-odds of a standardised image then have a standard deviation
        # of 1 before anything is seen, however many features there are.
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=1 / features.shape[1], max_iter=1000))
    proba = classifier.fit(features, part).predict_proba(unseen)[:, 1]
    proba = np.clip(proba, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(proba / (1 - proba)), np.float64)


def _calibrated(log_odds: Floats, part: NDArray[np.int64]) -> Floats:
    """Probabilities from out-of-fold log-odds by Platt's method (1999): two numbers, fitted to all images.

    With hundreds of features the log-odds are too sure of themselves, which would make weights of mere noise. Log-odds
    that point the wrong way, as they do by chance where nothing can be told, become the share of test images.
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
