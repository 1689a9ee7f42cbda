"""Sample data: write scikit-learn's handwritten digits to disk as a small competition."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainer.common.errors import DataError
from trainer.formats.delimited import read_table, write_table

N_TRAIN = 1200  # training images of the 1,797 digits; the others are the test set
_SEED = 0


def write_digits(folder: Path) -> Path:
    """Write the digits to ``folder`` as a competition: train.csv, train_images/, test_images/, sample_submission.csv.

    The images come from UCI's optical digits (Alpaydin and Kaynak 1998; shipped with scikit-learn): 8 x 8 pixels, gray,
    PNG. The test set is a stratified sample; its labels are not written. A failure leaves no partial folder. A folder
    that already holds the sample is not changed.

    Returns:
        ``folder``.

    Raises:
        DataError: ``folder`` holds other files, or cannot be written.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    pixels: NDArray[np.uint8] = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    labels: NDArray[np.int64] = digits.target.astype(np.int64)
    train, test = train_test_split(np.arange(len(labels)), train_size=N_TRAIN, stratify=labels, random_state=_SEED)
    train, test = np.sort(train), np.sort(test)
    train_rows = [("id", "label"), *((_name(i), str(labels[i])) for i in train)]
    sample_rows = [("id", "label"), *((_name(i), "0") for i in test)]
    if folder.exists() and any(folder.iterdir()):
        if _holds(folder, train_rows):
            return folder
        raise DataError(f"{folder} holds something else than the sample digits; choose another folder or empty it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            for images_folder, indices in (("train_images", train), ("test_images", test)):
                (temporary / images_folder).mkdir()
                for i in indices:
                    Image.fromarray(pixels[i]).save(temporary / images_folder / f"{_name(i)}.png")
            write_table(temporary / "train.csv", train_rows)
            write_table(temporary / "sample_submission.csv", sample_rows)
            temporary.chmod(0o755)  # mkdtemp makes a folder that other users cannot read
            temporary.replace(folder)  # replaces an empty folder, too
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        if _holds(folder, train_rows):
            return folder  # another process was faster
        raise DataError(f"the sample digits cannot be written to {folder}: {error.strerror or error}") from error
    return folder


def _holds(folder: Path, train_rows: list[tuple[str, str]]) -> bool:
    """Whether the folder holds the sample."""
    table = folder / "train.csv"
    return table.is_file() and list(read_table(table).rows) == train_rows


def _name(index: int) -> str:
    return f"digit_{index:04d}"
