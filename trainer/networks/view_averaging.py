"""Test-time augmentation: predicting several views of an image, averaging them, and choosing which to average.

The views and their prediction are `trainer.inference.networks.views`, which every exported model contains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainer.evaluation.metrics import score
from trainer.evaluation.targets import Targets
from trainer.inference.networks import views
from trainer.inference.networks.views import TTA, predict_views

if TYPE_CHECKING:
    import torch

    from trainer.networks.backbones import Preprocessing

VIEWS: tuple[str, ...] = tuple(views.VIEWS)
"""Every test-time view, "identity" first."""
FLIPS: tuple[str, ...] = TTA["flips"]
"""The views among which an export may choose, "identity" first."""


def predict_proba(
    model: torch.nn.Module,
    images: npt.NDArray[np.uint8],
    *,
    preprocessing: Preprocessing,
    views: Sequence[str] = ("identity",),
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    precision: torch.dtype | None = None,
    several_labels: bool = False,
    apart: bool = False,
) -> dict[str, npt.NDArray[np.float32]]:
    """Probabilities by test-time view: float32, shape (n, C), rows sum to 1 unless ``several_labels``.

    Args:
        model: on ``device``; runs in evaluation mode, and its own mode is restored.
        images: uint8, shape (n, side, side, 3), RGB.
        views: names of `VIEWS`.
        batch_size: images per forward pass.
        precision: of autocast; None: full float32 (`trainer.inference.networks.views.full_float32`).
        several_labels: whether an image may have several labels, so that each has a sigmoid of its own.
        apart: keep the probabilities of the networks that ``model`` joins: (n, networks, C).

    Raises:
        torch.OutOfMemoryError: ``batch_size`` images do not fit.
    """
    return predict_views(
        model,
        images,
        mean=preprocessing.mean,
        std=preprocessing.std,
        views=views,
        batch_size=batch_size,
        device=device,
        precision=precision,
        several_labels=several_labels,
        apart=apart,
    )


def average_views(by_view: Mapping[str, npt.NDArray[np.float32]], views: Sequence[str]) -> npt.NDArray[np.float32]:
    """Mean of the probabilities of ``views``: float32, shape (n, C); of a single view, its own array."""
    if len(views) == 1:
        return by_view[views[0]]
    mean: npt.NDArray[np.float64] = np.mean(np.stack([by_view[view] for view in views]), axis=0, dtype=np.float64)
    return mean.astype(np.float32)


def helpful_views(targets: Targets, oof_views: Mapping[str, npt.NDArray[np.floating[Any]]]) -> tuple[str, ...]:
    """The views among which to choose: "identity", and those whose average with it has a lower log loss.

    The others need not predict the test images: `choose_views` begins with the best of these. A mirror image helps
    nearly always, an image upside down only where images have no top. Where no row was held out, all views stay.

    Args:
        targets, oof_views: as of `choose_views`.
    """
    known = np.isfinite(np.stack(list(oof_views.values()))).all(axis=(0, 2))
    if not known.any():
        return tuple(oof_views)
    held_out = targets.select(known)

    def log_loss(*views: str) -> float:
        """Negated, as every metric: higher is better."""
        mean = np.stack([oof_views[view][known] for view in views]).mean(axis=0, dtype=np.float64)
        return score("log_loss", held_out, mean)

    alone = log_loss("identity")
    others = [view for view in oof_views if view != "identity"]
    return ("identity", *(view for view in others if log_loss("identity", view) > alone))


def choose_views(
    targets: Targets,
    oof_views: Mapping[str, npt.NDArray[np.floating[Any]]],
    metric: str,
) -> tuple[str, ...]:
    """Choose the views to average by their out-of-fold probabilities; "identity" is always one of them.

    Greedy forward selection: each step adds the view that gives the lowest log loss together with those chosen before,
    as long as the log loss gets lower and ``metric`` no worse. Log loss decides because every image changes it, whereas
    accuracy depends on the few labels that change.

    Args:
        targets: classes of n images, and how much each image counts.
        oof_views: probabilities by view, shape (n, C). Rows that were never held out are NaN and are left out.
        metric: a name in `trainer.evaluation.metrics.METRICS`.

    Returns:
        The chosen views, in the order in which they were added.

    Raises:
        ValueError: ``oof_views`` lacks "identity" or has an unknown view.
    """
    if "identity" not in oof_views or set(oof_views) - set(VIEWS):
        raise ValueError(f"views are 'identity' and others of {', '.join(VIEWS)}, not {', '.join(oof_views)}")
    known = np.isfinite(np.stack(list(oof_views.values()))).all(axis=(0, 2))
    held_out = targets.select(known)

    def scores_of(views: Sequence[str]) -> tuple[float, float]:
        """Log loss (negated, as for every metric higher is better) and ``metric`` of the average of ``views``."""
        mean = np.stack([oof_views[view][known] for view in views]).mean(axis=0, dtype=np.float64)
        return score("log_loss", held_out, mean), score(metric, held_out, mean)

    chosen = ["identity"]
    best = scores_of(chosen)
    candidates = [view for view in VIEWS if view in oof_views and view != "identity"]
    while candidates:
        scores = {view: scores_of([*chosen, view]) for view in candidates}
        helpful = [view for view in candidates if scores[view][0] > best[0] and not scores[view][1] < best[1]]
        if not helpful:
            break
        view = max(helpful, key=lambda name: scores[name])
        chosen.append(view)
        candidates.remove(view)
        best = scores[view]
    return tuple(chosen)
