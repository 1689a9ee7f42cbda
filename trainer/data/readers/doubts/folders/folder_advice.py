"""What to do about folders that are no class folders, or that may be none, in sentences for people."""

from __future__ import annotations

import filecmp
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from trainer.common.errors import listed
from trainer.data.image_set import DataOptions
from trainer.data.names.masks import holds_masks, masks_are_worn
from trainer.data.names.mentions import may_hold_tests, may_hold_validation
from trainer.data.names.parts import folder_part, folder_split, is_held_out, names_no_class, part_alone, split_of
from trainer.data.names.put_aside import holds_copies
from trainer.data.names.words import words_in
from trainer.data.readers.class_folders import class_folders, holds_lists, subfolders
from trainer.data.readers.doubts.files_apart import labels_apart
from trainer.data.readers.doubts.folders.folder_choice import folders_choice, inner_classes, is_data_set
from trainer.data.readers.doubts.other_tables import bare_tables, how_to_save, may_give_labels, other_tables
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.tables.find_tables import find_tables
from trainer.formats.labels import natural_key
from trainer.inference.printable import printable

_VEHICLES = frozenset((
    "bus", "car", "truck", "lorry", "tram", "subway", "metro", "plane", "airplane", "aeroplane", "aircraft",
    "helicopter", "boat", "ship", "bicycle", "bike", "motorcycle", "motorbike", "van", "taxi", "vehicle", "railway",
    "track", "station",
))  # fmt: skip
"""Without a plural s. Beside them, a train is a vehicle."""


def nested_advice(folder: Path, nested: Mapping[str, Sequence[str]], files: ImageFiles) -> str:
    """What to do about images in folders inside class folders.

    Args:
        folder: the data folder.
        nested: these images by class folder, all as paths relative to the data folder.
        files: all its images.
    """
    parts = [outer for outer in nested if may_hold_tests(_name(outer)) or may_hold_validation(_name(outer))]
    if parts:
        rest = {
            outer: paths
            for outer, paths in nested.items()
            if outer not in parts and part_alone(_name(outer)) != "train"
        }
        return "\n".join([*map(_advice_on_part, parts), *([nested_advice(folder, rest, files)] if rest else [])])
    inner = {outer: {_inner_folder(outer, path) for path in paths} for outer, paths in nested.items()}
    names = Counter(name for own in inner.values() for name in own)
    example = next(iter(nested.values()))[0]
    copies = [name for name in names if holds_copies(name)]
    if copies and (len(copies) < len(names) or all(_has_own_images(outer, files) for outer in nested)):
        return f"The inner folders {listed(copies, 4)} hold copies by their names: move them out of the data"
    if (classes := inner_classes(folder, files)) is not None:
        place = printable(str(classes))
        if _holds_copies_of_others(folder, classes, files):
            return (
                f"{place} holds copies of the images in the other folders: move it out of the data folder, or give it "
                "as the data folder"
            )
        return (
            f"If the folders in {place} are the classes, give {place} as the data folder. Else "
            "write a table labels.csv with the columns image and label, and one row for each image, such as "
            f"{printable(example)}"
        )
    if len(nested) > 1 and all(own == {_name(outer)} for outer, own in inner.items()):
        return _advice_on_doubled(folder, list(nested))
    if len(inner) < 2 or any(is_held_out(name) or split_of(name) is not None for name in names):
        return _advice_on_one(example)
    shown, outer = listed(sorted(names, key=natural_key), 4), next(iter(inner))
    place, own = printable(outer), printable(_inner_folder(outer, example))
    label = printable(PurePosixPath(outer).name)
    by_reading = {"outer": f"{label},{own}", "inner": f"{own},{label}"}
    unit, row = "image", printable(example)
    if {path for paths in nested.values() for path in paths} >= {*files.of_split(list(files.paths), "train")}:
        unit, row = "folder", f"{place}/{own}"  # a table of folders labels all images in them
    rows = "image" if unit == "image" else "inner folder"
    # Names that several folders share are rather classes, if they are the fewer ones.
    first, other = ("inner", "outer") if len(names) < len(inner) else ("outer", "inner")
    advice = (
        f"If the {first} folders ({shown if first == 'inner' else listed(inner, 4)}) are the classes, and the "
        f"{other} ones patients, places or the like, write a table labels.csv with the columns {unit}, label and "
        f"group, and one row for each {rows}, such as {row},{by_reading[first]}; --group-column group "
        f"keeps the images of a group in one fold. If the {other} folders "
        f"({shown if other == 'inner' else listed(inner, 4)}) are the classes, "
    )
    if max(names.values()) == 1:
        return f"{advice}move them all into one folder"
    alone = ""
    if len({frozenset(found) for found in inner.values()}) == 1:
        alone = f". If each outer folder is a data set of its own, give one, such as {place} inside of this one"
    return f"{advice}the same row is {row},{by_reading[other]}{alone}"


