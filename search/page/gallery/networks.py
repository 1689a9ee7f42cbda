"""The fold networks that held the images of the gallery out, and what is drawn and measured with them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search.runtime.errors import SearchError
from search.runtime.home import Home
from search.runtime.kept_networks import kept_networks
from search.study_state.study import Study
from search.study_state.study_targets import read_folds
from storage.stores import Stores
from storage.values import FULL_DATA_SPLIT, TrialRecord
from trainer.common.arrays import Float32Array, Float64Array
from trainer.common.errors import BackboneError
from trainer.data.image_set import ImageSet
from trainer.inference.printable import cause_of
from trainer.recipe.recipe import LINEAR_PROBE, Recipe

if TYPE_CHECKING:
    import torch

MOST_COMPARED, LEAST_COMPARED = 4_000, 100
"""Training and test images together whose features are compared: evenly spaced ones, if there are more or if the time
suffices for fewer. With fewer than the second number none are."""
_FIRST_MAP = 3.0
"""Expected time of the first map, as a multiple of an epoch's time of one image in all folds. It includes the search
for the layer: up to ten passes."""
_MAP_COST = 2.0  # a map takes as long as the features of this many images, or of more: it needs the gradient, too

log = logging.getLogger(__name__)


class TimeIsOver(SearchError):
    """The time for the pictures is over. It ends a step and never leaves this package."""


class Clock:
    """The time that the pictures may take.

    Args:
        seconds: from now on.
    """

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._end = now, now() + seconds

    @property
    def left(self) -> float:
        """Seconds."""
        return self._end - self._now()

    def check(self, needed: float = 0.0) -> None:
        """Raise `TimeIsOver` if fewer than ``needed`` seconds are left."""
        if needed > self.left:
            raise TimeIsOver

    def now(self) -> float:
        """Seconds since some moment."""
        return self._now()


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """A cross-validation of the leading recipe."""

    record: TrialRecord
    study: Study
    folds: NDArray[np.int64]
    """Fold of each training image, ``(n,)``."""
    networks: Mapping[int, Path]
    """File of the network that held a fold out, by fold; empty if they were not kept."""

    @property
    def recipe(self) -> Recipe:
        """The recipe as it was trained."""
        return Recipe.from_flat(self.record.recipe or {})

    @property
    def form(self) -> tuple[int, str, str]:
        """Size, resize policy and interpolation of the network's images."""
        from trainer.networks.backbones import preprocessing_of

        recipe = self.recipe
        return recipe.image_size, recipe.resize, preprocessing_of(recipe.backbone).interpolation


def held_out(stores: Stores, home: Home, study: Study, trial: TrialRecord, others: Sequence[TrialRecord]) -> HeldOut:
    """The search trial if its networks are kept, else the first of its other trainings with kept networks.

    Args:
        study: of ``trial`` and of ``others``, its trainings on further seeds and splits.
    """
    for record in (trial, *others):
        if record.split == FULL_DATA_SPLIT:
            continue
        found = {path.stem.removeprefix("fold"): path for path in kept_networks(home, study.name, record)}
        files = {int(fold): path for fold, path in found.items() if fold.isdecimal()}
        if len(files) == study.protocol.folds:
            return HeldOut(record=record, study=study, folds=read_folds(stores, study, record.split), networks=files)
    return HeldOut(record=trial, study=study, folds=read_folds(stores, study, trial.split), networks={})


