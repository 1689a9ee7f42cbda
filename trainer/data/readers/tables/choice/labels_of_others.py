"""Tables beside class folders that label images, videos, slides or patients with names that the folder lacks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence, Set

from trainer.data.readers.columns.label_names import coordinates, may_be_label, plain_name
from trainer.formats.part_words import without_accents

_THINGS = frozenset(map(without_accents, (
    "image", "img", "photo", "picture", "pic", "file", "filename", "scan", "slide", "wsi", "video", "clip", "movie",
    "frame", "patient", "subject", "participant", "case", "study", "specimen", "biopsy", "lesion",
    "bild", "bilder", "bilddatei", "foto", "datei", "aufnahme", "patienten", "patientin", "proband", "fall", "praparat",
    "imagen", "archivo", "paciente", "caso", "fichier", "imagem", "arquivo", "immagine", "paziente", "afbeelding",
    "bestand", "zdjecie", "obraz", "plik", "pacjent", "图像", "图片", "文件", "患者", "视频", "影像", "圖片", "画像",
    "写真", "ファイル", "動画", "이미지", "사진", "파일", "환자", "изображение", "фото", "файл", "снимок", "пациент",
    "видео",
)))  # fmt: skip
"""Words for what a row may describe, without accents."""
_KEYS = r"[\s_]*(?:ids?|uid|names?|nr|no|num(?:mer|ber|ero)?|key|code|path|pfad|名|番号|id号|编号|번호)\.?"
_LEAST_UNIQUE = 0.9  # share of the rows with an id of their own
_FILE_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")


def labels_other_images(rows: Sequence[Sequence[str]], class_folders: Collection[str]) -> bool:
    """Whether a table has a column of ids, and one of labels that say something else than the class folders.

    Args:
        rows: of a table that names no image and no folder, with its header.
        class_folders: names of the folders that could be the classes.
    """
    if len(rows) < 2:
        return False
    header, folders = rows[0], {_folded(name) for name in class_folders}
    columns = {
        name: [row[column].strip() for row in rows[1:] if column < len(row)] for column, name in enumerate(header)
    }
    ids = [name for name, cells in columns.items() if _is_key(name) and _are_ids(cells, folders)]
    skipped = {*ids, *coordinates(header)}
    return bool(ids) and any(
        may_be_label(name) and _are_labels(cells, folders) for name, cells in columns.items() if name not in skipped
    )


def _is_key(name: str) -> bool:
    """Whether a column has the name of an image, a video, a slide or a patient."""
    plain = without_accents(plain_name(name))
    return {plain, re.sub(f"{_KEYS}$", "", plain).strip("_")} & _THINGS != set()


def _are_ids(cells: Sequence[str], folders: Set[str]) -> bool:
    """Whether nearly all cells differ, hold a number or end like a file, and none of them is a class folder."""
    known = [cell for cell in cells if any(map(str.isdigit, cell)) or _FILE_ENDING.search(cell)]
    least = _LEAST_UNIQUE * len(cells)
    return min(len(set(cells)), len(known)) >= least and folders.isdisjoint(map(_folded, cells))


def _are_labels(cells: Sequence[str], folders: Set[str]) -> bool:
    """Whether two values at least recur, most rows hold such a value, and none of them is a class folder."""
    counts = Counter(cell for cell in cells if cell)
    recurring = [value for value, count in counts.items() if count > 1]
    most = 2 * sum(counts[value] for value in recurring) > len(cells)
    return len(recurring) > 1 and most and folders.isdisjoint(map(_folded, counts))


def _folded(text: str) -> str:
    return re.sub(r"[\W_]+", "", without_accents(text)).casefold()