def _advice_on_doubled(folder: Path, doubled: Sequence[str]) -> str:
    """The advice on folders that each hold a folder of their own name, as archives leave them that were unpacked."""
    readable = [outer for outer in doubled if is_data_set(folder / outer)]
    place = printable(str(folder / (readable or doubled)[0]))
    return (
        f"{listed(doubled, 4)} each hold a folder of their own name, as unpacked archives do. If they are data sets of "
        f"their own, give one as the data folder, such as {place}. If they are the classes, move the images directly "
        "into them"
    )


def _holds_copies_of_others(folder: Path, inner: Path, files: ImageFiles) -> bool:
    """Whether each image in a folder has a copy outside of it, in a folder of the same name."""
    within = set(files.paths_in(inner))
    outside = {PurePosixPath(path).parts[-2:]: path for path in files.paths if path not in within}
    pairs = [(path, outside.get(PurePosixPath(path).parts[-2:])) for path in within]
    return all(other is not None and filecmp.cmp(folder / path, folder / other, shallow=False) for path, other in pairs)


def _has_own_images(outer: str, files: ImageFiles) -> bool:
    return any(path.rpartition("/")[0] == outer for path in files.paths)


def _inner_folder(outer: str, path: str) -> str:
    return path.removeprefix(f"{outer}/").partition("/")[0]


def _name(outer: str) -> str:
    return PurePosixPath(outer).name


def _advice_on_part(outer: str) -> str:
    """The advice on a folder that may hold test or validation images, in folders for the classes."""
    place = printable(outer)
    if may_hold_tests(_name(outer)):
        how = f"If {place} holds the test images, rename it to test"
    else:
        how = f"If {place} holds validation images, move it out of the data folder"
    return f"{how}; if it is a class, move its images directly into it"


def _advice_on_one(path: str) -> str:
    """The advice by one of the images."""
    place = PurePosixPath(path).parent.parent
    inner, of_part = PurePosixPath(path).parent.name, ""
    if is_held_out(inner) or split_of(inner) is not None:
        of_part = (
            f"If {printable(inner)} is a part of the data, put it above the classes: "
            f"{printable(inner)}/{printable(place.name)} in place of {printable(place.name)}/{printable(inner)}. "
        )
    while is_held_out(place.name) or split_of(place.name) is not None:
        place = place.parent
    return (
        f"{of_part}If the inner folders are the classes, give the folder that holds them as the data folder, such as "
        f"{printable(str(place))} inside of this one. If {printable(place.name)} is a class, move the images directly "
        "into it. Else write a table labels.csv with the columns image and label, and one row for each image, such as "
        f"{printable(path)}"
    )


def part_beside_message(folder: Path, root: Path, parts: Sequence[str], files: ImageFiles, options: DataOptions) -> str:
    """Why folders are not read as classes of which some hold parts of the images, and what to do.

    Args:
        folder: the data folder.
        root: the folder of the folders that are not read as classes.
        parts: the names of those with parts.
    """
    names = [path.name for path in subfolders(root)]
    inside = {path: files.paths_in(path) for path in class_folders(folder, root)}
    classes = [path.name for path, images in inside.items() if images]
    empty = [path.name for path, images in inside.items() if not images and not holds_lists(path)]
    example = next((root / name for name in parts if folder_part(name, names) == "train"), root / parts[0])
    hold, their = ("holds", "its name") if len(parts) == 1 else ("hold", "their names")
    unread = _unread_labels(folder, root, files, options)
    how = f"move {listed(empty, 4)} out of the data, and " * bool(empty)
    others = [name for name in classes if name not in parts]
    inner, alone = inner_classes(folder, files), ""
    if inner is not None:
        place = printable(str(inner))
        alone = f"If the folders in {place} are the classes, give {place} as the data folder. "
    if len(others) > 1:
        alone = f"If {listed(others, 4)} alone are the classes, move {listed(parts, 4)} out of the data folder. "
    return (
        f"the folders {listed(names, 4)} are not read as classes, because {listed(parts, 4)} {hold} a part of the "
        f"images by {their}{unread}. If the names of the images say the labels, write a table "
        "labels.csv with the columns image and label, and one row for each training image, such as "
        f"{printable(inside[example][0])}. {alone}If {listed(classes, 4)} are the classes, {how}add "
        "--layout folders (data.layout)"
    )


