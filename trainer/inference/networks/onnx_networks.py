"""Predictions of a member's networks with ONNX Runtime, without torch and timm.

The folder ``onnx`` of a model folder holds one file for each network, and ``index.json``. A file takes resized images,
uint8 (n, size, size, 3), under the name `INPUT`, and gives the probabilities averaged over the test-time views, float32
(n, classes), under the name `OUTPUT`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..model_folder import MAX_CONFIG_BYTES, Member, ModelFolder
from ..printable import cause_of, excerpt, printable

ONNX_FOLDER = "onnx"
INDEX = "index.json"
INDEX_FORMAT = 1
INPUT, OUTPUT = "images", "probabilities"


def load_onnx(folder: Path, model: ModelFolder) -> dict[str, Path]:
    """The checked ONNX file of every network of a model folder, by the SHA-256 of the network's weights.

    Raises:
        ModelError: the folder holds no ONNX files, or they are damaged or were made of other weights.
    """
    root = folder / ONNX_FOLDER
    shown = printable(str(root / INDEX))
    again = f"`search convert {printable(str(folder))} IMAGES` writes it"
    try:
        if not (root / INDEX).is_file():
            raise ModelError(f"there is no {shown}: {again}")
        files = _checked_index(root, (root / INDEX).read_bytes()[: MAX_CONFIG_BYTES + 1])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{shown} cannot be used ({cause_of(error)}): {again} again") from error
    if not {digest for member in model.members for digest in member.digests} <= set(files):
        raise ModelError(f"{shown} belongs to other weights than those of this model folder: {again} again")
    return files


def _checked_index(root: Path, data: bytes) -> dict[str, Path]:
    index = json.loads(data)
    if index["format"] != INDEX_FORMAT:
        raise ValueError(f"format is not {INDEX_FORMAT}")
    files = {}
    for entry in index["networks"]:
        path = (root / entry["file"]).resolve()
        if path.parent != root.resolve() or path.suffix != ".onnx" or not path.is_file():
            raise ValueError(f"there is no file {excerpt(repr(entry['file']))}")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != entry["sha256"]:
                raise ValueError(f"{excerpt(repr(entry['file']))} has changed")
        files[str(entry["weights_sha256"])] = path
    return files


def check_onnx_device(device: str) -> None:
    """
    Raises:
        ModelError: ONNX Runtime is missing, or cannot compute on ``device``.
    """
    _providers(device)


def predict_member_onnx(
    files: Mapping[str, Path],
    member: Member,
    images: NDArray[np.uint8],
    *,
    batch_size: int = 64,
    device: str = "cpu",
    on_batch: Callable[[int], None] | None = None,
) -> NDArray[np.float64]:
    """Probabilities of one member, averaged over its networks and views: float64 (n, C).

    Args:
        files: of `load_onnx`.
        images: uint8 (n, size, size, 3), resized as `Member.form` says.
        on_batch: called after each batch of each network with its number of images.

    Raises:
        ModelError: ONNX Runtime is missing, has no such device, cannot run a file, or a probability is not finite.
    """
    total = np.zeros((len(images), member.classes))
    for digest in member.digests:
        network = open_onnx(files[digest], device)
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            total[start : start + batch_size] += network(batch)
            if on_batch is not None:
                on_batch(len(batch))
    if not np.isfinite(total).all():
        raise ModelError(f"the ONNX files of {member.backbone} predict values that are not finite")
    return total / len(member.digests)


def open_onnx(path: Path, device: str = "cpu") -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """A network of an ONNX file, from a batch of resized images to their probabilities.

    Raises:
        ModelError: ONNX Runtime is missing, has no such device, or cannot read the file; the network raises it, too.
    """
    providers = _providers(device)
    import onnxruntime

    def failed(error: Exception) -> ModelError:
        return ModelError(f"ONNX Runtime cannot run {printable(path.name)}: {cause_of(error)}")

    try:
        # From bytes, so that the file cannot make the runtime read another one.
        session = onnxruntime.InferenceSession(path.read_bytes(), providers=providers)
    except Exception as error:  # onnxruntime raises many types of its own
        raise failed(error) from error

    def network(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        try:
            (found,) = session.run([OUTPUT], {INPUT: np.ascontiguousarray(images)})
        except Exception as error:
            raise failed(error) from error
        return np.asarray(found, dtype=np.float32)

    return network


def _providers(device: str) -> list[Any]:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError("ONNX Runtime is missing: pip install onnxruntime") from error
    kind, _, number = device.partition(":")
    if kind == "cpu" and not number:
        return ["CPUExecutionProvider"]
    if kind != "cuda" or (number and not number.isdecimal()):
        raise ModelError(f"the device {excerpt(repr(device))} cannot be used: give cpu, cuda or cuda:N")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise ModelError("this ONNX Runtime cannot use GPUs: pip install onnxruntime-gpu")
    return [("CUDAExecutionProvider", {"device_id": int(number or 0)})]
