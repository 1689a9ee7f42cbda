"""Features of all images by a frozen backbone: computed once per host, then memory-mapped by every process.

A file holds the features of one view (`trainer.inference.networks.views.VIEWS`): the training images, then the test
images. Its name begins with a digest of everything that determines the features: the weights below the classifier, the
pixels, the preprocessing, the precision, the device, and the releases of torch and timm. So folds, trials, studies and
processes share the files, and features of other weights are never found under the same name.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from trainer.common.arrays import Float32Array
from trainer.common.cache_files import mark_in_use
from trainer.common.errors import BackboneError
from trainer.common.files import replacing
from trainer.common.memory_errors import is_out_of_memory
from trainer.inference.images import Normaliser
from trainer.inference.networks.views import VIEWS, full_float32
from trainer.inference.resources import forward_batch
from trainer.networks.backbones import preprocessing_of
from trainer.probing.frozen_backbone import backbone_digest, pooled_features
from trainer.probing.origin import Origin, write_origin

MOST_IMAGES = {"cpu": 64, "cuda": 256}  # images per forward pass, unless memory runs out
LOCK_INTERVAL = 0.2  # seconds between two looks at the lock of another process, which also asks `before_batch`

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Features of n training and m test images by view: float32, shapes (n, d) and (m, d), read-only."""

    train: Mapping[str, Float32Array]
    test: Mapping[str, Float32Array]


def open_features(
    model: torch.nn.Module,
    train: NDArray[np.uint8],
    test: NDArray[np.uint8],
    *,
    views: Sequence[str],
    folder: Path | None,
    precision: torch.dtype = torch.float32,
    before_batch: Callable[[float], None] | None = None,
    origin: Origin | None = None,
) -> Features:
    """Open the features of all images; the first call on a host computes them and writes them to ``folder``.

    Processes that call this at the same time wait for the one that computes. A file appears complete or not at all. If
    ``folder`` cannot be written to, the features are only returned.

    Args:
        model: the network, on its device, in evaluation mode, with any classifier.
        train, test: images, uint8, shapes (n, size, size, 3) and (m, size, size, 3).
        views: names of `trainer.inference.networks.views.VIEWS`.
        folder: of the files; None: none.
        precision: of the forward pass (autocast).
        before_batch: called before every batch, and while another process computes, with the share of the images that
            are done, 0 <= share < 1. What it raises is passed on.
        origin: written beside the files, so that `trainer.probing.origin.find_features` finds them; None: not written.

    Raises:
        BackboneError: the features are not finite, or no vectors.
        torch.OutOfMemoryError: one image alone does not fit.
    """
    n = len(train)
    if folder is None:
        found = _compute(model, (train, test), views, precision, before_batch)
    else:
        key = _key(model, train, test, precision)
        paths = {view: folder / f"{key}-{view}.npy" for view in views}
        with _locked(folder / f"{key}.lock", before_batch):
            missing = [view for view in views if not _is_whole(paths[view], n + len(test))]
            computed = _compute(model, (train, test), missing, precision, before_batch) if missing else {}
            for view, values in computed.items():
                _keep(paths[view], values)
            if origin is not None:
                write_origin(folder, key, origin)
            found = {view: computed[view] if view in computed else _mapped(paths[view]) for view in views}
            features = _divided(found, n)
            for view in views:
                _mark_in_use(paths[view], features)
            return features
    return _divided(found, n)


def _divided(found: Mapping[str, Float32Array], n: int) -> Features:
    """Features of the first ``n`` images, for training, and of the others, for testing."""
    return Features(
        train={view: values[:n] for view, values in found.items()},
        test={view: values[n:] for view, values in found.items()},
    )


def _key(model: torch.nn.Module, train: NDArray[np.uint8], test: NDArray[np.uint8], precision: torch.dtype) -> str:
    """SHA-256 (hex) of everything that determines the features, except for the view."""
    preprocessing, device = preprocessing_of(model), next(model.parameters()).device
    digest = hashlib.sha256(backbone_digest(model).encode())
    digest.update(repr((preprocessing, precision, _batch_of(train, device), *_arithmetic(device))).encode())
    for images in (train, test):
        digest.update(str(images.shape).encode())
        digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()


def _batch_of(images: NDArray[np.uint8], device: torch.device) -> int:
    return forward_batch(images.shape[2], device.type, MOST_IMAGES[device.type])


