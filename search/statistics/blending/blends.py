"""Methods that blend the predictions of several recipes, fitted on out-of-fold probabilities. Pure functions.

A blend method is a function of the targets of n images and of the members' probabilities ``(M, n, C)``, the leader's
first. It returns a `Blend`. `search.statistics.blending.ensemble_selection` decides whether a method is used, on images
that it was not fitted on.

Members are selected by log loss at the optimal temperature, whatever the metric. Log loss changes with every image,
whereas accuracy may depend on a handful of changed labels. At the optimal temperature it does not depend on confidence,
which label smoothing lowers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.label_rules import CUT_METRICS, OFFSET_METRICS, fit_cuts, fit_offsets
from trainer.evaluation.metrics import SMALLEST_PROBABILITY, score
from trainer.evaluation.targets import Targets
from trainer.evaluation.temperature_scaling import fit_temperature, scale_temperature
from trainer.inference.blend import Blend, log_odds

Stacked = NDArray[np.float32]
"""Probabilities of M members, ``(M, n, C)``."""


class BlendMethod(Protocol):
    """A blend method, see the head of this module."""

    def __call__(self, targets: Targets, members: Stacked) -> Blend: ...


def with_label_count(blend: Blend, targets: Targets) -> Blend:
    """The blend for images with as many labels as those of ``targets``: one, several, or at least one of several.

    Where each training image has a label, an image without any predicted label gets its most probable one.
    """
    if not targets.several_labels:
        return blend
    return replace(blend, several_labels=True, at_least_one=bool(targets.y.any(axis=1).all()))


LEAST_GAIN = 1e-5
"""Smallest decrease of the mean log loss for which a member is added; copies of a member give rounding errors."""
GREEDY_STEPS = 20
"""Draws of the greedy selection: weights are multiples of 1/20 or coarser."""
STACK_C = 0.02
"""Inverse strength of the L2 penalty of the stacked regression, as in scikit-learn. Log probabilities range over
several units, and each class has M x C coefficients: without a strong penalty the regression overfits."""
ABSENT = -20.0
"""Intercept of a class without an image in the fit: its probability is practically zero."""


def mean_of_all(targets: Targets, members: Stacked) -> Blend:
    """The equal mean of all members."""
    return with_label_count(Blend(weights=(1.0 / len(members),) * len(members)), targets)


def equal(backbones: Sequence[str], at_most: int) -> BlendMethod:
    """Equal mean of the leader and the members that lower its log loss: forward selection without replacement.

    While a recipe with a new backbone lowers the loss, the best of these is added. Different networks make different
    errors, which out-of-fold predictions of a few hundred images show only in part.

    Args:
        backbones: backbone of each member.
        at_most: largest number of members in the mean.
    """

    def fit(targets: Targets, members: Stacked) -> Blend:
        chosen, total = [0], members[0].astype(np.float64)
        best = _loss(targets, total, 1)
        while len(chosen) < at_most:
            left = [i for i in range(len(members)) if i not in chosen]
            taken = {backbones[i] for i in chosen}
            for pool in ([i for i in left if backbones[i] not in taken], left):
                losses = {i: _loss(targets, total + members[i], len(chosen) + 1) for i in pool}
                step = min(losses, key=lambda i: losses[i], default=None)
                if step is not None and losses[step] < best - LEAST_GAIN:
                    break
            else:
                break
            best = losses[step]
            chosen.append(step)
            total += members[step]
        weights = tuple(1.0 / len(chosen) if i in chosen else 0.0 for i in range(len(members)))
        return with_label_count(Blend(weights=weights), targets)

    return fit


def greedy(at_most: int) -> BlendMethod:
    """Weighted mean by forward selection with replacement, beginning with the leader.

    Caruana et al. 2004, "Ensemble Selection from Libraries of Models".

    All `GREEDY_STEPS` draws are made even if one does not lower the loss, because later draws make finer weights. The
    number of draws with the lowest loss is used, which is the paper's early stopping.

    Args:
        at_most: largest number of different members.
    """

    def fit(targets: Targets, members: Stacked) -> Blend:
        counts = np.zeros(len(members), np.int64)
        counts[0] = 1
        total = members[0].astype(np.float64)
        best, kept = _loss(targets, total, 1), counts.copy()
        for _ in range(GREEDY_STEPS - 1):
            full = np.count_nonzero(counts) >= at_most
            drawn = int(counts.sum()) + 1
            losses = {
                i: _loss(targets, total + members[i], drawn) for i in range(len(members)) if counts[i] or not full
            }
            step = min(losses, key=lambda i: losses[i])
            counts[step] += 1
            total += members[step]
            if losses[step] < best - LEAST_GAIN:
                best, kept = losses[step], counts.copy()
        return with_label_count(Blend(weights=tuple(float(weight) for weight in kept / kept.sum())), targets)

    return fit


def stack(targets: Targets, members: Stacked) -> Blend:
    """Multinomial logistic regression on the log probabilities of all members, with a strong penalty.

    Of several labels each has a logistic regression on the members' log odds of this label.
    """
    from sklearn.linear_model import LogisticRegression

    if targets.several_labels:
        return _stack_several(targets, members)
    count, _, classes = members.shape
    logs = np.concatenate(list(np.log(np.clip(members.astype(np.float64), SMALLEST_PROBABILITY, 1.0))), axis=1)
    present = np.unique(targets.y)
    coefficients, intercepts = np.zeros((classes, count * classes)), np.full(classes, ABSENT)
    if len(present) == 1:
        intercepts[present] = 0.0
    else:
        # Weights of mean 1 keep the balance between likelihood and penalty.
        model = LogisticRegression(C=STACK_C, max_iter=1000)
        model.fit(logs, targets.y, sample_weight=targets.mean_one_weights)
        # Of two classes scikit-learn keeps one row, that of the second against the first.
        rows = present if len(present) > 2 else present[1:]
        intercepts[present] = 0.0
        coefficients[rows], intercepts[rows] = model.coef_, model.intercept_
    return Blend(
        weights=(1.0 / count,) * count,
        coefficients=tuple(tuple(float(value) for value in row) for row in coefficients),
        intercepts=tuple(float(value) for value in intercepts),
    )


def _stack_several(targets: Targets, members: Stacked) -> Blend:
    from sklearn.linear_model import LogisticRegression

    count, _, classes = members.shape
    odds = log_odds(members)
    coefficients, intercepts = np.zeros((classes, count * classes)), np.full(classes, ABSENT)
    for label in range(classes):
        y = targets.y[:, label]
        if y.min() == y.max():
            intercepts[label] = -ABSENT if y.all() else ABSENT
            continue
        model = LogisticRegression(C=STACK_C, max_iter=1000)
        model.fit(odds[:, :, label].T, y, sample_weight=targets.mean_one_weights)
        coefficients[label, label::classes] = model.coef_[0]
        intercepts[label] = model.intercept_[0]
    blend = Blend(
        weights=(1.0 / count,) * count,
        coefficients=tuple(tuple(float(value) for value in row) for row in coefficients),
        intercepts=tuple(float(value) for value in intercepts),
    )
    return with_label_count(blend, targets)


def calibrated(method: BlendMethod) -> BlendMethod:
    """``method`` with temperature scaling."""

    def fit(targets: Targets, members: Stacked) -> Blend:
        blend = method(targets, members)
        return replace(blend, temperature=fit_temperature(targets, blend.probabilities(members)))

    return fit


def with_label_rule(method: BlendMethod, metric: str) -> BlendMethod:
    """``method`` with the label rule of ``metric``.

    The metric is one of `trainer.evaluation.label_rules.OFFSET_METRICS` and `CUT_METRICS`.
    """

    def fit(targets: Targets, members: Stacked) -> Blend:
        blend = method(targets, members)
        proba = blend.probabilities(members)
        if metric in CUT_METRICS:
            return replace(blend, cuts=fit_cuts(targets, proba, metric))
        assert metric in OFFSET_METRICS, metric
        return replace(blend, offsets=fit_offsets(targets, proba, metric))

    return fit


def _loss(targets: Targets, total: NDArray[np.float64], count: int) -> float:
    """Log loss, at the optimal temperature, of the mean of ``count`` predictions with the sum ``total`` ``(n, C)``."""
    if targets.several_labels:
        mean = total / count
        scaled = scale_temperature(mean, fit_temperature(targets, mean), several_labels=True)
        return -score("log_loss", targets, scaled)
    # Temperature scaling normalises each row.
    return -score("log_loss", targets, scale_temperature(total, fit_temperature(targets, total)))
