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
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import KEY, ArrayError, array_image, load_images
from .errors import ImageError, InferenceError, ModelError
from .file_kinds import ARCHIVES, SUFFIXES
from .find_images import find_images, is_own_picture, unread_message
from .images import kind_of_values, read_image, resize_image
from .model_folder import Member, ModelFolder, load_model_folder
from .networks.onnx_networks import check_onnx_device, load_onnx, predict_member_onnx
from .networks.torch_networks import predict_member
from .pixel_values import Ranges
from .predictions import Predictions, check_output, file_path, write_predictions
from .printable import EXCERPT, cause_of, excerpt, name_problem, printable

LINE_BREAK = "\n"
LONGEST = 4_000  # characters of a printed message
SHOWN = 20  # images in a message; the others are counted
CHUNK_BYTES = 512 * 2**20  # bytes of resized images in memory at a time


Item = tuple[str, Path | NDArray[Any]]
"""One image to predict: its id, and its file or pixels."""


@dataclass(frozen=True, kw_only=True)
class ListedImages:
    """The images to predict, with unique ids, and sentences about other files that lie there."""

    items: tuple[Item, ...]
    notes: tuple[str, ...]


def list_images(given: Sequence[str | os.PathLike[str]]) -> ListedImages:
    """The images to predict: given files, all image files below given folders (sorted), rows of given ``.npz`` files.

    Hidden files and folders, which operating systems create, are skipped, and so are pictures that Retable has drawn.
    An id is the name of a file, its path below the given folder, or the number of a row. If two images had the same
    id, all ids begin with the path as given, such as ``left/1.png`` and ``b.npz[0]``, and a note says so. An image that
    is given twice is listed once.

    Raises:
        ModelError: there is no image, a path is empty, a folder cannot be listed, or an ``.npz`` file has no plain
            array ``arr_0``.
        ImageError: file names that cannot be ids; the message names each one on its own line.
    """
    listed: dict[str, tuple[tuple[str, ...], Path | NDArray[Any]]] = {}
    notes: list[str] = []
    repeated = 0
    if any(not os.fspath(path) for path in given):
        raise ModelError("the path of the images is empty: is a shell variable unset? `.` is the working folder")
    without_links = {Path(path).resolve() for path in given}
    for path in map(Path, given):
        for names, source in _images_in(path, notes, without_links):
            repeated += names[-1] in listed
            listed.setdefault(names[-1], (names, source))
    if repeated:
        notes.append(f"given twice and predicted once: {repeated} image{'s' * (repeated > 1)}")
    if not listed:
        shown = _listed([printable(str(path)) for path in given], ", ")
        causes = "".join(f"; {note}" for note in notes)
        raise ModelError(f"no image in {shown} (image files end in {' '.join(sorted(SUFFIXES))}){causes}")
    levels = list(zip(*(names for names, _ in listed.values()), strict=True))
    ids = next(level for level in levels if len(set(level)) == len(level))  # the last level is the key of `listed`
    if ids is not levels[0]:
        counts = Counter(levels[0])
        short, long = next(pair for pair in zip(levels[0], ids, strict=True) if counts[pair[0]] > 1)
        notes.append(f"several images are called {printable(short)}: ids are paths, such as {printable(long)}")
    problems = [f"{printable(name)}: the file name {problem}" for name in ids if (problem := name_problem(name))]
    if problems:
        files = "this file" if len(problems) == 1 else f"these {len(problems)} files"
        what_next = f"nothing was predicted. To predict the other images now, move {files} elsewhere"
        raise ImageError(LINE_BREAK.join([_listed(problems, LINE_BREAK), what_next]))
    return ListedImages(
        items=tuple((name, source) for name, (_, source) in zip(ids, listed.values(), strict=True)), notes=tuple(notes)
    )


