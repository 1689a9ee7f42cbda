"""Find the tables of a data folder by name: possible training labels, list of test images, sample submission."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePath

from trainer.common.errors import DataError, listed
from trainer.data.names.own_files import REVIEW_TABLE, is_data, is_label_table, is_own_table
from trainer.data.names.parts import folder_split, is_held_out, split_of
from trainer.data.readers.doubts.other_tables import OTHER_TABLES, files_in
from trainer.data.readers.matching.archives import packed_archives
from trainer.data.readers.matching.named_path import path_as_spelled
from trainer.data.readers.tables.reading.records.tables import is_json
from trainer.data.readers.tables.reading.table_files import first_rows, is_surely_table, is_table
from trainer.inference.printable import printable

OWN_TABLES = ("folds.csv", "oof.csv", "test_proba.csv", "predictions.csv", REVIEW_TABLE)
"""Usual names of the tables that Retable writes."""
OWN_HELP = "the header is that of a table that Retable wrote; --table NAME (data.table) reads it"
_MOST_TABLES = 200
_LONGEST_LINE = 2**16
_DEEPER_LISTS = (
    *("list.txt", "trainval.txt", "train.txt", "labels.txt", "train_list.txt"),
    *("list_attr_celeba.txt", "identity_celeba.txt"),
)
"""Text files beside annotations that list all images, as in Oxford's pets and CelebA."""
_PARTITION = re.compile(r".*(?:partition|split|subset).*\.(?:txt|csv|tsv|json|jsonl|ndjson)", re.IGNORECASE)
_TRAINING_WORD, _TESTING_WORD = re.compile(r"train(?:val|ing)?"), re.compile(r"test(?:ing)?")
_TRAINING_LISTS = re.compile(r"images?_\w+_train(?:val)?\.txt")  # FGVC-Aircraft
OF_ROWS = re.compile(r"(?:.*[\W_])?(?:idxs?|inds?|index(?:es)?|indices|rows?)(?:[\W_].*)?", re.IGNORECASE)
"""Names of lists of row numbers, such as Derm7pt's ``test_indexes.csv``."""
DESCRIBES = re.compile(r"(?:^|[^a-z])(?:features?|meta[\W_]*data|meta|values|info|attributes?)(?:[^a-z]|$)")


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The tables directly in a data folder by their names; None where there is none of that kind.

    labels: the tables that may hold training labels.
    own: tables that are left out because Retable wrote them, by their headers.
    samples: sample submissions in JSON, which are not read.
    tests: several tables that may each list the test images; empty where ``test`` is the only one.
    """

    test: Path | None
    sample: Path | None
    labels: tuple[Path, ...]
    own: tuple[Path, ...] = ()
    samples: tuple[Path, ...] = ()
    tests: tuple[Path, ...] = ()

    def are_tests(self, paths: Collection[Path]) -> bool:
        """Whether there are tables of test images, all among ``paths``."""
        tests = self.tests or (self.test,)
        return all(path in paths for path in tests)

    def test_beside(self, training: Path | None) -> Path | None:
        """The list of test images: the only one, or that with the name of the training table (``test_b``, ``train_b``).

        Raises:
            DataError: several tables could be the list.
        """
        if not self.tests:
            return self.test
        twins = [path for path in self.tests if training is not None and are_twins(training, path)]
        return twins[0] if len(twins) == 1 else _one("list of test images", list(self.tests))


def are_twins(training: Path, testing: Path) -> bool:
    """Whether two tables have one name but for train and test: ``images_variant_trainval`` and its ``_test``."""
    return _TRAINING_WORD.sub("*", training.stem.lower()) == _TESTING_WORD.sub("*", testing.stem.lower())


def find_tables(folder: Path, encoding: str | None = None) -> Tables:
    """Assign the tables of a folder to their roles by name. Tables that Retable wrote are left out.

    Raises:
        DataError: two tables could be the sample submission.
    """
    paths = [path for path in files_in(folder) if is_table(path)]
    own = tuple(path for path in paths if _is_own(path, encoding))
    paths = [path for path in paths if path not in own]
    if (folder / "MODEL_CARD.md").is_file():  # an export of ours, with --output
        paths = [path for path in paths if path.name != "submission.csv"]
    stems = {path.stem.lower() for path in paths}
    samples = [path for path in paths if _is_sample(path.stem.lower(), stems)]
    others = [path for path in paths if path not in samples]
    unread = tuple(filter(is_json, samples))  # a submission is written as the sample is, in delimited text
    samples = [path for path in samples if path not in unread]
    # The user's own submissions may be in the folder, too.
    sample = _one("sample submission", [p for p in samples if "sample" in p.stem.lower()] or samples)
    tests = [path for path in others if split_of(path.stem) == "test" and not OF_ROWS.fullmatch(path.stem)]
    tests = _preferred(tests, "test")
    labels = tuple(path for path in others if split_of(path.stem) != "test")
    several = tuple(tests) if len(tests) > 1 else ()
    only = tests[0] if len(tests) == 1 else None
    return Tables(test=only, sample=sample, labels=labels, own=own, samples=unread, tests=several)


def own_warnings(tables: Tables) -> list[str]:
    """Warnings about tables that are taken for Retable's own by other names, and about sample submissions in JSON."""
    names = [path.name for path in tables.own if path.name not in OWN_TABLES]
    samples = [path.name for path in tables.samples]
    return [
        *([f"not read: {listed(names, 4)}: {OWN_HELP}"] if names else []),
        *([f"not read: {listed(samples, 4)}: a sample submission has to be CSV: save it as CSV"] if samples else []),
    ]


