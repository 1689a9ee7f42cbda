"""The meaning of file and folder names: training or test part, leftovers of other programs, Retable's own output."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from trainer.formats.label_tables import (
    CORRECTIONS_FILE,
    CORRECTIONS_HEADER,
    EARLIER_CORRECTIONS_HEADER,
    EARLIER_REVIEW_HEADER,
    REVIEW_HEADER,
)
from trainer.formats.part_words import ENGLISH, KIND_WORDS, Part, foreign_part, without_accents
from trainer.inference.file_kinds import is_hidden

Split = Literal["train", "test"]
_SPLIT = re.compile(
    r"(?:^|[^a-z])(train|test)(?:ing)?(?:[^a-z]|imgs?|images?|sets?|data|pics?|files?|$)", re.IGNORECASE
)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_]+")  # trainImages has two
_RANDOM_END = re.compile(r"(?:train|test)[_-]((?=\w*(?:[a-z][A-Z0-9]|[0-9][a-zA-Z]|[A-Z][0-9]))[^\W_]{5,12})")
_SPLIT_WORD = re.compile(r"x?(train|test)(?:ing)?(?:imgs?|images?|sets?|data|pics?|files?)?")
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
# fmt: off
_MASK_WORDS = frozenset((
    "mask", "masks", "label", "labels", "labeltxt", "annotation", "annotations", "annotated", "segmentation",
    "segmentations", "superpixels", "gt", "groundtruth", "seg", "segs", "segm", "trimap", "trimaps", "pred", "preds",
    "predict", "prediction", "predictions", "predicted", "inference", "output", "outputs", "result", "results",
    "overlay", "overlays", "heatmap", "heatmaps", "gradcam", "saliency", "detections", "vis", "viz", "visualization",
    "visualizations", "visualisation", "visualisations", "マスク", "セグメンテーション", "アノテーション",
    "予測", "予測結果", "推論", "推論結果", "正解",
    "segmented", "maske", "masken", "masque", "masques", "mascara", "mascaras", "\u043c\u0430\u0441\u043a\u0430",
    "\u043c\u0430\u0441\u043a\u0438",
))
"""Words for masks, annotations, and what other programs make of the images."""
_MASK_COMPANIONS = frozenset((
    "out", "txt", "class",
    "classes", "object", "objects", "instance", "instances", "semantic", "panoptic", "binary", "map",
    "maps", "prob", "probs", "model", "net", "unet", "nnunet", "sam", "yolo", "deeplab", "lung", "lesion", "tumor",
    "tumour", "nuclei", "cell",
))
"""Words beside `_MASK_WORDS` in the names of such folders."""
# fmt: on
_NOT_WORN = r"(?:no|non|not|without|un|in?correct(?:ly)?|improper(?:ly)?|wrong(?:ly)?)[\W_]*mask"
_WITHOUT_MASK = re.compile(rf"(?:^|[\W_]){_NOT_WORN}|mask(?:ed)?[\W_]*(?:off|less|\w*[\W_]+incorrect)", re.IGNORECASE)
_MASK = (
    r"masks?|maske|masque|m\u00e1scara|mascara|マスク|superpixels?|segmentations?|segmented|seg|annotations?|annotated"
    r"|trimap|gt|ground[_-]?truth|labels?|pred(?:iction|icted)?s?|overlay|heatmap|gradcam|binary|contours?|roi|depth"
)
_MASK_STEM = re.compile(
    rf"(.+?)(?:[_.\- ](?:{_MASK})|mask)(?:[_-]?\d+)?|(?:{_MASK})[_.\- ](.+)|mask(.+)",
    re.IGNORECASE,
)
OUTPUT_FOLDER = "retable"  # in the working directory, which may be the data folder
_PICTURES = ("preview.png", "compare.png", "confusion_matrix.png")
REVIEW_PAGE, REVIEW_TABLE = "label_review.html", "label_review.csv"
_EXPORT_FILES = frozenset(
    (
        *("submission.csv", "test_proba.csv", "oof.csv", "folds.csv", "MODEL_CARD.md", "report.html", "model"),
        *(REVIEW_PAGE, REVIEW_TABLE, *_PICTURES),
    )
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
    (``flowers_train`` beside ``flowers_test``, or ``train_LbELtWX`` beside ``test_ScVgIM0``). Words of other languages
    (``学習``, ``Testdaten``) and letters that count (``a. Training Set``) need a folder of another part among
    ``siblings``.
    """
    split, rest = _taken_apart(name)
    if split is None:
        return _foreign_split(name, siblings)
    if all(word == "*" or word in _NEUTRAL_WORDS for word in rest):
        return split
    after = rest[rest.index("*") + 1 :]
    if after and all(word in _KIND_WORDS for word in after) and not re.search(r"\s", name):
        return split
    beside_other = any(_part_of(sibling) not in (None, split) for sibling in siblings)
    if beside_other and all(map(_says_nothing, rest)):
        return split
    own = _foreign(rest)
    code = _RANDOM_END.fullmatch(name)
    for sibling in siblings:
        other, other_rest = _taken_apart(sibling)
        twin = _RANDOM_END.fullmatch(sibling)
        random = code is not None and twin is not None and len(code[1]) == len(twin[1])
        if other not in (None, split) and (random or _foreign(other_rest) == own):
            return split
    return None