def _images_in(
    path: Path, notes: list[str], given: Collection[Path]
) -> Iterator[tuple[tuple[str, ...], Path | NDArray[Any]]]:
    """The images of one given path: names from short to unique, and file or pixels.

    Args:
        notes: sentences are added about what is not read.
        given: all given paths, without links.
    """
    whole = path.absolute()  # not resolved: two links to one file are two images
    shown = printable(str(path))
    if path.suffix.lower() == ".npz":
        try:
            array = load_images(path)
        except ArrayError as error:
            raise ModelError(f"{shown} holds no array {KEY} of images: {error}") from error
        for row, image in enumerate(array):
            yield (str(row), f"{path.name}[{row}]", f"{path}[{row}]", f"{whole}[{row}]"), image
    elif path.is_dir():
        found = find_images(path)
        if found.closed:
            folder, why = next(iter(found.closed.items()))
            raise ModelError(f"the folder {shown}/{printable(folder)} cannot be read: {why}")
        own = {name for name in found.images if is_own_picture(path / name)}
        if own:
            notes.append(f"not predicted: pictures that Retable has drawn, such as {printable(min(own))}")
        for name in sorted(set(found.images) - own):
            yield (name, f"{path.name}/{name}", str(path / name), str(whole / name)), path / name
        if found.unread:
            notes.append(f"not read: {unread_message(found.unread)}")
        notes += [
            f"not read: {shown}/{printable(link)} {why}; give it, too"
            for link, why in sorted(found.unfollowed.items())
            if (path / link).resolve() not in given
        ]
    elif path.is_file() and path.suffix.lower() in ARCHIVES:
        raise ModelError(f"{shown} is an archive: unpack it first, and give the folder")
    else:
        yield (path.name, str(path), str(path), str(whole)), path


def predict_folder(
    model_dir: str | os.PathLike[str],
    images: Sequence[str | os.PathLike[str]],
    *,
    batch_size: int = 64,
    device: str = "cpu",
    onnx: bool = False,
    on_progress: Callable[[float], None] | None = None,
) -> Predictions:
    """Predict files, folders or ``.npz`` archives with a model folder.

    Args:
        onnx: predict with the ONNX files of the folder, without torch and timm.
        on_progress: called after each batch with the share of the work that is done, 0 .. 1.

    Raises:
        ModelError: see `load_model_folder`, `list_images`, `load_onnx`, `predict_member`, `predict_member_onnx`; or
            there is no such device.
        ImageError: images cannot be read. The message names each one on its own line, with the cause.
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
    problems: list[str] = []
    unscaled: list[str] = []
    chunk = max(1, CHUNK_BYTES // sum(3 * size**2 for size, _, _ in forms))
    for start in range(0, len(items), chunk):
        results = _read_all(items[start : start + chunk], forms, model.value_ranges, unscaled)
        problems += [result for result in results if isinstance(result, str)]
        if not problems:  # after the first bad image the others are only read, so that one error names all bad ones
            rows = [result for result in results if not isinstance(result, str)]
            pixels = {form: np.stack([row[i] for row in rows]) for i, form in enumerate(forms)}
            by_member = [predict(member, pixels[member.form]) for member in model.members]
            blended.append(model.blend.probabilities(np.stack(by_member)))
    if problems:
        raise ImageError(_listed(problems, LINE_BREAK))
    proba = np.concatenate(blended)
    return Predictions(
        ids=tuple(name for name, _ in items),
        class_names=model.class_names,
        proba=proba,
        labels=model.blend.labels(proba),
        notes=(*listed.notes, *_unscaled_note(unscaled)),
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


def _unscaled_note(names: Sequence[str]) -> list[str]:
    """A sentence about images with values of a kind that no training image had."""
    if not names:
        return []
    return [
        f"scaled by the whole range of their files, because no training image had more than 8 bits of that kind: "
        f"{len(names)} image{'s' * (len(names) > 1)}, such as {printable(min(names))}"
    ]


def _listed(texts: Sequence[str], separator: str) -> str:
    """The first `SHOWN` texts, and the number of the others."""
    shown = [excerpt(text, 2 * EXCERPT) for text in texts[:SHOWN]]
    return separator.join([*shown, *([f"... and {len(texts) - SHOWN} more"] if len(texts) > SHOWN else [])])


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
    parser.add_argument("--output", default="predictions.csv", help="table to write (%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument("--onnx", action="store_true", help="use the folder onnx/ and ONNX Runtime, without torch")
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
