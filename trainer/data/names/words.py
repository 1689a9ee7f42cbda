"""Words in names of files and folders: for kinds of images, validation and masks."""

from __future__ import annotations

import re
from collections.abc import Collection

from trainer.formats.part_words import without_accents

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_]+")  # trainImages has two
_WITH_UNIT = re.compile(
    r"^(x?(?:train|test)(?:ing)?|val(?:idation)?)((?:case|sample|example|patient|subject)s?)$"
)  # testcases
SPLIT_WORD = re.compile(r"x?(train|test)(?:ing)?(?:imgs?|images?|sets?|data|pics?|files?)?")
# fmt: off
IMAGE_WORDS = frozenset((
    "image", "images", "img", "imgs", "pic", "pics", "picture", "pictures", "photo", "photos", "set", "sets", "data",
    "dataset", "file", "files", "input", "inputs", "jpg", "jpeg", "png", "tif", "tiff", "bmp", "webp",
))
NEUTRAL_WORDS = IMAGE_WORDS | {
    "stage", "part", "split", "folder", "dir", "v", "x", "version", "raw", "original", "orig", "small", "full", "final",
    "new", "resized", "cropped", "crop", "square", "px", "rgb", "gray", "grey", "color", "colour", "public", "private",
    "release", "kaggle",
}
# fmt: on
"""Words beside ``train`` or ``test`` that name no class."""
UNIT_WORDS = frozenset(
    f"{word}{plural}"
    for word in (
        *("case", "sample", "example", "patient", "subject", "participant", "specimen", "instance", "record", "item"),
        *("group", "cohort", "crop", "tile", "frame", "slide", "scan"),
    )
    for plural in ("", "s")
) | {"batch", "batches", "patch", "patches"}
"""Words for what a data set consists of. Beside a word for a part, they name no class: ``test_samples``."""
HELD_OUT_WORDS = frozenset(("val", "valid", "validation", "dev", "eval", "evaluation", "holdout", "評価", "検証"))
"""Words of folders with images for validation, which are not read: folds are cut from the training images."""
VALIDATION_WORDS = frozenset(("val", "validation"))
"""Those of them that mean nothing else: valid images may be usable ones."""
# fmt: off
TO_PREDICT_WORDS = frozenset(("predict", "inference", "予測", "推論"))
"""Words of folders that may hold images to predict, as well as predictions."""
RESULT_WORDS = frozenset((
    "pred", "preds", "prediction", "predictions", "predicted", "output", "outputs", "result", "results", "ergebnis",
    "ergebnisse", "vorhersage", "vorhersagen", "resultat", "resultats", "resultado", "resultados", "risultati",
    "wyniki", "\u0440\u0435\u0437\u0443\u043b\u044c\u0442\u0430\u0442\u044b", "結果", "结果", "出力", "予測結果",
    "推論結果",
))
"""Words of folders that hold predictions as a rule."""
MASK_WORDS = TO_PREDICT_WORDS | RESULT_WORDS | {
    "mask", "masks", "label", "labels", "labeltxt", "annotation", "annotations", "annotated", "segmentation",
    "segmentations", "superpixels", "gt", "groundtruth", "seg", "segs", "segm", "trimap", "trimaps", "overlay",
    "overlays", "heatmap", "heatmaps", "gradcam", "saliency", "detections", "vis", "viz", "visualization",
    "visualizations", "visualisation", "visualisations", "マスク", "セグメンテーション", "アノテーション", "正解",
    "segmented", "maske", "masken", "masque", "masques", "mascara", "mascaras", "\u043c\u0430\u0441\u043a\u0430",
    "\u043c\u0430\u0441\u043a\u0438",
}
"""Words for masks, annotations, and what other programs make of the images."""
# fmt: on


def words_in(name: str) -> list[str]:
    """The words of a name in lower case and without accents; ``trainImages`` and ``testcases`` have two."""
    found = (word.lower() for word in _WORD.findall(without_accents(name)))
    return [part for word in found for part in _WITH_UNIT.sub(r"\1 \2", word).split()]


def speaks_of(name: str, wanted: Collection[str], beside: Collection[str] = ()) -> bool:
    """Whether a name consists of ``wanted`` words, at least one, and of words for images, training and testing."""
    words = words_in(name)
    others = [word for word in words if word not in wanted]
    known = NEUTRAL_WORDS | HELD_OUT_WORDS | MASK_WORDS | set(beside)
    return len(others) < len(words) and all(word in known or SPLIT_WORD.fullmatch(word) for word in others)