def parts_message(folder: Path, root: Path, candidates: Sequence[str], files: ImageFiles, options: DataOptions) -> str:
    """Why folders that look like parts of one set are not read as classes, and what to do."""
    beside = _unread_labels(folder, root, files, options)
    inside = {part: [path for path in subfolders(root / part) if files.paths_in(path)] for part in candidates}
    if all([path.name for path in inside[part]] == [part] for part in candidates):
        return _advice_on_doubled(root, candidates)
    inner = sorted({path.name for paths in inside.values() for path in paths})
    if inner:
        one = next((part for part in candidates if is_data_set(root / part)), None)
        give = "" if one is None else f"give one part as the data folder, such as {printable(str(root / one))}, or "
        beside += (
            f". If the folders inside them are the classes ({listed(inner, 4)}), {give}put the images of all parts "
            "into one folder for each class"
        )
    return (
        f"the folders {listed(candidates, 4)} look like parts of one set, not like classes{beside}. If "
        f"the parts are the classes, {folders_choice(folder, files)}"
    )


def _unread_labels(folder: Path, root: Path, files: ImageFiles, options: DataOptions) -> str:
    """The tables in the data folder that give no labels of images, and the files that may hold them."""
    tables = find_tables(folder, options.encoding).labels
    beside = f"; no table beside them ({listed(path.name for path in tables)}) names their images" if tables else ""
    others = [*filter(may_give_labels, other_tables(folder)), *bare_tables(folder), *labels_apart(folder, root, files)]
    return beside + "".join(
        f"; {printable(path.relative_to(folder).as_posix())} is not read: {how_to_save(path)}" for path in others[:4]
    )


def may_be_none(name: str) -> str:
    """The warning that a folder may be no class."""
    return f"the folder {name!r} is read as a class; if it is none, move it out of the data"


def not_classes(names: Sequence[str]) -> dict[str, str]:
    """A warning about each class folder whose name says something else, by this name."""
    found: dict[str, str] = {}
    for name in names:
        message = may_be_none(name)
        if may_hold_tests(name, names):
            found[name] = f"{message}, or rename it to test if it holds the test images"
        elif _may_train(name, names):
            found[name] = message
        elif split_of(name) is None and not (holds_masks(name) and masks_are_worn(names)):
            part = part_alone(name) or folder_part(name, ()) or may_hold_validation(name)
            if names_no_class(name) or part:
                found[name] = message
    return found


def _may_train(name: str, names: Sequence[str]) -> bool:
    """Whether a folder called ``train`` may hold training images, because no other class is one of vehicles."""
    if part_alone(name) != "train":
        return False
    words = {word.removesuffix("s") for other in names if other != name for word in words_in(other)}
    return words.isdisjoint(_VEHICLES)


def doubtful_test_folder(folder: Path, root: Path, test_folder: Path | None) -> list[str]:
    """A warning about a test folder beside class folders that might be a class.

    Its name might be that of a class (``Prüfung``), or all folders beside it hold training images (``train/test``).
    """
    if test_folder is None or test_folder.parent != root:
        return []
    in_training = root != folder and folder_split(root.name) == "train"
    if folder_split(test_folder.name) is not None and not in_training:
        return []
    place, name = (printable(text) for text in (test_folder.relative_to(folder).as_posix(), test_folder.name))
    return [
        f"the images in {place}/ are read as test images by its name; if it is a class, rename it, such as to "
        f"{name}_class"
    ]


def mask_warnings(masks: Sequence[str]) -> list[str]:
    """A warning about images that are masks of others by their names."""
    if not masks:
        return []
    return [f"not read as images: masks ({len(masks)}), such as {printable(masks[0])}; rename those that are images"]


def not_splits(names: Sequence[str]) -> list[str]:
    """Notes on class folders that mention training or testing, but for those of `not_classes`."""
    return [
        f"the folder {name!r} is read as a class"
        for name in names
        if split_of(name) is not None and not may_hold_tests(name, names) and not _may_train(name, names)
    ]
