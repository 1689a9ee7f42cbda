"""Find the image files in a folder, and say what else lies there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .file_kinds import (
    ARCHIVE_PART,
    ARCHIVES,
    BROKEN_LINK,
    CONTAINERS,
    HEAD,
    NO_IMAGES,
    READS_HEIF,
    SPECIAL_KINDS,
    is_hidden,
    unread_kind,
)
from .printable import printable

SHOWN = 10  # kinds in one message
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
    return "._*" if name.startswith("._") else name