def _arithmetic(device: torch.device) -> tuple[str, str]:
    """What decides how a device computes: its kind and model. The libraries are part of `backbone_digest`.

    The number of threads of a CPU is left out: it changes last bits only, and hosts of one home share the files.
    """
    return device.type, torch.cuda.get_device_name(device) if device.type == "cuda" else ""


@contextmanager
def _locked(path: Path, before_batch: Callable[[float], None] | None) -> Iterator[None]:
    """Hold a lock; ``before_batch`` is asked while another process holds it. Without a usable folder there is none."""
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while not lock.is_locked:
            try:
                lock.acquire(timeout=LOCK_INTERVAL)
            except Timeout:
                if before_batch is not None:
                    before_batch(0.0)
    except OSError as problem:
        log.warning("features cannot be shared in %s: %s", path.parent, problem.strerror or problem)
    try:
        yield
    finally:
        lock.release()


def _is_whole(path: Path, count: int) -> bool:
    """Whether the file holds features of ``count`` images, exactly as they were written."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != _digest_file(path).read_text(encoding="ascii"):
            return False
        values = _mapped(path)
    except (OSError, ValueError, EOFError):  # missing, unreadable, or not an array
        return False
    return bool(values.ndim == 2 and len(values) == count and values.dtype == np.float32)


def _mark_in_use(path: Path, features: Features) -> None:
    """As `trainer.common.cache_files.mark_in_use`, for a file that may not have been written."""
    try:
        mark_in_use(path, features)
    except OSError as problem:
        log.debug("%s is not in the cache: %s", path, problem.strerror or problem)


def _digest_file(path: Path) -> Path:
    """The file with the SHA-256 (hex) of a file of features."""
    return path.with_suffix(".sha256")


def _mapped(path: Path) -> Float32Array:
    mapped: Float32Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped


def _keep(path: Path, values: Float32Array) -> None:
    try:
        with replacing(path) as temporary:
            with temporary.open("wb") as file:
                np.save(file, values, allow_pickle=False)
            with temporary.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        with replacing(_digest_file(path)) as temporary:
            temporary.write_text(digest, encoding="ascii")
    except OSError as problem:
        log.warning("features are not kept in %s: %s", path, problem.strerror or problem)


def _compute(
    model: torch.nn.Module,
    sources: Sequence[NDArray[np.uint8]],
    views: Sequence[str],
    precision: torch.dtype,
    before_batch: Callable[[float], None] | None,
) -> dict[str, Float32Array]:
    """Features of all images of the ``sources``, one after another, by view: (images, d)."""
    device = next(model.parameters()).device
    preprocessing = preprocessing_of(model)
    normaliser = Normaliser(preprocessing.mean, preprocessing.std, sources[0].shape[2], device)
    parts: dict[str, list[Float32Array]] = {view: [] for view in views}
    batch, total, done = _batch_of(sources[0], device), sum(map(len, sources)), 0
    for images in sources:
        start = 0
        while start < len(images):
            if before_batch is not None:
                before_batch(done / total)
            try:
                found = _batch_features(model, images[start : start + batch], views, normaliser, precision)
            except RuntimeError as error:
                if batch <= 1 or not is_out_of_memory(error):
                    raise
                found = None
            if found is None:
                # Not in the handler: while it runs, the exception keeps the tensors of the failed pass alive.
                batch //= 2
                if device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            for view, values in found.items():
                parts[view].append(values)
            count = len(found[views[0]])
            start, done = start + count, done + count
    features = {view: np.concatenate(of_view) for view, of_view in parts.items()}
    if not all(np.isfinite(values).all() for values in features.values()):
        if precision is not torch.float32:
            log.warning("features in %s are not finite; float32 is used", precision)
            return _compute(model, sources, views, torch.float32, before_batch)
        raise BackboneError("this backbone returns features that are not finite; its weights are damaged")
    return features


def _batch_features(
    model: torch.nn.Module,
    images: NDArray[np.uint8],
    views: Sequence[str],
    normaliser: Normaliser,
    precision: torch.dtype,
) -> dict[str, Float32Array]:
    device = next(model.parameters()).device
    with (
        torch.no_grad(),
        full_float32(),
        torch.autocast(device.type, dtype=precision, enabled=precision is not torch.float32),
    ):
        host = torch.from_numpy(np.array(images))  # a copy: images may be a read-only memory map
        pixels = normaliser(host.to(device)).to(memory_format=torch.channels_last)
        found = {view: pooled_features(model, VIEWS[view].of(pixels)) for view in views}
    return {view: values.float().cpu().numpy() for view, values in found.items()}
