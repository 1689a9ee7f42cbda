"""Probabilities from a network, and which test-time views to average.

The computation itself is `trainer.inference.predict`, which travels with every exported model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainer.evaluation.metrics import score
from trainer.evaluation.targets import Targets
from trainer.inference import views
from trainer.inference.views import TTA, predict_views

if TYPE_CHECKING:
    import torch

    from trainer.networks.backbones import Preprocessing

VIEWS: tuple[str, ...] = tuple(views.VIEWS)
"""Every test-time view, "identity" first."""
FLIPS: tuple[str, ...] = TTA["flips"]
"""Those among which an export may choose, "identity" first."""


def predict_proba(
    model: torch.nn.Module,
    images: npt.NDArray[np.uint8],
    *,
    preprocessing: Preprocessing,
    views: Sequence[str] = ("identity",),
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    precision: torch.dtype | None = None,
) -> dict[str, npt.NDArray[np.float32]]:
    """Softmax probabilities of uint8 images (n, s, s, 3) by view: float32 (n, C), rows sum to 1.

    ``model`` is on ``device`` already. Full float32, no autocast, no TF32, unless a lower ``precision`` is given.
    ``views`` are of `VIEWS`.

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
    )


def average_views(by_view: Mapping[str, npt.NDArray[np.float32]], views: Sequence[str]) -> npt.NDArray[np.float32]:
    """The mean of the probabilities (n, C) that ``views`` give, as float32; of a single view, these themselves."""
    if len(views) == 1:
        return by_view[views[0]]
    mean: npt.NDArray[np.float64] = np.mean(np.stack([by_view[view] for view in views]), axis=0, dtype=np.float64)
    return mean.astype(np.float32)


def choose_views(
    targets: Targets,
    oof_views: Mapping[str, npt.NDArray[np.floating[Any]]],
    metric: str,
) -> tuple[str, ...]:
    """The views whose averaged out-of-fold probabilities (n, C) are best, "identity" always among them.

    Greedy: of the views left, the one that gives the lowest log loss together with those already taken is added, as
    long as it makes the log loss lower and ``metric`` no worse. Log loss decides because it moves with every image,
    where a handful of changed labels decides about accuracy. Rows that were never held out (NaN) do not count, the
    others by their weights.

    Raises:
        ValueError: no "identity", or a view that does not exist.
    """
    if "identity" not in oof_views or set(oof_views) - set(VIEWS):
        raise ValueError(f"views are 'identity' and others of {', '.join(VIEWS)}, not {', '.join(oof_views)}")
    known = np.isfinite(np.stack(list(oof_views.values()))).all(axis=(0, 2))
    held_out = targets.select(known)

    def judge(views: Sequence[str]) -> tuple[float, float]:
        mean = np.stack([oof_views[view][known] for view in views]).mean(axis=0, dtype=np.float64)
        return score("log_loss", held_out, mean), score(metric, held_out, mean)

    taken = ["identity"]
    best = judge(taken)
    left = [view for view in VIEWS if view in oof_views and view != "identity"]
    while left:
        judged = {view: judge([*taken, view]) for view in left}
        helpful = [view for view in left if judged[view][0] > best[0] and not judged[view][1] < best[1]]
        if not helpful:
            break
        view = max(helpful, key=lambda name: judged[name])
        taken.append(view)
        left.remove(view)
        best = judged[view]
    return tuple(taken)
