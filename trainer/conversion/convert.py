"""Conversion of a model folder: every network is written, checked, and put into place together with the others."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.common.environment import library_versions
from trainer.common.errors import TrainerError
from trainer.common.files import put_folder
from trainer.conversion.files import SCRATCH
from trainer.conversion.formats import Format
from trainer.conversion.portable import PortableNetwork
from trainer.inference.arrays import array_image
from trainer.inference.errors import ImageError
from trainer.inference.find_images import Item, list_images
from trainer.inference.images import read_image, resize_image
from trainer.inference.model_folder import Member, ModelFolder, load_model_folder
from trainer.inference.networks.onnx_networks import INDEX, INDEX_FORMAT
from trainer.inference.printable import cause_of, printable

BATCHES = (1, 7, 32)
"""Batch sizes that the check predicts. An exporter may have fixed the size of its example."""
TOLERANCE = 1e-4
"""Largest allowed difference between a probability of a converted network and of the original, both on a CPU.

Other libraries add float32 numbers in another order; deep networks amplify the rounding to some 1e-6.
"""


class ConversionError(TrainerError):
    """A network cannot be converted, or the converted one predicts something else."""


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What a format made of a model folder."""

    folder: Path
    networks: int
    size: int
    """Bytes of all files."""
    difference: float
    """Largest difference of a probability from the original."""
    images: int
    """Number of different images that were compared."""
    original_time: float
    """Milliseconds an image, all networks together, in the largest batch of the check on this CPU."""
    converted_time: float


def missing_packages(to: Format) -> list[str]:
    """Packages that the format needs and this environment lacks."""
    return [name for name in to.packages if importlib.util.find_spec(name) is None]


def convert(
    folder: Path, to: Format, images: Sequence[Path], *, on_network: Callable[[int, int], None] = lambda done, all: None
) -> Converted:
    """Convert all networks of a model folder, and replace an earlier conversion to the same format.

    The files appear all together, after each has predicted the images as the original does, or not at all.

    Args:
        folder: of an export (`trainer.training.write_model_folder`).
        images: files, folders or ``.npz`` files whose images are compared, up to the sum of `BATCHES`. Of fewer images
            some occur several times.
        on_network: called after each network with the number of converted ones and of all.

    Raises:
        ModelError: ``folder`` is no model folder, or there is no image.
        ImageError: an image cannot be read.
        ConversionError: a package is missing, the format cannot hold a network, a converted network differs, or the
            folder cannot be written.
    """
    missing = missing_packages(to)
    if missing:
        raise ConversionError(f"{to.name} needs {', '.join(missing)}: pip install {' '.join(missing)}")
    model = load_model_folder(folder)
    target = folder / to.folder
    _check_target(target)
    decoded = _decoded(images, model)
    try:
        with alone_in(folder):
            checks = _write(model, to, target, decoded, on_network)
    except OSError as error:
        raise ConversionError(f"{target} cannot be written: {error.strerror or error}") from error
    return Converted(
        folder=target,
        networks=len(checks),
        size=sum(path.stat().st_size for path in target.iterdir()),
        difference=max(check.difference for check in checks),
        images=min(len(decoded), sum(BATCHES)),
        original_time=sum(check.original_time for check in checks),
        converted_time=sum(check.converted_time for check in checks),
    )


@dataclass(frozen=True, kw_only=True)
class _Check:
    """One converted network."""

    entry: dict[str, Any]
    """For the index."""
    difference: float
    original_time: float
    converted_time: float


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait for other conversions in a model folder, and remove what killed ones have left."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        for left in folder.glob(f"{SCRATCH}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        os.close(descriptor)


