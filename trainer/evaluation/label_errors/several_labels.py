"""Confident learning for images that may have several labels: pairs of image and label that predictions contradict.

Each label is a problem of two classes by itself: images that have it, and images that lack it. So the rule for one
label (`trainer.evaluation.label_errors.one_label`) holds for each column of the matrix, as in cleanlab.

The images are ordered by the least probable of their contradicted labels. Thyagarajan et al. 2022, "Identifying
Incorrect Annotations in Multi-Label Classification Data" (arXiv 2211.13895), prefer an exponential moving average over
the scores of all labels of an image. Where predictions are sure of themselves, as those of linear probes are, the
lowest scores are all near 0, so the second lowest decides, and images that are hard as a whole come first. In
`benchmarks.training.several_label_noise`, 69 to 72 % of the first images have a planted error by the least probable
label, and 44 to 70 % by that average.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.common.arrays import Float64Array
from trainer.evaluation.label_errors.one_label import MOST_SUSPICIOUS, find_label_errors
from trainer.evaluation.metrics import Probabilities
from trainer.evaluation.several_labels import Labels, as_pairs


@dataclass(frozen=True, kw_only=True, eq=False)
class SeveralLabelErrors:
    """The s images with suspicious labels among n images and C labels, the highest `confidence` first."""

    rows: NDArray[np.int64]
    """Images with suspicious labels: int64, shape (s,)."""
    given: Labels
    """Their labels: int64, shape (s, C), 0 and 1."""
    proposed: Labels
    """Their labels, changed where the probabilities contradict them; in each row at least one: int64, shape (s, C)."""
    proba: Float64Array
    """Probabilities of all their labels: float64, shape (s, C), 0 .. 1; NaN where none is known."""
    expected: float
    """Estimated number of wrong pairs of image and label: labels that images have wrongly, or lack wrongly."""
    judged: int
    """Number of images of which a label was judged."""

    @property
    def changed(self) -> NDArray[np.bool_]:
        """The contradicted labels of each of `rows`: bool, shape (s, C)."""
        found: NDArray[np.bool_] = self.proposed != self.given
        return found

    @property
    def confidence(self) -> Float64Array:
        """The highest probability by which a label of each of `rows` is contradicted: float64, shape (s,), 0 .. 1."""
        against = np.where(self.given == 1, 1.0 - self.proba, self.proba)
        highest: Float64Array = np.where(self.changed, against, 0.0).max(axis=1, initial=0.0)
        return highest

    @property
    def too_many(self) -> bool:
        """Whether so many images are suspicious that the predictions are rather at fault (`MOST_SUSPICIOUS`)."""
        return len(self.rows) > MOST_SUSPICIOUS * self.judged


def find_several_label_errors(
    y: Labels, proba: Probabilities, judged: NDArray[np.bool_] | None = None
) -> SeveralLabelErrors:
    """Find the labels that images have or lack although held-out probabilities contradict it.

    Where every image has a label, an image is never proposed to lose its last one: it gets its most probable label, as
    in the predictions of such data. If that is the label that was contradicted, the image is not suspicious.

    Args:
        y: labels, int64, shape (n, C), 0 and 1.
        proba: probabilities by models that were not trained on the image, shape (n, C). NaN is not judged.
        judged: bool, shape (n, C); False where a probability is not to judge the label. None: all do.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    if y.ndim != 2 or y.shape != proba.shape or (judged is not None and judged.shape != y.shape):
        raise ValueError(f"probabilities of shape {proba.shape} do not fit labels of shape {y.shape}")
    p = proba.astype(np.float64)
    usable: NDArray[np.bool_] = np.isfinite(p) if judged is None else np.isfinite(p) & judged
    proposed, expected = y.copy(), 0.0
    for label in range(y.shape[1]):
        found = find_label_errors(y[:, label], as_pairs(np.where(usable[:, label], p[:, label], np.nan)))
        proposed[found.rows, label] = 1 - y[found.rows, label]
        expected += found.expected_share * found.judged
    if y.any(axis=1).all():
        bare = np.flatnonzero(~proposed.any(axis=1))
        known = np.where(usable[bare], p[bare], -1.0)
        likeliest = known == known.max(axis=1, keepdims=True)
        proposed[bare, (likeliest * (1 + y[bare])).argmax(axis=1)] = 1  # of equal ones the given label
    changed = proposed != y
    suspicious = np.flatnonzero(changed.any(axis=1))
    own = np.where(changed, np.where(y == 1, p, 1.0 - p), 1.0)[suspicious].min(axis=1, initial=1.0)
    rows = suspicious[np.argsort(own, kind="stable")].astype(np.int64)
    return SeveralLabelErrors(
        rows=rows,
        given=y[rows],
        proposed=proposed[rows],
        proba=p[rows],
        expected=expected,
        judged=int(usable.any(axis=1).sum()),
    )
