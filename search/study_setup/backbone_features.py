"""Features of all images of a competition by a frozen backbone, kept in the home folder for checks and studies."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from search.runtime.home import Home
from search.study_setup.data_folder import Competition
from trainer.common.arrays import Float32Array
from trainer.data.inspection import Progress

Say = Callable[[str], Progress]
"""Called with the name of a step. It returns a function to be called with (images done, images in total)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BackboneFeatures:
    """Pooled features of n training and m test images by one backbone."""

    name: str
    """Of the backbone."""
    train: Float32Array
    """``(n, d)``."""
    test: Float32Array
    """``(m, d)``."""


def backbone_features(
    competition: Competition, *, backbone: str | None, weights: Path | None, home: Home, say: Say
) -> BackboneFeatures | None:
    """Compute the features of all images, or read them from ``home``.

    A linear probe of a study reads the same files if its image size is that of the extractor, its images are squashed
    and its precision is that of this machine. Where ``home`` cannot be written to, nothing is kept.

    Args:
        backbone: the backbone that extracts features; None: the preferred one whose pre-trained weights are at hand,
            see `trainer.probing.extractors.available_extractors`.
        weights: folder of pre-trained weights.
        say: called with each step.

    Returns:
        The features; None if there is no usable backbone. Each one that was at hand is logged with its problem.

    Raises:
        BackboneError: ``backbone`` cannot be used, or the weights folder does not exist.
        DataError: an image can no longer be read, or the disk is full.
    """
    from trainer.probing.extractors import available_extractors, load_extractor, load_first

    names = available_extractors(weights) if backbone is None else []
    if backbone is None and not names:
        return None
    from trainer.training.throughput import best_device

    device = best_device()
    extractor = load_first(names, weights, device) if backbone is None else load_extractor(backbone, weights, device)
    if extractor is None:
        return None

    from trainer.batches.pixel_cache import open_pixels
    from trainer.networks.backbones import preprocessing_of
    from trainer.probing.features import open_features
    from trainer.probing.origin import Origin
    from trainer.training.folds.devices import training_precision

    total = len(competition.images.train_ids) + len(competition.images.test_ids)
    with _cache(home) as (pixels_folder, features_folder):
        pixels = open_pixels(
            competition.images,
            size=extractor.size,
            resize="squash",
            interpolation=preprocessing_of(extractor.model).interpolation,
            folder=pixels_folder,
            progress=say(f"resizing images for {extractor.name}"),
        )
        progress = say(f"extracting features with {extractor.name}")
        found = open_features(
            extractor.model,
            pixels.train,
            pixels.test,
            views=("identity",),
            folder=features_folder,
            precision=training_precision(device),
            before_batch=lambda share: progress(round(share * total), total),
            origin=Origin(
                fingerprint=competition.images.fingerprint, backbone=extractor.name, image_size=extractor.size
            ),
        )
    return BackboneFeatures(name=extractor.name, train=found.train["identity"], test=found.test["identity"])


@contextmanager
def _cache(home: Home) -> Iterator[tuple[Path, Path | None]]:
    """Folders of resized images and of features; a temporary one and None where ``home`` cannot be written to."""
    try:
        for folder in (home.pixels, home.features):
            folder.mkdir(parents=True, exist_ok=True)
        usable = all(os.access(folder, os.W_OK | os.X_OK) for folder in (home.pixels, home.features))
    except OSError:
        usable = False
    if usable:
        yield home.pixels, home.features
        return
    with tempfile.TemporaryDirectory(prefix="retable-") as temporary:
        yield Path(temporary), None
