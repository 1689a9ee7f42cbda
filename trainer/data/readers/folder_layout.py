"""Read the layout with one folder per class; a test folder and a sample submission are optional."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from trainer.common.errors import DataError, counted, listed
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.images import FileImages
from trainer.data.names.parts import is_held_out, part_alone
from trainer.data.readers.base import Reader, ReadResult
from trainer.data.readers.class_folders import (
    class_folder_names,
    class_folders,
    class_root,
    find_test_folder,
    hold_images,
    holds_lists,
    mask_folders_among,
    part_folders,
    seem_parts,
    subfolders,
)
from trainer.data.readers.class_images import images_of
from trainer.data.readers.competition_test_set import TrainingConventions, read_test_set
from trainer.data.readers.doubts.doubtful_labels import doubtful_labels
from trainer.data.readers.doubts.files_apart import labels_apart
from trainer.data.readers.doubts.folders.class_doubts import class_doubts
from trainer.data.readers.doubts.folders.derived_files import derived_files
from trainer.data.readers.doubts.folders.doubtful_folders import images_in_two_formats
from trainer.data.readers.doubts.folders.folder_advice import (
    doubtful_test_folder,
    mask_warnings,
    not_splits,
    part_beside_message,
    parts_message,
)
from trainer.data.readers.doubts.folders.folder_refusals import (
    refuse_batch_twins,
    refuse_copies,
    refuse_inner_annotations,
    refuse_mask_twins,
    refuse_own_tables,
    refuse_part_twins,
    refuse_two_training_folders,
)
from trainer.data.readers.doubts.folders.sample_elsewhere import refuse_sample_elsewhere
from trainer.data.readers.doubts.other_tables import (
    bare_tables,
    how_to_save,
    labels_inside,
    may_give_labels,
    other_tables,
    refuse_other_labels,
)
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.parts.divide_classes import PartLists, divide_by_lists
from trainer.data.readers.parts.json_names import names_nothing
from trainer.data.readers.parts.lists_apart import warn_of_lists
from trainer.data.readers.parts.part_files import images_apart, spellings
from trainer.data.readers.sample_submission import spelled_as_in
from trainer.data.readers.tables.choice.tables_in_classes import tables_in_classes
from trainer.data.readers.tables.find_tables import (
    Tables,
    find_tables,
    own_warnings,
    packed_warnings,
    unread_tables,
)
from trainer.data.readers.tables.reading.table_files import read_table
from trainer.formats.class_lists import json_lists_classes
from trainer.formats.delimited import Table
from trainer.formats.labels import encode, unify_labels
from trainer.inference.printable import printable


def read(folder: Path, options: DataOptions) -> ReadResult | None:
    """Read the class folders, then the test set; None without class folders. Training ids are ``CLASS/FILE``.

    Raises:
        DataError: options that need a table, class folders that cannot be used, or a sample that cannot be used.
    """
    files = ImageFiles.scan(folder)
    root = _root_of_classes(folder, options, files)
    if root is None:
        return None
    _refuse_options_of_tables(folder, options)
    derived = mask_folders_among(class_folders(folder, root), files) if options.layout is None else []
    folders = [path for path in class_folders(folder, root) if path not in derived and not holds_lists(path)]
    found = images_of(folder, folders, files)
    paths, labels = found.paths, found.labels
    places = list(dict.fromkeys((folder, root)))
    apart = labels_apart(folder, root, files)
    others = [*chain.from_iterable([*other_tables(place), *bare_tables(place)] for place in places), *apart]
    test_folder = find_test_folder(folder, root)
    parts = images_apart(files)
    if test_folder is not None and test_folder.parent == root:
        parts["test"] = [*dict.fromkeys((*parts["test"], *files.paths_in(test_folder)))]
    lists = divide_by_lists(folder, root, paths, parts, options.encoding, divide=options.layout is None)
    read = lists.read if lists is not None else ()
    others = [path for path in others if path not in read and not json_lists_classes(path, labels)]
    silent = [path for path in others if names_nothing(path, files.paths)]
    others = [path for path in others if path not in silent]
    inner = tables_in_classes(folder, files, options) if options.layout is None else None
    if inner is not None:
        refuse_own_tables(folder, folders)
        inner.refuse()
        refuse_part_twins([path.name for path in folders])
        refuse_mask_twins([path.name for path in folders])
        refuse_batch_twins([path.name for path in folders])
        refuse_copies(folders, test_folder, files)
        refuse_inner_annotations(folder, folders, files)
        telling = [path for path in others if path in apart or may_give_labels(path)]
        telling += labels_inside(folders)
        refuse_other_labels(folder, telling, [path.name for path in folders])
    if lists is not None:
        kept = [index for index, path in enumerate(paths) if path in lists.train]
        paths, labels = [paths[index] for index in kept], [labels[index] for index in kept]
    labels, merged = unify_labels(labels, options.similar_labels)
    tables = find_tables(folder, options.encoding)
    sample = read_table(tables.sample, encoding=options.encoding) if tables.sample else None
    if found.bad_names and not labels:
        raise DataError(problem.message for problem in found.bad_names)
    class_names, y = encode(spelled_as_in(sample, labels))
    conventions = TrainingConventions(
        id_header="id",
        image_header=None,
        label_header="label",
        class_columns=(),
        class_names=class_names,
        ids_have_extension=True,
    )
    if sample is not None and test_folder is None and (lists is None or lists.test is None):
        refuse_sample_elsewhere(folder, root, sample, files)
    test_files, test_table = _test_images(files, test_folder, tables, lists, options.encoding)
    test = read_test_set(test_files, conventions, sample=sample, test_table=test_table)
    has_tests = lists is not None or test_folder is not None or test_table is not None or sample is not None
    held_out = [] if has_tests else warn_of_lists(folder, None, paths, spellings(paths), parts)
    doubts, doubted = class_doubts([path.name for path in folders])
    prefix = "" if root == folder else f"{root.relative_to(folder).as_posix()}/"
    image_set = ImageSet(
        root=folder,
        reader="folders",
        class_names=class_names,
        train_ids=tuple(path.removeprefix(prefix) for path in paths),
        y=y,
        train_images=FileImages(root=folder, paths=tuple(paths)),
        groups=None,
        test_ids=test.ids,
        test_images=test.images,
        submission=test.submission,
        label_source="class folders",
        notes=(
            f"labels are the names of the folders in {prefix or 'the data folder'}",
            *(lists.notes if lists is not None else ()),
            *not_splits(_candidates(folder, root)),
            *test.notes,
            *_nothing_named(silent),
            *files.ignored_notes(),
        ),
        warnings=(
            *merged,
            *(lists.warnings_beside(folder, test_folder) if lists is not None else held_out),
            *doubts,
            *doubtful_test_folder(folder, root, test_folder),
            *images_in_two_formats(paths),
            *derived_files(paths),
            *doubtful_labels("the class folders", labels, doubted=doubted),
            *mask_warnings(found.masks),
            *(f"not read: {path.name}/, masks of other images by its name and theirs" for path in derived),
            *unread_tables(tables, read),
            *(inner.warnings() if inner is not None else ()),
            *(f"{printable(path.name)} is not read: {how_to_save(path)}" for path in others),
            *own_warnings(tables),
            *packed_warnings(folder, root),
            *_unread_warnings(folder, root, files, test_folder),
            *files.unread_warnings(
                path.relative_to(folder).as_posix() for path in (*folders, test_folder) if path is not None
            ),
            *test.warnings,
        ),
    )
    advice = files.packed_hint() if test.problems else ""
    return ReadResult(image_set=image_set, problems=test.problems, skippable=tuple(found.bad_names), advice=advice)


def _root_of_classes(folder: Path, options: DataOptions, files: ImageFiles) -> Path | None:
    """The folder that holds the class folders; None without class folders.

    Raises:
        DataError: the folders are parts of the images, or several hold the training images.
    """
    root = class_root(folder, files)
    candidates = [] if root is None else _candidates(folder, root)
    if options.layout == "folders" or class_folder_names(folder, files):
        return root if len(candidates) > 1 else None
    if root is not None and hold_images(folder, root, files) > 1:
        if seem_parts(candidates):
            raise DataError(parts_message(folder, root, candidates, files, options))
        if parts := part_folders(folder, root, files):
            find_test_folder(folder, root)
            raise DataError(part_beside_message(folder, root, parts, files, options))
    refuse_two_training_folders(folder, files)
    return None


def _candidates(folder: Path, root: Path) -> list[str]:
    """Names of the folders that may be classes."""
    return [path.name for path in class_folders(folder, root) if not holds_lists(path)]


def _nothing_named(paths: Sequence[Path]) -> list[str]:
    """A note on files of JSON that label nothing."""
    names = [printable(path.name) for path in paths]
    return [f"not read: {listed(names, 4)}, JSON that names no image"] if names else []


def _refuse_options_of_tables(folder: Path, options: DataOptions) -> None:
    """Raise a DataError for options that need a table."""
    given = [name for name in ("id_column", "label_column", "group_column") if getattr(options, name) is not None]
    given += ["several_labels"] * (options.several_labels == "yes")
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')} (data.{name})" for name in given)
        raise DataError(f"{folder} has no training table: leave out {flags}")


def _test_images(
    files: ImageFiles, test_folder: Path | None, tables: Tables, lists: PartLists | None, encoding: str | None
) -> tuple[ImageFiles, Table | None]:
    """The images for testing, in their folder or among the classes by ``lists``, and their table."""
    if test_folder is None and lists is not None and lists.test is not None:
        return ImageFiles(files.root, lists.test_paths, other=files.other), lists.test
    is_listed = lists is not None and tables.are_tests(lists.read)
    path = None if is_listed else tables.test_beside(None)
    found = ImageFiles(files.root, (), other=files.other) if test_folder is None else files.under_tests(test_folder)
    return found, None if path is None else read_table(path, encoding=encoding)


def _unread_warnings(folder: Path, root: Path, files: ImageFiles, test_folder: Path | None) -> list[str]:
    """Warnings about images outside of the class and test folders."""
    warnings = []
    loose = [path for path in files.paths if (folder / path).parent == root]
    if loose:
        images = counted(len(loose), "image")
        warnings.append(f"not read: {images} outside of the class folders, such as {loose[0]}")
    folders = class_folders(folder, root)
    unread = [path for path in subfolders(root) if path not in folders]
    if root != folder:
        top = root.relative_to(folder).parts[0]
        unread += [path for path in subfolders(folder) if path.name != top]
    for path in unread:
        if path != test_folder and files.paths_in(path):
            why = " (folds are cut from the training images)" if is_held_out(path.name) else ""
            images = counted(len(files.paths_in(path)), "image")
            warnings.append(f"not read: {images} in {printable(path.relative_to(folder).as_posix())}/{why}")
    if root != folder:
        classes = {path.name for path in folders}
        parts = [path for path in subfolders(folder) if path == test_folder or is_held_out(path.name)]
        inner = {path.name for part in parts for path in subfolders(part) if files.paths_in(path)}
        if inner & classes and (lost := sorted(name for name in inner - classes if part_alone(name) is None)):
            warnings.append(f"not trained: {listed(lost, 4)}, classes without a folder in {root.name}/")
    return warnings


READER = Reader(
    layout="DATA/CLASS/*.jpg or DATA/train/CLASS/*.jpg, one folder per class, with or without DATA/test/",
    read=read,
)
