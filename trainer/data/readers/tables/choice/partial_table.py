"""Ask before training on a table that labels a few images of class folders: ``unseen.csv``, ``my_val.csv``."""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath

from trainer.common.errors import DataError, counted
from trainer.data.names.parts import is_held_out
from trainer.data.readers.doubts.folders.folder_choice import folders_choice
from trainer.data.readers.matching.id_spellings import composed
from trainer.data.readers.tables.choice.folder_levels import same_level
from trainer.data.readers.tables.choice.label_search import LabelSearch
from trainer.data.readers.tables.find_tables import is_named_training
from trainer.data.readers.tables.training_table import TrainingTable
from trainer.inference.printable import printable


def refuse_partial_table(search: LabelSearch, chosen: TrainingTable) -> None:
    """Refuse a table whose labels are the class folders of less than half of the images in these.

    Its images may be all that are for training, a list for testing, or an excerpt. Class folders may lie further down:
    then images of another folder of the data, such as other versions, do not count.

    Raises:
        DataError: neither its name nor an option says that it labels the training images.
    """
    if search.options.layout is not None or is_named_training(chosen.table.path):
        return
    if chosen.unclear is not None or chosen.of_folders is not None:
        return
    level = None if search.class_folders else same_level(search.levels_of(chosen.labels), chosen.labels)
    known = set(map(composed, search.class_folders if level is None else level.names))
    if not known:
        return
    tests = set(search.files.paths_below("test"))
    places = {path.split("/")[0] for path in chosen.labels}
    rest = (path for path in search.files.paths if path not in tests)
    near = (path for path in rest if level is None or path.split("/")[0] in places)
    images = {path: own for path in near if (own := _class_of(path, known))}
    pairs = {(images.get(path, ""), label) for path, label in chosen.labels.items() if path not in tests}
    folders, labels = {folder for folder, _ in pairs}, {label for _, label in pairs}
    # Numbers of classes mean the folders if each stands for one.
    same = (
        all(folder == label for folder, label in pairs)
        if labels & known
        else len(pairs) == len(folders) == len(labels) > 1
    )
    if "" in folders or not same or 2 * len(chosen.labels) >= len(images):
        return
    place, few = search.place_of(chosen.table.path), len(chosen.labels)
    testing = f"If they are for testing, call the table test{chosen.table.path.suffix.lower()}. "
    raise DataError(
        f"{printable(place)} labels {few} of {counted(len(images), 'image')} in class folders, and gives them the "
        "labels of their folders",
        f"To train on these {few} alone, add --table {shlex.quote(place)} (data.table). "
        f"{testing if level is None else ''}To train on the images of all class folders, "
        f"{folders_choice(search.folder, search.files)}",
    )


def _class_of(path: str, known: set[str]) -> str:
    """The innermost class folder of an image; empty without one, and for validation images."""
    folders = PurePosixPath(path).parts[:-1]
    if any(map(is_held_out, folders)):
        return ""
    return next((name for name in map(composed, reversed(folders)) if name in known), "")
