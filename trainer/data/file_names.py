"""The meaning of file and folder names: training or test part, leftovers of other programs, Retable's own output."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from trainer.inference.file_kinds import is_hidden

Split = Literal["train", "test"]
_SPLIT = re.compile(
    r"(?:^|[^a-z])(train|test)(?:ing)?(?:[^a-z]|imgs?|images?|sets?|data|pics?|files?|$)", re.IGNORECASE
)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_]+")  # trainImages has two
_SPLIT_WORD = re.compile(r"(train|test)(?:ing)?(?:imgs?|images?|sets?|data|pics?|files?)?")
# fmt: off
_KIND_WORDS = frozenset((
    "image", "images", "img", "imgs", "pic", "pics", "picture", "pictures", "photo", "photos", "set", "sets", "data",
    "dataset", "file", "files", "input", "inputs", "jpg", "jpeg", "png", "tif", "tiff", "bmp", "webp",
))
_NEUTRAL_WORDS = _KIND_WORDS | {
    "stage", "part", "split", "folder", "dir", "v", "x", "version", "raw", "original", "orig", "small", "full", "final",
    "new", "resized", "cropped", "crop", "square", "px", "rgb", "gray", "grey", "color", "colour", "public", "private",
    "release", "kaggle",
}
# fmt: on
"""Words beside ``train`` or ``test`` that name no class."""
HELD_OUT = ("val", "valid", "validation", "dev", "eval")
"""Names of folders with images for validation, which are not read: folds are cut from the training images."""
_HELD_OUT_WORDS = frozenset((*HELD_OUT, "evaluation", "holdout", "評価", "検証"))
_MASK_WORDS = frozenset(
    (
        "mask",
        "masks",
        "label",
        "labels",
        "annotation",
        "annotations",
        "segmentation",
        "segmentations",
        "superpixels",
        "gt",
        "seg",
    )
)
_OTHER_SPLIT_WORDS = frozenset(("学習", "訓練", "テスト", "試験", "画像", "マスク"))
_MASK_STEM = re.compile(r"(.+?)[_-](?:masks?|superpixels?|segmentations?|seg|annotations?)(?:[_-]?\d+)?", re.IGNORECASE)
OUTPUT_FOLDER = "retable"  # in the working directory, which may be the data folder
_PICTURES = ("preview.png", "compare.png", "confusion_matrix.png")
_EXPORT_FILES = frozenset(
    ("submission.csv", "test_proba.csv", "oof.csv", "folds.csv", "MODEL_CARD.md", "model", *_PICTURES)
)
_FOLDS_HEADER = ("image_id", "label", "group", "fold")
_PREDICTION_COLUMNS = ("fold", "seed", "y_true", "y_pred")


def split_of(name: str) -> Split | None:
    """The split that the name of a table or an array mentions: ``my_test_labels`` -> test, ``Contest`` -> None."""
    found = _SPLIT.search(name)
    if found is None:
        return None
    return "train" if found.group(1).lower() == "train" else "test"


def folder_split(name: str, siblings: Collection[str] = ()) -> Split | None:
    """The split that a folder holds by its name; None for a folder that only mentions one, such as ``test tubes``.

    The name consists of the split and of words for images (``test_images``, ``stage_1_train``), or of a data set's
    name before them (``ISIC_2019_Test_Input``), or has a twin for the other split among ``siblings``
    (``flowers_train`` beside ``flowers_test``).
    """
    split, rest = _taken_apart(name)
    if split is None:
        return None
    if all(word == "*" or word in _NEUTRAL_WORDS for word in rest):
        return split
    after = rest[rest.index("*") + 1 :]
    if after and all(word in _KIND_WORDS for word in after) and not re.search(r"\s", name):
        return split
    own = _foreign(rest)
    for sibling in siblings:
        other, other_rest = _taken_apart(sibling)
        if other not in (None, split) and _foreign(other_rest) == own:
            return split
    return None


def is_held_out(name: str) -> bool:
    """Whether a folder holds images for validation by its name: ``valid``, ``val_images``, ``val2017``."""
    return _speaks_of(name, _HELD_OUT_WORDS)


def holds_masks(name: str) -> bool:
    """Whether a folder holds masks or labels of images by its name: ``masks``, ``train_masks``, ``Annotations``."""
    return _speaks_of(name, _MASK_WORDS)


def _speaks_of(name: str, wanted: Collection[str]) -> bool:
    """Whether a name consists of ``wanted`` words, at least one, and of words for images, training and testing."""
    words = [word.lower() for word in _WORD.findall(name)]
    others = [word for word in words if word not in wanted]
    known = _NEUTRAL_WORDS | _HELD_OUT_WORDS | _MASK_WORDS
    return len(others) < len(words) and all(word in known or _SPLIT_WORD.fullmatch(word) for word in others)


def names_no_class(name: str) -> bool:
    """Whether a name only says which images a folder holds: ``images``, ``resized``, ``valid``, ``masks``, ``学習``."""
    words = [word.lower() for word in _WORD.findall(name)]
    known = _NEUTRAL_WORDS | _HELD_OUT_WORDS | _MASK_WORDS | _OTHER_SPLIT_WORDS
    return bool(words) and all(word in known or _SPLIT_WORD.fullmatch(word) for word in words)


def masks_among(paths: Sequence[str]) -> list[str]:
    """Those of the paths that are masks of another one by their names: ``a_mask.png`` beside ``a.png``."""
    stems = {str(PurePosixPath(path).with_suffix("")) for path in paths}
    owners = {path: _MASK_STEM.fullmatch(PurePosixPath(path).stem) for path in paths}
    return [path for path, owner in owners.items() if owner and str(PurePosixPath(path).with_name(owner[1])) in stems]


def _taken_apart(name: str) -> tuple[Split | None, list[str]]:
    """The split whose words a name holds (None without, or with both), and all words, in place of the split's a *."""
    words = [word.lower() for word in _WORD.findall(name)]
    named = {found[1] for word in words if (found := _SPLIT_WORD.fullmatch(word))}
    if len(named) != 1:
        return None, words
    return ("train" if "train" in named else "test"), ["*" if _SPLIT_WORD.fullmatch(word) else word for word in words]