def _foreign_split(name: str, siblings: Collection[str]) -> Split | None:
    """The split that words of another language than English mean, if ``siblings`` hold another part.

    ``評価`` is the test part, but for validation where another folder is the test part.
    """
    part = _foreign_part_of(name)
    if part is None or part == "val":  # first, because the siblings of a class folder may be a thousand
        return None
    others = {sibling: _part_of(sibling) for sibling in siblings if sibling != name}
    if not set(others.values()) - {None, part}:
        return None
    if "評価" in name and any(other == "test" and "評価" not in sibling for sibling, other in others.items()):
        return None
    return part


def folder_part(name: str, siblings: Collection[str]) -> Part | None:
    """The part that a folder holds by its name, as `folder_split`, and for validation: ``flowers_val``, ``trn``.

    A name with other words needs a twin for another part among ``siblings``.
    """
    known = folder_split(name, siblings) or ("val" if is_held_out(name) else None)
    part, rest = _part_taken_apart(name)
    if known is not None or part is None or all(map(_says_nothing, rest)):
        return known or part
    twins = (_part_taken_apart(sibling) for sibling in siblings)
    own = _foreign(rest)
    return part if any(other not in (None, part) and _foreign(words) == own for other, words in twins) else None


def _part_taken_apart(name: str) -> tuple[Part | None, list[str]]:
    """As `_taken_apart`, with the other English words for a part, such as ``val`` and ``trn``."""
    split, words = _taken_apart(name)
    parts = {part for word in words if (part := ENGLISH.get(word))}
    if split is not None or len(parts) != 1:
        return split, words
    return parts.pop(), ["*" if word in ENGLISH else word for word in words]


def _part_of(name: str) -> Part | None:
    """The part that a folder's name means in any language, if it says nothing else."""
    split, rest = _taken_apart(name)
    if split is not None and all(map(_says_nothing, rest)):
        return split
    return _foreign_part_of(name) or ("val" if is_held_out(name) else None)


def _says_nothing(word: str) -> bool:
    """Whether a word beside that of a part names no class. A single letter counts, as in ``a. Training Set``."""
    return word == "*" or word in _NEUTRAL_WORDS | KIND_WORDS or (len(word) == 1 and word.isascii())


def _foreign_part_of(name: str) -> Part | None:
    words = words_in(name)
    parts = {part for word in words if (part := foreign_part(word))}
    known = all(foreign_part(word) or word in _NEUTRAL_WORDS | KIND_WORDS for word in words)
    return parts.pop() if known and len(parts) == 1 else None