def _is_sample(stem: str, stems: Collection[str]) -> bool:
    """Whether a table is a submission or a sample of one.

    ``sample_labels`` are labels of a sample of images, ``samples`` may be the images, ``test_sample`` may hold a sample
    of the rows of ``test``, and ``data_sample`` one of those of ``data`` beside it.

    Args:
        stems: of all tables.
    """
    if "submi" in stem:
        return True
    of_another = re.sub(r"[\W_]*samples?[\W_]*", "", stem) in stems
    return "sample" in stem and not of_another and not re.search("samples|label|train|test|meta", stem)


def packed_images(folder: Path) -> list[Path]:
    """Archives directly in a folder, but for packed tables, and for those that are unpacked beside them."""
    files = [path.name for path in files_in(folder)]
    packed = packed_archives(files, [path.name for path in folder.iterdir() if path.is_dir()])
    return [folder / name for name in packed if not name.lower().endswith(OTHER_TABLES)]


def unread_tables(tables: Tables, read: Collection[Path], why: str = "the folders give the labels") -> list[str]:
    """A warning about tables beside the class folders, but for those that were ``read``, and ``why`` it is so."""
    names = [
        path.name for path in tables.labels if path not in read and (_seems_table(path) or is_named_training(path))
    ]
    return [f"not read: {listed(names)}, because {why}"] if names else []


def _seems_table(path: Path) -> bool:
    """Whether a file is a table by its extension, or a text whose first two lines have as many tabs or commas."""
    if path.suffix.lower() != ".txt":
        return True
    with path.open("rb") as file:
        first, second = file.readline(_LONGEST_LINE), file.readline(_LONGEST_LINE)
    return any(first.count(mark) == second.count(mark) > 1 for mark in (b"\t", b",", b";"))


def packed_warnings(folder: Path, *inner: Path) -> list[str]:
    """A warning about the archives directly in a data folder, and in ``inner`` folders of it."""
    found = [path for place in dict.fromkeys((folder, *inner)) for path in packed_images(place)]
    names = [printable(path.relative_to(folder).as_posix()) for path in found]
    if not names:
        return []
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return [f"not read: {shown}: unpack {'it' if len(names) == 1 else 'them'}"]


def is_named_training(path: Path) -> bool:
    """Whether the name of a table says that it holds training labels."""
    if is_unlabelled(path) or OF_ROWS.fullmatch(path.stem):
        return False
    return split_of(path.stem) == "train" or ("label" in path.stem.lower() and split_of(path.stem) != "test")