def _foreign(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for word in words if word not in _NEUTRAL_WORDS)


def is_visible(name: str) -> bool:
    """Whether a name may be data. Hidden files and leftovers of archivers and file managers are not."""
    return not is_hidden(name)


def is_data(path: Path) -> bool:
    """Whether a path may be data: visible, and not written by Retable."""
    if not is_visible(path.name):
        return False
    if path.is_dir():
        return path.absolute() != Path.cwd() / OUTPUT_FOLDER and not _is_own_folder(path)
    return not is_own_picture(path)


def is_own_table(header: Sequence[str]) -> bool:
    """Whether a table with this header was written by Retable: folds, or predicted probabilities."""
    if tuple(header) == _FOLDS_HEADER:
        return True
    probabilities = [name for name in header[1:] if name.startswith("p_")]
    others = [name for name in header[1:] if name not in probabilities]
    return header[:1] == ["image_id"] and bool(probabilities) and all(name in _PREDICTION_COLUMNS for name in others)


def _is_own_folder(path: Path) -> bool:
    """Whether a folder is Retable's home, an export or a model folder, by the files in it."""
    if not os.access(path, os.R_OK | os.X_OK):
        return False
    if (path / ".cache" / "identity").is_file():
        return True
    if (path / "MODEL_CARD.md").is_file() and (path / "submission.csv").is_file():
        return True
    if (path / "config.json").is_file() and (path / "predict.py").is_file():
        return True
    if not (path / "submission.csv").is_file():
        return False
    return {entry.name for entry in path.iterdir() if is_visible(entry.name)} <= _EXPORT_FILES


def is_own_picture(path: Path) -> bool:
    """Whether a file is a figure that Retable drew: it has a usual name, and Matplotlib has signed it."""
    if path.name not in _PICTURES or not path.is_file():
        return False
    with path.open("rb") as file:
        return b"Matplotlib" in file.read(512)
