"""Linear heads: multinomial logistic regression on frozen features, one head for every fold.

Features are scaled by the training part of each fold, and an L2 penalty on the weights is chosen inside that part by
cross-validation, so that a held-out label affects nothing.

A feature is divided by the square root of its variance, shrunk half-way toward the mean variance of all features. Plain
standardisation gives every feature the same weight, also those that hardly vary. On images unlike those of the
pre-training, many of these are noise, and a fine-tuning that begins with large weights on them ruins the network
(`benchmarks/README.md`). Tusher et al. 2001, "Significance analysis of microarrays", add a constant to deviations for
the same reason.

The fits minimise cross-entropy by L-BFGS (Liu & Nocedal 1989) in the basis of the principal components. There the
curvature of the loss is nearly diagonal, and dividing by its square root makes a few dozen steps suffice. The penalty
and therefore the minimum are the same in every orthonormal basis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.common.arrays import Float32Array
from trainer.data.folds import make_folds
from trainer.data.inspection import Progress
from trainer.evaluation.targets import Labels
from trainer.inference.networks.views import probabilities_of

PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001, 0.00003)
"""L2 penalties that are tried, the strongest first, relative to the mean cross-entropy of the images."""
INNER_FOLDS = 5
"""Folds of a training part in which the penalty is chosen, where the folds themselves cannot serve."""

_WORSE = 1.05  # ratio to the best validation loss so far at which weaker penalties are no longer tried
_SMALLEST_SCALE = 1e-6  # if no feature varies
_SMALLEST_VARIANCE = 1e-6  # of a principal component, relative to the largest
_CURVATURE = 0.1  # typical second derivative of the cross-entropy by a logit
_TOLERANCE, _COARSE_TOLERANCE = 1e-5, 1e-3  # of the gradient in the scaled basis; coarse to choose a penalty
_STEPS = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearHead:
    """A linear classifier of d features: logits ``features @ weight.T + bias``."""

    weight: torch.Tensor
    """float32, shape (C, d)."""
    bias: torch.Tensor
    """float32, shape (C,)."""
    penalty: float
    """The chosen one of `PENALTIES`."""
    several_labels: bool = False
    """Whether each label is a classifier of its own: C logistic regressions with one penalty."""

    def predict_proba(self, features: Float32Array) -> Float32Array:
        """Probabilities of features (n, d): float32, shape (n, C); a softmax, or of several labels sigmoids."""
        values = torch.from_numpy(np.array(features)).to(self.weight.device)
        proba: Float32Array = probabilities_of(values @ self.weight.T + self.bias, self.several_labels).cpu().numpy()
        return proba


def fit_heads(
    features: Float32Array,
    y: Labels,
    folds: Labels,
    *,
    class_weights: Callable[[Labels], Float32Array],
    row_weights: Sequence[Float32Array] | None = None,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> list[LinearHead]:
    """Fit the head of every fold on the rows that the fold does not hold out.

    The penalty of a fold is the one with the lowest cross-entropy on rows that were left out of its training part in
    turn: those of each other fold, so that groups stay together. With fewer than three folds a training part is divided
    into `INNER_FOLDS`.

    Args:
        features: float32, shape (n, d), finite.
        y: class of each row: int64, shape (n,); or (n, C), 0 and 1 for each of several labels. Then the loss is binary
            cross-entropy, summed over the labels.
        folds: fold that holds out each row: int64, shape (n,), 0 .. K - 1, or -1: always in the training part.
        class_weights: given the classes of the training rows of a fit, how much a row of each class counts: float32,
            shape (C,).
        row_weights: for each fold, how much every row counts in its fits and in the choice of its penalty: float32,
            shape (n,), 0 or more. A row of weight 0 is as if it were not there. None: all count the same.
        device: where the fits compute.
        progress: called with (steps done, steps in total): a step fits one training part, with all its penalties.

    Returns:
        K heads (one if no row is held out), on ``device``.
    """
    count = max(1, int(folds.max(initial=-1)) + 1)
    problem = _problems(features, y, class_weights, device)
    losses = np.zeros((count, len(PENALTIES)))
    splits = list(_inner_splits(y, folds, count))
    if row_weights is not None:  # the folds that share a split weight its rows differently
        splits = [(train, {fold: rows}) for train, judged in splits for fold, rows in judged.items()]
    total = len(splits) + count

    def weights_of(fold: int) -> Float32Array | None:
        return None if row_weights is None else row_weights[fold]

    for step, (train, judged) in enumerate(splits):
        if progress is not None:
            progress(step, total)
        of_split = problem(train, weights_of(next(iter(judged))))
        for fold, of_penalty in zip(judged, _validation_losses(of_split, list(judged.values())), strict=True):
            losses[fold] += of_penalty
    best = losses.argmin(axis=1)
    heads = []
    for fold in range(count):
        if progress is not None:
            progress(len(splits) + fold, total)
        heads.append(problem(np.flatnonzero(folds != fold), weights_of(fold)).head(PENALTIES[best[fold]]))
    return heads


def inner_probabilities(
    features: Float32Array,
    y: Labels,
    folds: Labels,
    heads: Sequence[LinearHead],
    *,
    class_weights: Callable[[Labels], Float32Array],
    device: torch.device | str = "cpu",
) -> list[Float32Array]:
    """Probabilities of the rows of each training part by heads that were fitted inside of this part, without the row.

    They are the out-of-fold probabilities of a cross-validation of the training part, whose folds are the other folds.
    So what a fold holds out changes nothing in them. With fewer than three folds, a training part is divided into
    `INNER_FOLDS`, in which groups need not stay together.

    Args:
        heads: of `fit_heads`, one for each fold, whose penalties are used: each was chosen inside the training part.

    The other arguments are those of `fit_heads`.

    Returns:
        For each fold float32, shape (n, C). NaN in rows that it holds out or that no fold holds out, and in rows whose
        class their fit has not seen.
    """
    problem = _problems(features, y, class_weights, device)
    found = [np.full((len(y), len(head.bias)), np.nan, np.float32) for head in heads]
    for train, judged in _inner_splits(y, folds, len(heads)):
        of_split = problem(train, None)
        for fold, rows in judged.items():
            seen = rows[np.isin(y[rows], y[train])]
            of_split.restart()  # the penalty of the other fold was chosen with the rows that this one holds out
            found[fold][seen] = of_split.head(heads[fold].penalty).predict_proba(features[seen])
    return found


def _problems(
    features: Float32Array,
    y: Labels,
    class_weights: Callable[[Labels], Float32Array],
    device: torch.device | str,
) -> Callable[[Labels, Float32Array | None], _Problem]:
    """A function from training rows, and the weights of all rows, to their fits."""
    x, targets = torch.from_numpy(np.array(features)).to(device), torch.from_numpy(y).to(device)

    def problem(rows: Labels, weights: Float32Array | None) -> _Problem:
        if weights is not None:
            rows = rows[weights[rows] > 0.0]
        of_rows = None if weights is None else torch.from_numpy(weights).to(device)
        return _Problem(x, targets, rows, torch.from_numpy(class_weights(y[rows])).to(device), of_rows)

    return problem


def _inner_splits(y: Labels, folds: Labels, count: int) -> Iterator[tuple[Labels, dict[int, Labels]]]:
    """Training rows, and by fold the rows on which its penalty is judged; every fold occurs in several splits."""
    if count >= 3:
        # One fit without folds a and b judges the penalty of a on b, and that of b on a.
        for a, b in combinations(range(count), 2):
            train = np.flatnonzero((folds != a) & (folds != b))
            yield train, {a: np.flatnonzero(folds == b), b: np.flatnonzero(folds == a)}
        return
    for fold in range(count):
        part = np.flatnonzero(folds != fold)
        inner_count = min(INNER_FOLDS, len(part))
        inner = make_folds(y[part], np.arange(len(part)), inner_count, seed=0)
        for number in range(inner_count):
            yield part[inner != number], {fold: part[inner == number]}


def _validation_losses(problem: _Problem, judged: Sequence[Labels]) -> list[NDArray[np.float64]]:
    """Summed cross-entropy on each of ``judged`` by penalty; infinite for penalties that are certainly too weak."""
    losses = [np.full(len(PENALTIES), np.inf) for _ in judged]
    open_ones = list(zip(losses, judged, strict=True))
    for number, penalty in enumerate(PENALTIES):
        head = problem.head(penalty, _COARSE_TOLERANCE)
        for of_rows, rows in open_ones:
            of_rows[number] = problem.loss(head, rows)
        # Each by its own rows: those of another fold are not held out by this one.
        open_ones = [(of_rows, rows) for of_rows, rows in open_ones if of_rows[number] <= _WORSE * of_rows.min()]
        if not open_ones:
            break
    return losses


class _Problem:
    """The fits on one set of training rows, by penalty; each begins at the solution of the one before."""

    def __init__(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        rows: Labels,
        class_weights: torch.Tensor,
        row_weights: torch.Tensor | None,
    ) -> None:
        self._x, self._all_y, self._class_weights, self._row_weights = x, y, class_weights, row_weights
        own, self._y = x[rows], y[rows]
        self._weights = self._weights_of(rows)
        self._mean, variance = own.mean(dim=0), own.var(dim=0, correction=0)
        self._scale = ((variance + variance.mean()) / 2).sqrt().clamp_min(_SMALLEST_SCALE)
        self._scores, self._axes, self._variances = _principal_components((own - self._mean) / self._scale)
        self.restart()

    def restart(self) -> None:
        """Let the next fit begin at zero."""
        classes = len(self._class_weights)
        zeros = self._x.new_zeros
        self._solution = zeros((len(self._variances), classes)), zeros(classes)

    def loss(self, head: LinearHead, rows: Labels) -> float:
        """Summed cross-entropy of ``head`` on any rows, by the weights of this problem."""
        losses = self._losses(self._x[rows] @ head.weight.T + head.bias, self._all_y[rows])
        return float((losses * self._weights_of(rows)).double().sum())

    def _losses(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of each row, before its weight."""
        if y.ndim == 1:
            return torch.nn.functional.cross_entropy(logits, y, reduction="none")
        losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, y.float(), reduction="none")
        return (losses * self._class_weights).sum(dim=1)

    def _weights_of(self, rows: Labels) -> torch.Tensor:
        several = self._all_y.ndim == 2  # the weights of labels are those of their losses
        weights = self._x.new_ones(len(rows)) if several else self._class_weights[self._all_y[rows]]
        return weights if self._row_weights is None else weights * self._row_weights[rows]

    def head(self, penalty: float, tolerance: float = _TOLERANCE) -> LinearHead:
        """The head of least penalised cross-entropy."""
        scale = (_CURVATURE * self._variances + penalty).rsqrt()[:, None]
        begin, begin_bias = self._solution
        scaled = (begin / scale).requires_grad_()
        bias = begin_bias.clone().requires_grad_()
        optimizer = torch.optim.LBFGS(
            [scaled, bias], max_iter=_STEPS, tolerance_grad=tolerance, history_size=20, line_search_fn="strong_wolfe"
        )
        total = self._weights.sum()

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            coefficients = scale * scaled
            logits = self._scores @ coefficients + bias
            losses = self._losses(logits, self._y)
            loss = (losses * self._weights).sum() / total + penalty / 2 * coefficients.square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        with torch.enable_grad():
            optimizer.step(closure)  # type: ignore[no-untyped-call]
        self._solution = (scale * scaled).detach(), bias.detach()
        weight = ((self._axes @ self._solution[0]).T / self._scale).contiguous()
        bias_of_features = self._solution[1] - weight @ self._mean
        return LinearHead(weight=weight, bias=bias_of_features, penalty=penalty, several_labels=self._all_y.ndim == 2)


def _principal_components(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores (n, r), axes (d, r) and variances (r,) of centred rows ``x`` (n, d), without components of no variance."""
    n, d = x.shape
    # The eigenvectors of the smaller of the two products; the others follow from them.
    squares, vectors = torch.linalg.eigh(x @ x.T if n < d else x.T @ x)
    kept = squares > squares[-1].clamp_min(torch.finfo(x.dtype).tiny) * _SMALLEST_VARIANCE
    squares, vectors = squares[kept], vectors[:, kept]
    if n < d:
        lengths = squares.sqrt()
        return vectors * lengths, x.T @ (vectors / lengths), squares / n
    return x @ vectors, vectors, squares / n