class FoldNetworks:
    """Loads one fold network at a time, and draws maps of images with it.

    Raises:
        BackboneError: the network cannot be built.
    """

    def __init__(self, held: HeldOut, images: ImageSet, device: str, clock: Clock) -> None:
        import timm
        import torch

        from trainer.maps.class_activation import MapDrawer
        from trainer.networks.backbones import preprocessing_of, size_arguments

        recipe = held.recipe
        self._held, self._images, self._clock = held, images, clock
        self._device = torch.device(device)
        preprocessing = preprocessing_of(recipe.backbone)
        arguments: dict[str, Any] = {**size_arguments(recipe.backbone, recipe.image_size)}
        try:
            model: torch.nn.Module = timm.create_model(
                recipe.backbone, pretrained=False, num_classes=len(images.class_names), **arguments
            )
        except Exception as error:  # timm raises many types
            raise BackboneError(f"{recipe.backbone} cannot be built: {cause_of(error)}") from error
        self._model = model.to(device).eval()
        for parameter in self._model.parameters():
            parameter.requires_grad_(False)
        self._drawer = MapDrawer(
            mean=preprocessing.mean,
            std=preprocessing.std,
            size=recipe.image_size,
            device=device,
            several_labels=images.several_labels,
        )
        epochs = max(1, held.record.epochs_done) * len(images.y)
        self._expected = _FIRST_MAP * held.record.seconds / epochs

    def load(self, fold: int) -> None:
        """Load the network that held ``fold`` out.

        Raises:
            BackboneError: its file does not fit the backbone.
        """
        from trainer.inference.networks.torch_networks import read_weights

        try:
            self._model.load_state_dict(read_weights(self._held.networks[fold]))
        except Exception as error:  # torch and safetensors raise many types
            raise BackboneError(f"{self._held.networks[fold].name} cannot be loaded: {cause_of(error)}") from error

    def draw(self, square: NDArray[np.uint8], label: int) -> Float32Array:
        """The map of class ``label``, float32 ``(side, side)``, 0 .. 1.

        Args:
            square: the image uint8 ``(size, size, 3)``, in the `HeldOut.form`.

        Raises:
            NoMap: the network has none.
            TimeIsOver: there is no time for another map.
        """
        self._clock.check(self._expected)
        begun = self._clock.now()
        found = self._drawer.draw(self._model, square, label)
        self._expected = self._clock.now() - begun
        return found

    def far_test_images(self, home: Home, number: int) -> NDArray[np.int64]:
        """The test images whose features are the farthest from those of the training images, the farthest first.

        Raises:
            BackboneError: the network gives no features.
            DataError: an image can no longer be read, or the disk is full.
            TimeIsOver: there is no time for it.
        """
        from trainer.batches.pixel_cache import open_pixels
        from trainer.probing.features import open_features
        from trainer.shift.distance import distance_to_training
        from trainer.training.folds.devices import training_precision

        size, resize, interpolation = self._held.form
        pixels = open_pixels(
            self._images,
            size=size,
            resize=resize,
            interpolation=interpolation,
            folder=home.pixels,
            progress=lambda done, total: self._clock.check(),
        )
        probe = self._held.recipe.method == LINEAR_PROBE  # whose features are stored
        total = len(pixels.train) + len(pixels.test)
        step = 1 if probe else -(-total // self._affordable())
        begun = self._clock.now()

        def check(share: float) -> None:
            spent = self._clock.now() - begun
            self._clock.check(spent * (1.0 - share) / share if share else 0.0)

        features = open_features(
            self._model,
            pixels.train[::step],
            pixels.test[::step],
            views=("identity",),
            folder=home.features if probe else None,
            precision=training_precision(self._device),
            before_batch=check,
        )
        distances: Float64Array = distance_to_training(features.train["identity"], features.test["identity"])
        found: NDArray[np.int64] = np.argsort(-distances, kind="stable")[:number] * step
        return found

    def _affordable(self) -> int:
        """Number of images whose features are computed in half of the time that is left.

        Raises:
            TimeIsOver: fewer than `LEAST_COMPARED`.
        """
        number = min(MOST_COMPARED, int(_MAP_COST * self._clock.left / 2 / max(self._expected, 1e-4)))
        if number < LEAST_COMPARED:
            raise TimeIsOver
        return number


def devices_for(record: TrialRecord) -> tuple[str, ...]:
    """Devices to try: the GPU if there is one and the networks were trained on one, then the CPU."""
    import torch

    on_gpu = torch.cuda.is_available() and str(record.machine.get("device", "cpu")) != "cpu"
    return ("cuda", "cpu") if on_gpu else ("cpu",)
