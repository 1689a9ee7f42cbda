"""Read the layout with one folder per class; a test folder and a sample submission are optional."""

from __future__ import annotations

from pathlib import Path

from trainer.common.errors import DataError
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.images import FileImages
from trainer.data.readers.base import Reader, ReadResult, SkippableProblem
from trainer.data.readers.competition_test_set import TrainingConventions, read_test_set
from trainer.data.readers.find_tables import find_tables
from trainer.data.readers.image_files import ImageFiles, is_data, split_of
from trainer.formats.delimited import read_table
from trainer.formats.labels import encode, natural_key, text_problem
from trainer.inference.printable import name_problem, printable

_HELD_OUT = ("val", "valid", "validation", "dev", "eval")


def detect(folder: Path) -> bool:
    """Whether there are at least two class folders, and one of them holds an image."""
    root = _class_root(folder)
    if root is None:
        return False
    prefixes = tuple(f"{path.relative_to(folder).as_posix()}/" for path in _class_folders(folder, root))
    return len(prefixes) > 1 and any(path.startswith(prefixes) for path in ImageFiles.scan(folder).paths)


def read(folder: Path, options: DataOptions) -> ReadResult:
    """Read the class folders, then the test set. Training ids are ``CLASS/FILE``.

    Raises:
        DataError: options that need a table, class folders that cannot be used, or a sample that cannot be used.
    """
    given = [name for name in ("label_column", "group_column") if getattr(options, name) is not None]
    if given:
        raise DataError(f"{folder} has no training table: leave out {', '.join(f'data.{name}' for name in given)}")
    root = _class_root(folder)
    assert root is not None, "detect found class folders"
    files = ImageFiles.scan(folder)
    problems: list[str] = []
    paths: list[str] = []
    labels: list[str] = []
    bad_names: list[SkippableProblem] = []
    class_folders = _class_folders(folder, root)
    for class_folder in class_folders:
        inside = files.under(class_folder.relative_to(folder).as_posix()).paths
        problems += _class_problems(folder, class_folder, inside, files)
        unusable = {path: problem for path in inside if (problem := name_problem(path))}
        bad_names += [
            SkippableProblem(lost_id=printable(path), message=f"{printable(path)}: the file name {problem}")
            for path, problem in unusable.items()
        ]
        usable = [path for path in inside if path not in unusable]
        paths += usable
        labels += [class_folder.name] * len(usable)
    problems += files.closed_problems()
    if problems:
        raise DataError(problems)
    class_names, y = encode(labels)
    tables = find_tables(folder)
    conventions = TrainingConventions(
        id_header="id", label_header="label", class_columns=(), class_names=class_names, ids_have_extension=True
    )
    test_folder = _test_folder(folder)
    test_files = files.under(test_folder.name) if test_folder else ImageFiles(folder, ())
    test = read_test_set(
        test_files,
        conventions,
        sample=read_table(tables.sample) if tables.sample else None,
        test_table=read_table(tables.test) if tables.test else None,
    )
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
        notes=(
            f"labels are the names of the folders in {prefix or 'the data folder'}",
            *test.notes,
            *files.ignored_notes(),
        ),
        warnings=(
            *_unread_warnings(folder, root, files, test_folder),
            *files.unread_warnings(
                path.relative_to(folder).as_posix() for path in (*class_folders, test_folder) if path is not None
            ),
            *test.warnings,
        ),
    )
    return ReadResult(image_set=image_set, problems=test.problems, skippable=tuple(bad_names))


def _class_problems(folder: Path, class_folder: Path, inside: tuple[str, ...], files: ImageFiles) -> list[str]:
    """What forbids the use of a class folder whose images are ``inside``."""
    name = class_folder.relative_to(folder).as_posix()
    if class_folder.is_symlink():
        return [f"{name} is a link to a folder: such links are not followed; copy the folder into the data"]
    if problem := name_problem(class_folder.name):
        return [f"the class folder {printable(name)}: its name {problem}"]
    if problem := text_problem(class_folder.name):
        return [f"the class folder {name!r} {problem}"]
    outside = [
        f"{printable(link)} {why}: such links are not followed; copy the folder into the data"
        for link, why in sorted(files.other.unfollowed.items())
        if link.startswith(f"{name}/")
    ]
    if outside:
        return outside
    if not inside:
        return [
            f"the class folder {name} holds no images; add images or remove the folder",
            *files.unread_warnings([name]),
        ]
    problems = [
        f"{path} is a link that leaves the data folder; copy the image into it"
        for path in inside
        if path in files.escaping
    ]
    nested = [path for path in inside if "/" in path.removeprefix(name + "/") and path not in files.other.linked]
    if nested:
        problems.append(f"{nested[0]}: a class folder holds its images directly, but {name} has folders with images")
    return problems


def _class_root(folder: Path) -> Path | None:
    """The folder that holds the class folders: the training folder, the data folder, or the only folder inside it."""
    subfolders = [path for path in _subfolders(folder) if split_of(path.name) != "test"]
    # A folder "train" without subfolders is a class: images of trains.
    train = [path for path in subfolders if split_of(path.name) == "train" and _subfolders(path)]
    if len(train) == 1:
        return _unwrapped(train[0])
    if len(subfolders) == 1:
        return _unwrapped(subfolders[0])
    return folder if subfolders else None


def _unwrapped(folder: Path) -> Path:
    """``folder``, or the folder inside it if it holds nothing else, repeatedly (``train/train/CLASS``)."""
    while len(inside := [path for path in folder.iterdir() if is_data(path)]) == 1 and _subfolders(inside[0]):
        folder = inside[0]
    return folder


def _class_folders(folder: Path, root: Path) -> list[Path]:
    return [path for path in _subfolders(root) if root != folder or split_of(path.name) != "test"]


def _test_folder(folder: Path) -> Path | None:
    found = [path for path in _subfolders(folder) if split_of(path.name) == "test"]
    if len(found) > 1:
        raise DataError(
            f"{', '.join(path.name for path in found)}: each could be the test folder; leave only one of them"
        )
    return found[0] if found else None


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.is_dir() and is_data(path)]
    return sorted(found, key=lambda path: natural_key(path.name))


def _unread_warnings(folder: Path, root: Path, files: ImageFiles, test_folder: Path | None) -> list[str]:
    """Warnings about images outside of the class and test folders."""
    warnings = []
    loose = [path for path in files.paths if (folder / path).parent == root]
    if loose:
        warnings.append(f"not read: {len(loose)} images outside of the class folders, such as {loose[0]}")
    if root != folder:
        top = root.relative_to(folder).parts[0]
        for path in _subfolders(folder):
            if path.name != top and path != test_folder and files.under(path.name).paths:
                why = " (folds are cut from the training images)" if path.name.lower() in _HELD_OUT else ""
                warnings.append(f"not read: {len(files.under(path.name).paths)} images in {path.name}/{why}")
    return warnings


READER = Reader(
    layout="DATA/CLASS/*.jpg or DATA/train/CLASS/*.jpg, one folder per class, with or without DATA/test/",
    detect=detect,
    read=read,
)
