"""Predict the classes of images with a model folder.

    python predict.py IMAGES [--output predictions.csv] [--device cpu]

IMAGES is a folder, one or several image files, or an ``.npz`` file with images under the key ``arr_0``. The result is a
CSV table ``image_id,y_pred,p_<class>,...``. Required packages: torch, timm (which brings safetensors), numpy, Pillow.

A model folder holds one or several members. The probabilities of a member are the average over its networks and its
test-time views. config.json defines how the probabilities of the members are blended, and the decision rule by which
``y_pred`` follows from them.

Every model folder holds a copy of this package. Retable trains and predicts with the same functions, so training and
exported model always agree. Images, config.json and weights are checked, because they may come from untrusted sources.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ImageError, InferenceError, ModelError
from .images import SUFFIXES, array_image, read_image, resize_image
from .model_folder import Member, ModelFolder, load_model_folder
from .views import predict_views

CHUNK_BYTES = 512 * 2**20  # bytes of resized images in memory at a time


def predict_member(
    model: ModelFolder, member: Member, images: NDArray[np.uint8], *, batch_size: int = 64, device: str = "cpu"
) -> NDArray[np.float64]:
    """Probabilities of one member, averaged over its networks and views: float64 (n, C).

    Args:
        images: uint8 (n, size, size, 3), resized as `Member.form` says.

    Raises:
        ModelError: the weights do not fit the backbone that the installed timm builds, or the probabilities are not
            finite.
    """
    import timm
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    total = np.zeros((len(images), member.classes))
    try:
        network = timm.create_model(
            member.backbone, pretrained=False, num_classes=member.classes, **member.model_args
        ).to(device)
        for path in member.weights:
            network.load_state_dict(load_file(path))
            views = predict_views(
                network, images, mean=member.mean, std=member.std, views=member.views, batch_size=batch_size,
                device=device,
            )  # fmt: skip
            total += np.sum(list(views.values()), axis=0, dtype=np.float64)
    except (RuntimeError, ValueError, AssertionError, SafetensorError) as error:
        hint = f"the model was exported with timm {model.timm_version}; timm {timm.__version__} is installed"
        raise ModelError(f"{member.backbone} cannot predict: {error} ({hint})") from error
    if not np.isfinite(total).all():
        raise ModelError(f"the weights of {member.backbone} predict values that are not finite")
    return total / (len(member.weights) * len(member.views))


Item = tuple[str, Path | NDArray[Any]]
"""One image to predict: its id, and its file or pixels."""


def list_images(given: Sequence[str | os.PathLike[str]]) -> list[Item]:
    """The images to predict: given files, all image files below given folders (sorted), rows of given ``.npz`` files.

    Hidden files and folders, which operating systems create, are skipped.

    Raises:
        ModelError: there is no image, or an ``.npz`` file has no plain array ``arr_0``.
    """
    items: list[Item] = []
    for path in map(Path, given):
        if path.suffix.lower() == ".npz":
            try:
                with np.load(path, allow_pickle=False) as archive:
                    items += [(str(row), image) for row, image in enumerate(archive["arr_0"])]
            except Exception as error:  # zipfile, zlib and numpy raise different types; the message gives the cause
                raise ModelError(f"{path} holds no array arr_0 of images: {error}") from error
        elif path.is_dir():
            files = (file for file in sorted(path.rglob("*")) if file.suffix.lower() in SUFFIXES and file.is_file())
            names = ((file.relative_to(path), file) for file in files)
            items += [(name.as_posix(), file) for name, file in names if not any(part[0] == "." for part in name.parts)]
        else:
            items.append((path.name, path))
    if not items:
        raise ModelError(f"no image in {', '.join(map(str, given))} (image files end in {' '.join(sorted(SUFFIXES))})")
    return items


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Predictions of a model folder for n images and C classes."""

    ids: tuple[str, ...]
    class_names: tuple[str, ...]
    proba: NDArray[np.float64]
    """Blended probabilities (n, C); rows sum to 1."""
    labels: NDArray[np.int64]
    """Index of the predicted class by the decision rule of the folder: (n,)."""


def predict_folder(
    model_dir: str | os.PathLike[str],
    images: Sequence[str | os.PathLike[str]],
    *,
    batch_size: int = 64,
    device: str = "cpu",
) -> Predictions:
    """Predict files, folders or ``.npz`` archives with a model folder.

    Raises:
        ModelError: see `load_model_folder`, `list_images`, `predict_member`.
        ImageError: images cannot be read. The message names each one on its own line, with the cause.
    """
    model = load_model_folder(model_dir)
    items = list_images(images)
    forms = tuple(dict.fromkeys(member.form for member in model.members))
    blended: list[NDArray[np.float64]] = []
    problems: list[str] = []
    chunk = max(1, CHUNK_BYTES // sum(3 * size**2 for size, _, _ in forms))
    for start in range(0, len(items), chunk):
        results = _read_all(items[start : start + chunk], forms)
        problems += [result for result in results if isinstance(result, str)]
        if not problems:  # after the first bad image the others are only read, so that one error names all bad ones
            rows = [result for result in results if not isinstance(result, str)]
            pixels = {form: np.stack([row[i] for row in rows]) for i, form in enumerate(forms)}
            by_member = [
                predict_member(model, member, pixels[member.form], batch_size=batch_size, device=device)
                for member in model.members
            ]
            blended.append(model.blend.probabilities(np.stack(by_member)))
    if problems:
        raise ImageError("\n".join(problems))
    proba = np.concatenate(blended)
    return Predictions(
        ids=tuple(name for name, _ in items),
        class_names=model.class_names,
        proba=proba,
        labels=model.blend.labels(proba),
    )


def _read_all(items: Sequence[Item], forms: Sequence[tuple[int, str, str]]) -> list[list[NDArray[np.uint8]] | str]:
    """Decode each image once and resize it to every form; for an image that cannot be read, its name and the cause."""

    def read(item: Item) -> list[NDArray[np.uint8]] | str:
        name, source = item
        try:
            image = read_image(source) if isinstance(source, Path) else array_image(source)
        except ImageError as error:
            return f"{name}: {error}"
        return [resize_image(image, *form) for form in forms]

    with ThreadPoolExecutor() as pool:
        return list(pool.map(read, items))


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write a CSV table ``image_id,y_pred,p_<class>,...``. A failure leaves no partial file."""
    names = predictions.class_names
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["image_id", "y_pred", *(f"p_{name}" for name in names)])
            table.writerows(
                [image, names[label], *(f"{value:.9g}" for value in row)]
                for image, label, row in zip(predictions.ids, predictions.labels, predictions.proba, strict=True)
            )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def main(model_dir: Path) -> int:
    """Run the command line of a model folder. Returns exit code 0, or 1 after printing the causes to stderr."""
    parser = argparse.ArgumentParser(description="Predict the classes of images with this model folder.")
    parser.add_argument("images", nargs="+", metavar="IMAGES", help="a folder, image files, or an .npz file with arr_0")
    parser.add_argument("--output", type=Path, default=Path("predictions.csv"), help="table to write (%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=64, help="images per batch (%(default)s)")
    arguments = parser.parse_args()
    try:
        predictions = predict_folder(
            model_dir, arguments.images, batch_size=arguments.batch_size, device=arguments.device
        )
        write_predictions(arguments.output, predictions)
    except (InferenceError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{len(predictions.ids)} images -> {arguments.output}\n")
    return 0
