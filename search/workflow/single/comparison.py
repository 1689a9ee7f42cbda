"""The single network beside the ensemble: predicted classes of the same images, and the time that both take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.conversion.single.soup import SoupMaker
from trainer.evaluation.several_labels import has_several
from trainer.evaluation.temperature_scaling import scale_temperature
from trainer.inference.blend import Blend
from trainer.inference.model_folder import Member, ModelFolder
from trainer.inference.networks.torch_networks import read_weights

CHUNK = 256
"""Images in memory at a time."""

Pixels = Callable[[Member, NDArray[np.int64]], NDArray[np.uint8]]
"""Images by rows, resized for a member: uint8 ``(k, size, size, 3)``."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Both models on the same images, in one run."""

    images: int
    differing: int
    """Images whose predicted class differs, or any of whose labels does."""
    expected_loss: float
    """Loss in accuracy on these images if the ensemble's calibrated probabilities are right: the mean difference of its
    probabilities for its own class and for that of the single network."""
    ensemble_ms: float
    """Milliseconds an image: all networks and views together, without decoding and resizing."""
    single_ms: float
    several_labels: bool = False
    """Whether an image may have several labels. Then accuracy is the share of right decisions about single labels."""

    @property
    def share(self) -> float:
        """Share of the images whose predicted class differs: accuracy on them changes by this much at most."""
        return self.differing / self.images

    @property
    def bound(self) -> float:
        """Upper end of the one-sided 95% interval of `share` for further images (Clopper and Pearson 1934)."""
        from scipy.stats import beta

        if self.differing == self.images:
            return 1.0
        return float(beta.ppf(0.95, self.differing + 1, self.images - self.differing))

    @property
    def speed(self) -> float:
        """How many times as fast the single network is."""
        return self.ensemble_ms / self.single_ms


@dataclass(frozen=True, kw_only=True, eq=False)
class Single:
    """The single network, its preprocessing and its label rule."""

    member: Member
    """Its backbone, input and views."""
    state: Mapping[str, torch.Tensor]
    blend: Blend


def compare(
    model: ModelFolder,
    single: Single,
    pixels: Pixels,
    rows: NDArray[np.int64],
    temperature: float = 1.0,
) -> Comparison:
    """Predict images with the ensemble and with the single network.

    Args:
        rows: at least one.
        temperature: calibrates the ensemble's probabilities, see `Comparison.expected_loss`.
    """
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    seconds = np.zeros(2)
    several = model.blend.several_labels
    own = SoupMaker(single.member, several_labels=several)
    own.predict(single.state, pixels(single.member, chunks[0]))  # torch is slow at first
    alone = _timed(own, single.state, single.member, chunks, pixels, seconds[1:])
    by_member = []
    for member in model.members:
        maker, total = SoupMaker(member, several_labels=several), np.zeros((len(rows), member.classes))
        for path in member.weights:
            total += _timed(maker, read_weights(path), member, chunks, pixels, seconds[:1])
        by_member.append(total / len(member.weights))
    ensemble = model.blend.probabilities(np.stack(by_member))
    labels, own_labels = model.blend.labels(ensemble), single.blend.labels(single.blend.probabilities(alone[None]))
    calibrated = scale_temperature(ensemble, temperature, several_labels=several)
    ensemble_ms, single_ms = 1e3 * seconds / len(rows)
    return Comparison(
        images=len(rows),
        differing=int((own_labels != labels).reshape(len(rows), -1).any(axis=1).sum()),
        expected_loss=_expected_accuracy(calibrated, labels) - _expected_accuracy(calibrated, own_labels),
        ensemble_ms=float(ensemble_ms),
        single_ms=float(single_ms),
        several_labels=several,
    )


def _expected_accuracy(proba: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean probability that a predicted class is right; of several labels that each label's yes or no is."""
    right = np.where(labels == 1, proba, 1.0 - proba) if has_several(labels) else proba[np.arange(len(labels)), labels]
    return float(right.mean(dtype=np.float64))


def _timed(
    maker: SoupMaker,
    state: Mapping[str, torch.Tensor],
    member: Member,
    chunks: Sequence[NDArray[np.int64]],
    pixels: Pixels,
    seconds: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Probabilities of one network, ``(n, C)``; the time of its forward passes is added to ``seconds``."""
    parts = []
    for chunk in chunks:
        images = pixels(member, chunk)
        begun = time.perf_counter()
        parts.append(maker.predict(state, images))
        seconds += time.perf_counter() - begun
    return np.concatenate(parts)