def is_unlabelled(path: PurePath) -> bool:
    """Whether the name of a table says that it lists images without labels."""
    return re.search(r"(un|non|no|not|without)[\s_\-]*label", path.stem.lower()) is not None


def is_named_validation(path: Path) -> bool:
    """Whether the name of a table says that it holds validation images alone: ``val.csv``, ``LOC_val_solution.csv``."""
    words = re.split(r"[\W_\d]+", path.stem.lower())
    return split_of(path.stem) is None and not {"val", "valid", "validation"}.isdisjoint(words)


def claim_level(path: Path) -> int:
    """The claim of a table's name to hold training labels, 0 the strongest.

    ``train_features``, ``train_metadata`` and their like describe the images, and come after ``labels``.
    """
    stem = path.stem.lower()
    if stem == "train":
        return 0
    if split_of(stem) == "train" and ("label" in stem or not DESCRIBES.search(stem)):
        return 1
    return 2 if "label" in stem else 3 if split_of(stem) == "train" else 4


def deeper_tables(folder: Path, encoding: str | None) -> list[Path]:
    """Tables in the folders below, at most `_MOST_TABLES`, but for those of or beside test or validation images.

    Text files there describe single images as a rule, but for those in `_DEEPER_LISTS`.
    """
    found: list[Path] = []
    for here, subfolders, names in os.walk(folder):
        subfolders[:] = sorted(
            name
            for name in subfolders
            if is_data(Path(here) / name) and folder_split(name, subfolders) != "test" and not is_held_out(name)
        )
        if Path(here) != folder:
            found += [
                Path(here) / name
                for name in sorted(names)
                if is_surely_table(Path(here) / name)
                or name.lower() in _DEEPER_LISTS
                or _TRAINING_LISTS.fullmatch(name.lower())
            ]
        if len(found) >= _MOST_TABLES:
            break
    found = [path for path in found[:_MOST_TABLES] if split_of(path.stem) != "test"]
    return [path for path in found if is_data(path) and not _is_own(path, encoding)]


def deeper_part_tables(folder: Path) -> list[Path]:
    """Tables in the inner folders called after a partition or split, as CelebA's ``Eval/list_eval_partition.txt``."""
    inner = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink() and is_data(path)]
    return sorted(
        path for place in inner for path in files_in(place) if _PARTITION.fullmatch(path.name) and is_table(path)
    )


def named_table(folder: Path, name: str, tables: Tables) -> Path:
    """The table that ``--table`` names by its path in the data folder.

    Raises:
        DataError: there is no such file in the folder.
    """
    path = path_as_spelled(folder, name)
    inside = path.resolve().is_relative_to(folder.resolve())
    if not inside or not path.is_file():
        found = [entry.name for entry in tables.labels] + [
            p.relative_to(folder).as_posix() for p in deeper_tables(folder, None)
        ]
        what = "no path inside of the data folder" if not inside else "no file of the data folder"
        raise DataError(f"--table (data.table) is {name!r}, {what}; its tables are {listed(found) or 'none'}")
    return path


def _is_own(path: Path, encoding: str | None) -> bool:
    """Whether Retable wrote a table, by its header.

    A table called ``train`` or ``labels`` is the user's, unless it holds decisions about labels.
    """
    try:
        rows = first_rows(path, 1, encoding=encoding, most_bytes=2**14)
    except DataError:
        return False
    if not rows:
        return False
    named = re.match("train|labels?(?![a-z])", path.stem.lower())
    return is_label_table(rows[0]) or (not named and is_own_table(rows[0]))


def _preferred(paths: list[Path], stem: str) -> list[Path]:
    """The path whose stem is exactly ``stem``, else the paths with \"label\" in their stem, else all."""
    exact = [path for path in paths if path.stem.lower() == stem]
    return exact or [path for path in paths if "label" in path.stem.lower()] or paths


def _one(what: str, paths: list[Path]) -> Path | None:
    """The only path; None without any. Several are a DataError."""
    if len(paths) > 1:
        names = ", ".join(path.name for path in paths)
        raise DataError(f"{names}: each of these could be the {what}; leave only one of them in the folder")
    return paths[0] if paths else None
