"""Predict the classes of images with a model folder.

    python predict.py IMAGES [--output predictions.csv] [--device cpu]

IMAGES is a folder, one or several image files, or an ``.npz`` file with images under the key ``arr_0``. The result is a
CSV table ``image_id,y_pred,p_<class>,...``. Required packages: torch, timm (which brings safetensors), numpy, Pillow;
with ``--onnx``: onnxruntime, numpy, Pillow.

A model folder holds one or several members. The probabilities of a member are the average over its networks and its
test-time views. config.json defines how the probabilities of the members are blended, and the decision rule by which
``y_pred`` follows from them.

Every model folder holds a copy of this package. Retable trains and predicts with the same functions, so training and
exported model always agree. Images, config.json and weights are checked, because they may come from untrusted sources.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .arrays import array_image
from .errors import ImageError, InferenceError, ModelError
from .find_images import LINE_BREAK, Item, list_images, listed_lines
from .images import kind_of_values, read_image, resize_image
from .model_folder import Member, ModelFolder, load_model_folder
from .networks.onnx_networks import check_onnx_device, load_onnx, predict_member_onnx
from .networks.torch_networks import predict_member
from .pixel_values import Ranges
from .predictions import Predictions, check_output, default_output, file_path, write_predictions
from .printable import cause_of, excerpt, printable

LONGEST = 4_000  # characters of a printed message
CHUNK_BYTES = 512 * 2**20  # bytes of resized images in memory at a time


def predict_folder(
    model_dir: str | os.PathLike[str],
    images: Sequence[str | os.PathLike[str]],
    *,
    batch_size: int = 64,
    device: str = "cpu",
    onnx: bool = False,
    skip_bad: bool = False,
    on_progress: Callable[[float], None] | None = None,
) -> Predictions:
    """Predict files, folders or ``.npz`` archives with a model folder.

    Args:
        onnx: predict with the ONNX files of the folder, without torch and timm.
        skip_bad: leave out images that cannot be read, and name them in a note.
        on_progress: called after each batch with the share of the work that is done, 0 .. 1.

    Raises:
        ModelError: see `load_model_folder`, `list_images`, `load_onnx`, `predict_member`, `predict_member_onnx`; or
            there is no such device.
        ImageError: images cannot be read, with ``skip_bad`` none of them. The message names each one on its own line,
            with the cause.
    """
    model = load_model_folder(model_dir)
    listed = list_images(images)
    items = listed.items
    done, work = 0, len(items) * sum(len(member.weights) for member in model.members)

    def on_batch(count: int) -> None:
        nonlocal done
        done += count
        if on_progress is not None:
            on_progress(done / work)

    predict = _predictor(Path(model_dir), model, batch_size=batch_size, device=device, onnx=onnx, on_batch=on_batch)
    forms = tuple(dict.fromkeys(member.form for member in model.members))
    blended: list[NDArray[np.float64]] = []
    ids: list[str] = []
    problems: list[str] = []
    unscaled: list[str] = []
    chunk = max(1, CHUNK_BYTES // sum(3 * size**2 for size, _, _ in forms))
    for start in range(0, len(items), chunk):
        some = items[start : start + chunk]
        results = _read_all(some, forms, model.value_ranges, unscaled)
        problems += [result for result in results if isinstance(result, str)]
        rows = [result for result in results if not isinstance(result, str)]
        ids += [name for (name, _), result in zip(some, results, strict=True) if not isinstance(result, str)]
        # After the first bad image the others are only read, so that one error names all bad ones.
        if rows and (skip_bad or not problems):
            pixels = {form: np.stack([row[i] for row in rows]) for i, form in enumerate(forms)}
            by_member = [predict(member, pixels[member.form]) for member in model.members]
            blended.append(model.blend.probabilities(np.stack(by_member)))
    if problems and not (skip_bad and ids):
        raise ImageError(LINE_BREAK.join([listed_lines(problems, LINE_BREAK), *_advice(len(problems), len(ids))]))
    proba = np.concatenate(blended)
    return Predictions(
        ids=tuple(ids),
        class_names=model.class_names,
        proba=proba,
        labels=model.blend.labels(proba),
        notes=(*listed.notes, *_unscaled_note(unscaled), *_skipped_note(problems)),
    )


def _predictor(
    folder: Path, model: ModelFolder, *, batch_size: int, device: str, onnx: bool, on_batch: Callable[[int], None]
) -> Callable[[Member, NDArray[np.uint8]], NDArray[np.float64]]:
    """What predicts the resized images of one member."""
    if onnx:
        check_onnx_device(device)
        files = load_onnx(folder, model)
        return partial(predict_member_onnx, files, batch_size=batch_size, device=device, on_batch=on_batch)
    _check_device(device)
    return partial(predict_member, model, batch_size=batch_size, device=device, on_batch=on_batch)


def _advice(bad: int, good: int) -> list[str]:
    """What to do about images that cannot be read."""
    if not good:
        return []
    them = "this image" if bad == 1 else f"these {bad} images"
    return [f"nothing was predicted. --skip-bad leaves out {them} and predicts the other {good}"]


def _skipped_note(problems: Sequence[str]) -> list[str]:
    """A sentence about images that were left out."""
    return [f"left out, because unreadable: {listed_lines(problems, '; ')}"] if problems else []


def _unscaled_note(names: Sequence[str]) -> list[str]:
    """A sentence about images with values of a kind that no training image had."""
    if not names:
        return []
    return [
        f"scaled by the whole range of their files, because no training image had more than 8 bits of that kind: "
        f"{len(names)} image{'s' * (len(names) > 1)}, such as {printable(min(names))}"
    ]


def _check_device(device: str) -> None:
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"the device {excerpt(repr(device))} cannot be used: {cause_of(error)}") from error


def _read_all(
    items: Sequence[Item], forms: Sequence[tuple[int, str, str]], ranges: Ranges, unscaled: list[str]
) -> list[list[NDArray[np.uint8]] | str]:
    """Decode each image once and resize it to every form; for an image that cannot be read, its name and the cause.

    Adds the names of images whose values have more than 8 bits and no range in ``ranges`` to ``unscaled``.
    """

    def read(item: Item) -> list[NDArray[np.uint8]] | str:
        name, source = item
        try:
            image = read_image(source, ranges) if isinstance(source, Path) else array_image(source)
            if isinstance(source, Path) and kind_of_values(source) not in (None, *ranges):
                unscaled.append(name)
        except ImageError as error:
            is_missing = isinstance(source, Path) and not os.access(source, os.F_OK)
            return f"{printable(str(source) if is_missing else name)}: {error}"
        return [resize_image(image, *form) for form in forms]

    with ThreadPoolExecutor() as pool:
        return list(pool.map(read, items))


def main(model_dir: Path) -> int:
    """Run the command line of a model folder. Returns exit code 0, or 1 after printing the causes to stderr."""
    parser = argparse.ArgumentParser(description="Predict the classes of images with this model folder.")
    parser.add_argument("images", nargs="+", metavar="IMAGES", help="a folder, image files, or an .npz file with arr_0")
    parser.add_argument("--output", default=default_output(model_dir), help="table to write (%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument("--onnx", action="store_true", help="use the folder onnx/ and ONNX Runtime, without torch")
    parser.add_argument("--skip-bad", action="store_true", help="leave out images that cannot be read")
    parser.add_argument("--batch-size", type=_positive, default=64, help="images per batch (%(default)s)")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names that the terminal's encoding lacks
    arguments = parser.parse_args()
    try:
        output = file_path(arguments.output)
        check_output(output, model_dir)
        predictions = predict_folder(
            model_dir,
            arguments.images,
            batch_size=arguments.batch_size,
            device=arguments.device,
            onnx=arguments.onnx,
            skip_bad=arguments.skip_bad,
        )
        write_predictions(output, predictions)
    except (InferenceError, OSError) as error:
        sys.stderr.write(f"{excerpt(printable(str(error), keep=LINE_BREAK), LONGEST)}\n")
        return 1
    except MemoryError:
        sys.stderr.write(
            f"the memory does not suffice to predict {len(arguments.images)} given files or folders: give fewer images "
            "at a time, or a smaller --batch-size\n"
        )
        return 1
    for note in predictions.notes:
        sys.stderr.write(f"note: {excerpt(note, LONGEST)}\n")
    count = len(predictions.ids)
    sys.stdout.write(f"{count} image{'s' * (count != 1)} -> {printable(str(arguments.output))}\n")
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number