def _write(
    model: ModelFolder,
    to: Format,
    target: Path,
    decoded: Sequence[NDArray[np.uint8]],
    on_network: Callable[[int, int], None],
) -> list[_Check]:
    """Write and check all networks, and put them into place."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=SCRATCH) as temporary:
        new = Path(temporary, "new")
        new.mkdir()
        networks = [
            (member, weights, digest)
            for member in model.members
            for weights, digest in zip(member.weights, member.digests, strict=True)
        ]
        checks = []
        for member, weights, digest in networks:
            network = _Network(member, weights, digest, model.blend.several_labels)
            checks.append(_convert_network(network, to, new, decoded))
            on_network(len(checks), len(networks))
        index = {
            "format": INDEX_FORMAT,
            "networks": [check.entry for check in checks],
            "tolerance": TOLERANCE,
            "largest_difference": max(check.difference for check in checks),
            "batches": list(BATCHES),
            "versions": library_versions(),
        }
        (new / INDEX).write_text(json.dumps(index, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        _check_target(target)  # a folder of the user may have appeared meanwhile
        put_folder(new, target, Path(temporary, "old"))
    return checks


@dataclass(frozen=True)
class _Network:
    """A network of a model folder."""

    member: Member
    weights: Path
    digest: str
    several_labels: bool


def _convert_network(source: _Network, to: Format, folder: Path, decoded: Sequence[NDArray[np.uint8]]) -> _Check:
    member, weights, digest = source.member, source.weights, source.digest
    path = folder / f"{weights.stem}{to.suffix}"
    difference = original_time = converted_time = 0.0
    try:
        network = PortableNetwork(member, weights, several_labels=source.several_labels)
        to.write(network, member.size, path)
        opened = to.open(path)
        for batch in _batches(decoded, member):
            began = time.perf_counter()
            with torch.no_grad():
                original = network(torch.from_numpy(batch)).numpy()
            between = time.perf_counter()
            converted = opened(batch)
            ended = time.perf_counter()
            if converted.shape != original.shape or not np.isfinite(converted).all():
                raise ConversionError("its probabilities are not finite, or too few")
            difference = max(difference, float(np.abs(converted - original).max()))
            original_time, converted_time = (1e3 * t / len(batch) for t in (between - began, ended - between))
    except Exception as error:  # the exporters raise many types of their own, ONNX Runtime too
        raise ConversionError(f"{member.backbone} cannot be converted to {to.name}: {cause_of(error)}") from error
    if difference > TOLERANCE:
        raise ConversionError(
            f"{member.backbone} as {to.name} differs from the original by up to {difference:.2g} in a probability; "
            f"{TOLERANCE:.0e} is allowed"
        )
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return _Check(
        entry={"file": path.name, "sha256": sha256, "weights_sha256": digest},
        difference=difference,
        original_time=original_time,
        converted_time=converted_time,
    )


def _decoded(images: Sequence[Path], model: ModelFolder) -> list[NDArray[np.uint8]]:
    """Images evenly spaced over all given ones, uint8 ``(height, width, 3)``."""
    items = list_images(images).items
    chosen = np.unique(np.linspace(0, len(items) - 1, sum(BATCHES), dtype=np.int64))
    return [_read(items[index], model) for index in chosen]


def _read(item: Item, model: ModelFolder) -> NDArray[np.uint8]:
    name, source = item
    try:
        return read_image(source, model.value_ranges) if isinstance(source, Path) else array_image(source)
    except ImageError as error:
        raise ImageError(f"{printable(name)}: {error}") from error


def _batches(decoded: Sequence[NDArray[np.uint8]], member: Member) -> Iterator[NDArray[np.uint8]]:
    """Batches of the sizes `BATCHES`, which begin anew with the first image where there are too few."""
    resized = [resize_image(image, *member.form) for image in decoded]
    start = 0
    for size in BATCHES:
        yield np.stack([resized[(start + i) % len(resized)] for i in range(size)])
        start += size


def _check_target(target: Path) -> None:
    if os.path.lexists(target) and (target.is_symlink() or not (target / INDEX).is_file()):
        raise ConversionError(f"{target} exists and is no conversion; it is left alone")
