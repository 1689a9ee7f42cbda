"""Files of kinds that are not read, such as ``test_ids.npy``, and that may divide the images of class folders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from trainer.common.errors import DataError
from trainer.data.names.own_files import is_data
from trainer.data.readers.doubts.other_tables import is_model, is_other_table, may_give_labels
from trainer.data.readers.matching.id_spellings import composed
from trainer.data.readers.parts.part_files import part_of_stem
from trainer.data.readers.tables.reading.table_files import is_table
from trainer.inference.printable import printable

_TEXTS = (".yaml", ".yml", ".toml", ".ini", ".cfg", ".xml", ".jsonl", ".ndjson")
_BINARY = (
    ".npy", ".npz", ".pkl", ".pickle", ".joblib", ".pt", ".mat", ".h5", ".hdf5", ".parquet", ".feather", ".xlsx",
    ".xls", ".ods", ".rds", ".rda", ".rdata",
)  # fmt: skip
_SPLIT = re.compile(r"split|partition", re.IGNORECASE)
_MOST_BYTES = 2**26


def refuse_unread_lists(
    folder: Path, places: Iterable[Path], known: Mapping[str, str], otherwise: str, *, has_tests: bool
) -> None:
    """Refuse to train on all images beside a file of an unread kind that may divide them.

    Its name speaks of a part or a split. A text has to name an image, too.

    Args:
        folder: the data folder.
        places: the folders that may hold such files.
        known: `trainer.data.readers.parts.part_files.spellings` of the images.
        otherwise: how all images are trained on, as the end of a sentence.
        has_tests: whether the test images are known otherwise. Then a file called ``test-image.hdf5`` divides nothing.

    Raises:
        DataError: there is such a file.
    """
    for path in sorted(path for place in dict.fromkeys(places) for path in place.iterdir()):
        kind = path.suffix.lower()
        if kind not in (*_TEXTS, *_BINARY) or not path.is_file() or not is_data(path):
            continue
        of_part = part_of_stem(path.stem) is not None and not has_tests
        if not of_part and not _SPLIT.search(path.stem):
            continue
        # Labels are refused as such.
        if is_model(path) or is_table(path) or (is_other_table(path) and may_give_labels(path)):
            continue
        if kind in _TEXTS and not _names_image(path, known):
            continue
        raise DataError(
            f"{printable(path.relative_to(folder).as_posix())} is not read, though it may divide the images for "
            "training and testing. Write a text file for each part, such as train.txt and test.txt, with one image a "
            f"line, and move this file out of the data folder{otherwise}"
        )


def _names_image(path: Path, known: Mapping[str, str]) -> bool:
    if path.stat().st_size > _MOST_BYTES:
        return False
    text = path.read_text(encoding="utf-8", errors="replace")
    return any(known.get(composed(word.removeprefix("./"))) for word in re.split(r"[\s,;:\[\]{}\"']+", text) if word)
