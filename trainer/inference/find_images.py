"""Find the image files in a folder, and say what else lies there; list the images to predict."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from .arrays import KEY, ArrayError, load_images
from .errors import ImageError, ModelError
from .file_kinds import (
    ARCHIVE_PART,
    ARCHIVES,
    BROKEN_LINK,
    CONTAINERS,
    HEAD,
    NO_IMAGES,
    READS_HEIF,
    SPECIAL_KINDS,
    SUFFIXES,
    is_hidden,
    unread_kind,
)
from .printable import EXCERPT, excerpt, name_problem, printable

SHOWN = 10  # kinds in one message
SHOWN_IMAGES = 20  # images in a message; the others are counted
LINE_BREAK = "\n"
OWN_PICTURES = ("confusion_matrix.png", "compare.png")
"""Names of the pictures that Retable draws into the folder of an export."""
_MANIFEST = ".retable-export.json"  # lies in the folder of an export
_DRAWN_BY = b"Software\0Matplotlib"  # a text chunk of PNG


@dataclass(frozen=True, kw_only=True)
class FoundFiles:
    """The files in a folder and below it. Paths are relative to the folder, with ``/`` as separator.

    images: image files, in the order of the file system.
    unread: the kind of each file that is not read, such as ``.heic``.
    ignored: hidden files, and those that operating systems and archivers leave behind.
    linked: those of ``images`` inside a folder that is a link.
    unfollowed: why a link to a folder is not followed, although images may lie there.
    closed: why the content of a folder cannot be listed.
    """

    images: list[str] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    linked: set[str] = field(default_factory=set)
    unfollowed: dict[str, str] = field(default_factory=dict)
    closed: dict[str, str] = field(default_factory=dict)


def find_images(root: Path, is_data: Callable[[Path], bool] = lambda path: True) -> FoundFiles:
    """List the files in ``root`` and all folders below it.

    A link to a folder is followed if the folder lies inside ``root``, but not above the link, which would never end.
    Links inside a folder that is itself a link are not followed.

    Args:
        is_data: whether to enter a folder.
    """
    found = FoundFiles()
    links: list[Path] = []
    _walk(root, root, found, is_data, links.append)
    real_root = root.resolve()
    for link in links:
        name = link.relative_to(root).as_posix()
        target = link.resolve()
        if not target.is_relative_to(real_root):
            found.unfollowed[name] = "is a link to a folder outside of the data"
        elif link.parent.resolve().is_relative_to(target):
            found.unread[name] = "link to a folder above it"
        else:
            before = len(found.images)
            _walk(link, root, found, is_data, lambda inner: _unfollow(found, inner.relative_to(root)))
            found.linked.update(found.images[before:])
    return found


def _unfollow(found: FoundFiles, link: Path) -> None:
    found.unfollowed[link.as_posix()] = "is a link to a folder inside of a linked folder"


def _walk(
    top: Path, root: Path, found: FoundFiles, is_data: Callable[[Path], bool], on_link: Callable[[Path], None]
) -> None:
    """Add the files in ``top`` and below it; links to folders go to ``on_link``."""

    def on_error(error: OSError) -> None:
        name = Path(error.filename).relative_to(root).as_posix()
        found.closed[name] = error.strerror or str(error)

    for folder, subfolders, files in os.walk(top, onerror=on_error):
        here = Path(folder)
        relative = here.relative_to(root)
        kept = []
        for name in sorted(subfolders):
            if is_hidden(name):
                found.ignored.append((relative / name).as_posix() + "/")
            elif (here / name).is_symlink():
                on_link(here / name)
            elif is_data(here / name):
                kept.append(name)
        subfolders[:] = kept
        for name in sorted(files):
            path = (relative / name).as_posix()
            if is_hidden(name):
                found.ignored.append(path)
            elif (kind := unread_kind(here / name)) is None:
                found.images.append(path)
            else:
                found.unread[path] = kind


def is_own_picture(path: Path) -> bool:
    """Whether an image is a picture that Retable has drawn, by its name and its folder or content."""
    if path.name not in OWN_PICTURES:
        return False
    if (path.parent / _MANIFEST).is_file():
        return True
    try:
        with path.open("rb") as file:
            return _DRAWN_BY in file.read(HEAD)
    except OSError:
        return False  # decoding reports it


def unread_message(unread: Mapping[str, str]) -> str:
    """One sentence that counts the files that are not read, by kind, and says what to do.

    Args:
        unread: kind by path, at least one.
    """
    counts = Counter(unread.values()).most_common()
    kinds = ", ".join(f"{count} {printable(kind)}" for kind, count in counts[:SHOWN])
    if len(counts) > SHOWN:
        kinds += f" and {sum(count for _, count in counts[SHOWN:])} of other kinds"
    files = "1 file" if len(unread) == 1 else f"{len(unread)} files"
    endings = set(unread.values())
    archives = {ending for ending in endings if ending in ARCHIVES or ARCHIVE_PART.fullmatch(ending)}
    converted = endings - archives - CONTAINERS - NO_IMAGES - SPECIAL_KINDS - {BROKEN_LINK}
    advice = "; convert images among them to JPEG or PNG" if converted else ""
    if not READS_HEIF and endings & {".heic", ".heif", ".hif"}:
        advice += ", or install pillow-heif (pip install pillow-heif), which reads HEIC"
    if BROKEN_LINK in endings:
        advice += "; put the files in the place of broken links"
    if archives:
        advice += "; unpack archives"
    if endings & CONTAINERS:
        advice += "; save the images in them as files of JPEG or PNG"
    return (
        f"{files} that {'is' if len(unread) == 1 else 'are'} no readable image ({kinds}), such as "
        f"{printable(next(iter(unread)))}{advice}"
    )


def ignored_message(ignored: Iterable[str]) -> str:
    """One sentence that counts the hidden files and those of the operating system.

    Args:
        ignored: paths; a folder ends in ``/``. At least one.
    """
    counts = Counter(_ignored_kind(path) for path in ignored).most_common()
    kinds = ", ".join(f"{count} {printable(kind)}" for kind, count in counts[:SHOWN])
    more = " and others" if len(counts) > SHOWN else ""
    return f"{sum(count for _, count in counts)} hidden or system files ({kinds}{more})"


def _ignored_kind(path: str) -> str:
    name = path.removesuffix("/").rpartition("/")[2] + "/" * path.endswith("/")
    return next((f"{start}*" for start in ("._", "~$") if name.startswith(start)), name)


Item = tuple[str, Path | NDArray[Any]]
"""One image to predict: its id, and its file or pixels."""


@dataclass(frozen=True, kw_only=True)
class ListedImages:
    """The images to predict, with unique ids, and sentences about other files that lie there."""

    items: tuple[Item, ...]
    notes: tuple[str, ...]


def list_images(given: Sequence[str | os.PathLike[str]]) -> ListedImages:
    """The images to predict: given files, all image files below given folders (sorted), rows of given ``.npz`` files.

    Hidden files and folders, which operating systems create, are skipped, and so are pictures that Retable has drawn.
    An id is the name of a file, its path below the given folder, or the number of a row. If two images had the same
    id, all ids begin with the path as given, such as ``left/1.png`` and ``b.npz[0]``, and a note says so. An image that
    is given twice is listed once.

    Raises:
        ModelError: there is no image, a path is empty, a folder cannot be listed, or an ``.npz`` file has no plain
            array ``arr_0``.
        ImageError: file names that cannot be ids; the message names each one on its own line.
    """
    listed: dict[str, tuple[tuple[str, ...], Path | NDArray[Any]]] = {}
    notes: list[str] = []
    repeated = 0
    if any(not os.fspath(path) for path in given):
        raise ModelError("the path of the images is empty: is a shell variable unset? `.` is the working folder")
    without_links = {Path(path).resolve() for path in given}
    for path in map(Path, given):
        for names, source in _images_in(path, notes, without_links):
            repeated += names[-1] in listed
            listed.setdefault(names[-1], (names, source))
    if repeated:
        notes.append(f"given twice and predicted once: {repeated} image{'s' * (repeated > 1)}")
    if not listed:
        shown = listed_lines([printable(str(path)) for path in given], ", ")
        causes = "".join(f"; {note}" for note in notes)
        raise ModelError(f"no image in {shown} (image files end in {' '.join(sorted(SUFFIXES))}){causes}")
    levels = list(zip(*(names for names, _ in listed.values()), strict=True))
    ids = next(level for level in levels if len(set(level)) == len(level))  # the last level is the key of `listed`
    if ids is not levels[0]:
        counts = Counter(levels[0])
        short, long = next(pair for pair in zip(levels[0], ids, strict=True) if counts[pair[0]] > 1)
        notes.append(f"several images are called {printable(short)}: ids are paths, such as {printable(long)}")
    problems = [f"{printable(name)}: the file name {problem}" for name in ids if (problem := name_problem(name))]
    if problems:
        files = "this file" if len(problems) == 1 else f"these {len(problems)} files"
        what_next = f"nothing was predicted. To predict the other images now, move {files} elsewhere"
        raise ImageError(LINE_BREAK.join([listed_lines(problems, LINE_BREAK), what_next]))
    return ListedImages(
        items=tuple((name, source) for name, (_, source) in zip(ids, listed.values(), strict=True)), notes=tuple(notes)
    )


def _images_in(
    path: Path, notes: list[str], given: Collection[Path]
) -> Iterator[tuple[tuple[str, ...], Path | NDArray[Any]]]:
    """The images of one given path: names from short to unique, and file or pixels.

    Args:
        notes: sentences are added about what is not read.
        given: all given paths, without links.
    """
    whole = path.absolute()  # not resolved: two links to one file are two images
    shown = printable(str(path))
    if path.suffix.lower() == ".npz":
        try:
            array = load_images(path)
        except ArrayError as error:
            raise ModelError(f"{shown} holds no array {KEY} of images: {error}") from error
        for row, image in enumerate(array):
            yield (str(row), f"{path.name}[{row}]", f"{path}[{row}]", f"{whole}[{row}]"), image
    elif path.is_dir():
        found = find_images(path)
        if found.closed:
            folder, why = next(iter(found.closed.items()))
            raise ModelError(f"the folder {shown}/{printable(folder)} cannot be read: {why}")
        own = {name for name in found.images if is_own_picture(path / name)}
        if own:
            notes.append(f"not predicted: pictures that Retable has drawn, such as {printable(min(own))}")
        for name in sorted(set(found.images) - own):
            yield (name, f"{path.name}/{name}", str(path / name), str(whole / name)), path / name
        if found.unread:
            notes.append(f"not read: {unread_message(found.unread)}")
        notes += [
            f"not read: {shown}/{printable(link)} {why}; give it, too"
            for link, why in sorted(found.unfollowed.items())
            if (path / link).resolve() not in given
        ]
    elif path.is_file() and path.suffix.lower() in ARCHIVES:
        raise ModelError(f"{shown} is an archive: unpack it first, and give the folder")
    else:
        yield (path.name, str(path), str(path), str(whole)), path


def listed_lines(texts: Sequence[str], separator: str) -> str:
    """The first `SHOWN_IMAGES` texts, and the number of the others."""
    shown = [excerpt(text, 2 * EXCERPT) for text in texts[:SHOWN_IMAGES]]
    return separator.join(
        [*shown, *([f"... and {len(texts) - SHOWN_IMAGES} more"] if len(texts) > SHOWN_IMAGES else [])]
    )
