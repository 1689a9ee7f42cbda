"""Warnings about images that a table of labels leaves out, or takes from a folder of test images."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import PurePosixPath

from trainer.common.errors import counted
from trainer.data.names.masks import masks_among, stem_of_owner
from trainer.data.names.parts import is_held_out
from trainer.data.names.put_aside import holds_copies
from trainer.data.names.words import RESULT_WORDS, TO_PREDICT_WORDS, speaks_of
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.inference.printable import printable


def in_test_folders(where: str, files: ImageFiles, trained: Collection[str]) -> list[str]:
    """A warning about training images in a folder of test images, beside others that are in none.

    Args:
        where: name of the table that lists them.
    """
    inside = [path for path in files.paths_below("test") if path in trained]
    if not 0 < len(inside) < len(trained):
        return []
    images = counted(len(inside), "training image")
    return [
        f"in a folder of test images, but listed by {where}: {images}, such as {printable(inside[0])}; remove the rows "
        "of images that are for testing"
    ]


def images_beside(files: ImageFiles, trained: Collection[str]) -> list[str]:
    """The images in the folders of the training images, and these."""
    folders = {path.rpartition("/")[0] for path in trained}
    return [path for path in files.paths if path.rpartition("/")[0] in folders]


def unlisted_images(
    files: ImageFiles,
    matcher: ImageMatcher,
    cells: Iterable[str],
    trained: Collection[str],
    tested: Collection[str],
) -> list[str]:
    """The images beside the training images that no row names, as where a table is cut off.

    Masks, and other versions of a training image, have its stem.

    Args:
        cells: the cells of the table that name images.
    """
    stems = {str(PurePosixPath(path).with_suffix("")) for path in trained}
    beside = images_beside(files, trained)
    masks = set(masks_among(beside))
    used = {*trained, *tested, *masks}
    rest = [path for path in beside if path not in used and str(PurePosixPath(path).with_suffix("")) not in stems]
    if rest:
        named = set(matcher.match(cells).paths.values())
        rest = [path for path in rest if path not in named]
    return rest


def unlisted(where: str, rest: Sequence[str]) -> list[str]:
    """A warning about the `unlisted_images` ``rest`` of the table ``where``."""
    if not rest:
        return []
    images = counted(len(rest), "image")
    return [f"not read: {images} beside those of {where} that it does not list, such as {printable(rest[0])}"]


def in_other_folders(
    where: str, files: ImageFiles, trained: Collection[str], tested: Collection[str], divided_off: Collection[str]
) -> list[str]:
    """A warning about images in folders of which no image is used, but for those of masks and of other parts.

    Another warning tells of those with the names of training images.
    Folders such as ``predict`` and ``output`` count, though they may hold what programs make of the images.

    Args:
        where: name of the table of training images.
        divided_off: images of its rows of other parts.
    """
    used = {str(folder) for path in (*trained, *tested) for folder in PurePosixPath(path).parents}
    apart = [path for path in files.paths if str(PurePosixPath(path).parent) not in used]
    rest = files.of_split(apart, "train")
    stems = {PurePosixPath(path).stem for path in trained}
    of_parts = set(divided_off)
    unnamed = [path for path in rest if PurePosixPath(path).stem in stems and path not in of_parts]
    namesakes = _namesakes(unnamed, files, trained)
    rest = [path for path in rest if PurePosixPath(path).stem not in stems]  # another version of a training image
    stems |= {PurePosixPath(path).stem for path in tested}
    known = {*rest, *files.tests_to_predict()}
    rest += [path for path in apart if path not in known and _may_be_to_predict(path, stems)]
    warnings = []
    if rest:
        images = counted(len(rest), "image")
        warnings.append(f"not read: {images} in other folders than those of {where}, such as {printable(rest[0])}")
    if namesakes:
        images = counted(len(namesakes), "image")
        warnings.append(
            f"not read: {images} with the names of others that {where} lists, such as {printable(namesakes[0])}"
        )
    return warnings


def _namesakes(paths: Iterable[str], files: ImageFiles, trained: Iterable[str]) -> list[str]:
    """The images with the file name of a training image, as where cameras number anew, but for copies.

    Args:
        paths: images that are not used.
    """
    named = {PurePosixPath(path).name: path for path in trained}
    places: dict[PurePosixPath, list[str]] = defaultdict(list)
    for path in paths:
        if PurePosixPath(path).name in named and not any(map(holds_copies, PurePosixPath(path).parts[:-1])):
            places[PurePosixPath(path).parent].append(path)
    others = (own for own in places.values() if not files.are_copies([own[0], named[PurePosixPath(own[0]).name]]))
    return [path for own in others for path in own]


def _may_be_to_predict(path: str, used: set[str]) -> bool:
    """Whether an image may be one to predict by its folder, and is not made of an image in use by its name.

    Args:
        used: stems of the images in use.
    """
    folders = PurePosixPath(path).parts[:-1]
    if any(speaks_of(folder, TO_PREDICT_WORDS) for folder in folders):
        return True
    stem = PurePosixPath(path).stem
    return any(speaks_of(folder, RESULT_WORDS) for folder in folders) and used.isdisjoint((stem, stem_of_owner(stem)))


def tests_apart(files: ImageFiles, known: Iterable[str]) -> list[str]:
    """The images in folders of test images, but masks, the ``known`` images, and others with their names."""
    names = {PurePosixPath(path).name for path in known}
    tests = files.of_split(files.paths_below("test"), "test")
    tests = [path for path in tests if PurePosixPath(path).name not in names]
    masks = set(masks_among(tests))
    return [path for path in tests if path not in masks]


def unlisted_test_images(where: str, rest: Sequence[str]) -> list[str]:
    """A warning about the images ``rest`` in folders of test images that a table of test images does not list.

    Args:
        where: name of the table.
    """
    if not rest:
        return []
    return [
        f"not read: {counted(len(rest), 'image')} in the folder of test images that {where} does not list, such as "
        f"{printable(rest[0])}; if it is an excerpt, move it out of the data folder"
    ]


def held_out(files: ImageFiles, used: Collection[str]) -> list[str]:
    """A warning for each folder of validation images, beside the others."""
    folders = Counter(path.partition("/")[0] for path in files.paths if "/" in path and path not in used)
    return [
        f"not read: {counted(count, 'image')} in {printable(folder)}/ (folds are cut from the training images)"
        for folder, count in folders.items()
        if is_held_out(folder)
    ]