def is_held_out(name: str) -> bool:
    """Whether a folder holds images for validation by its name: ``valid``, ``val_images``, ``検証``."""
    return _speaks_of(name, _HELD_OUT_WORDS) or _foreign_part_of(name) == "val"


def holds_masks(name: str) -> bool:
    """Whether a folder holds masks, or what programs make of images, by its name: ``train_masks``, ``seg_out``."""
    name = re.sub(r"ground[\W_]*truth", "groundtruth", name, flags=re.IGNORECASE)
    words = words_in(name)
    if len(words) > 1 and words[-1] in ("out", "maps", "txt"):  # unet_out, prob_maps, labelTxt
        return _speaks_of(name, {*_MASK_WORDS, *_MASK_COMPANIONS}) and words[-2] not in _NEUTRAL_WORDS
    return _speaks_of(name, _MASK_WORDS, _MASK_COMPANIONS)


def is_mask_word(word: str) -> bool:
    """Whether a word in lower case means masks, annotations, or what other programs make of images."""
    return without_accents(word) in _MASK_WORDS


def masks_are_worn(names: Iterable[str]) -> bool:
    """Whether ``mask`` is a class, because another folder is called ``no_mask``, ``unmasked`` or the like."""
    return any(map(_WITHOUT_MASK.search, names))


def _speaks_of(name: str, wanted: Collection[str], beside: Collection[str] = ()) -> bool:
    """Whether a name consists of ``wanted`` words, at least one, and of words for images, training and testing."""
    words = words_in(name)
    others = [word for word in words if word not in wanted]
    known = _NEUTRAL_WORDS | _HELD_OUT_WORDS | _MASK_WORDS | set(beside)
    return len(others) < len(words) and all(word in known or _SPLIT_WORD.fullmatch(word) for word in others)


def names_no_class(name: str) -> bool:
    """Whether a name only says which images a folder holds: ``images``, ``resized``, ``valid``, ``masks``, ``学習``."""
    words = words_in(name)
    known = _NEUTRAL_WORDS | _HELD_OUT_WORDS | _MASK_WORDS
    foreign = [word for word in words if not word.isascii() and (word in KIND_WORDS or foreign_part(word))]
    known_alone = all(word in known or word in foreign or _SPLIT_WORD.fullmatch(word) for word in words)
    return bool(words) and (known_alone or holds_masks(name))


def are_parts(names: Collection[str]) -> bool:
    """Whether folders are parts of one data set in any language: ``train`` and ``valid``, ``学習`` and ``評価``."""
    return bool(names) and all(is_held_out(name) or folder_split(name, names) for name in names)


def words_in(name: str) -> list[str]:
    """The words of a name in lower case and without accents; ``trainImages`` has two."""
    return [word.lower() for word in _WORD.findall(without_accents(name))]


def masks_among(paths: Sequence[str]) -> list[str]:
    """Those of the paths that are masks of another one by their names: ``a_mask.png`` beside ``a.png``."""
    stems = {str(PurePosixPath(path).with_suffix("")) for path in paths}
    owners = {path: _MASK_STEM.fullmatch(PurePosixPath(path).stem) for path in paths}
    named = {path: next(filter(None, owner.groups())) for path, owner in owners.items() if owner}
    return [path for path, owner in named.items() if str(PurePosixPath(path).with_name(owner)) in stems]


def _taken_apart(name: str) -> tuple[Split | None, list[str]]:
    """The split whose words a name holds (None without, or with both), and all words, in place of the split's a *."""
    words = words_in(name)
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
    return path.name != CORRECTIONS_FILE and not is_own_picture(path)


def is_label_table(header: Sequence[str]) -> bool:
    """Whether a table with this header holds decisions about labels (`trainer.formats.label_tables`)."""
    return tuple(header) in (
        REVIEW_HEADER,
        CORRECTIONS_HEADER,
        EARLIER_REVIEW_HEADER,
        EARLIER_CORRECTIONS_HEADER,
    )


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
