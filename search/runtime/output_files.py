"""Files that a command writes where the user wants them: atomically, and never over a file of other origin."""

from __future__ import annotations

import filecmp
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from search.runtime.errors import SearchError
from trainer.common.files import replacing
from trainer.inference.predictions import folder_problem
from trainer.inference.printable import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AUTHOR = "Retable (search)"
_FIELDS = {"png": "Software", "pdf": "Creator", "svg": "Creator"}
"""Where a format keeps the program that made the picture."""
_LARGEST = 2**28  # bytes; larger files are not read
_PAGE = re.compile(rb"<!DOCTYPE html>\s.{0,2000}?<meta name=.generator. content=.Retable \(search\).", re.DOTALL)
"""The begin of a report. A page of the user's own may mention the program elsewhere."""


class NoFolder(SearchError):
    """The file cannot be created, because its folder does not exist, is a file, or takes no files."""


class FileNotOurs(SearchError):
    """The path holds a file that Retable did not write. It was left alone."""


def check_picture(path: Path) -> None:
    """Check that a picture written to ``path`` replaces nothing but a picture of ours.

    Raises:
        FileNotOurs: a link, a folder or a file of other origin is there.
    """
    if path.is_symlink() or (path.exists() and not _is_ours(path)):
        raise FileNotOurs(
            f"{path} exists and is no picture that Retable drew, so it is left alone: move it away, or choose another "
            "name"
        )


def check_page(path: Path) -> None:
    """Check that a page written to ``path`` replaces nothing but a page of ours.

    Raises:
        FileNotOurs: a link, a folder or a file of other origin is there.
    """
    if path.is_symlink() or (path.exists() and not (_is_ours(path) and _PAGE.match(path.read_bytes()))):
        raise FileNotOurs(
            f"{path} exists and is no report that Retable wrote, so it is left alone: move it away, or name another "
            "--output"
        )


def save_picture(figure: Figure, path: Path) -> None:
    """Write a figure atomically, in the format that the ending of ``path`` names.

    Raises:
        FileNotOurs: as `check_picture`.
        OSError: the file cannot be written.
        ValueError: the ending is no known format.
    """
    check_picture(path)
    ending = path.suffix.lstrip(".").lower()
    metadata = {_FIELDS[ending]: AUTHOR} if ending in _FIELDS else None
    with replacing(path) as temporary:
        figure.savefig(temporary, format=ending, metadata=metadata)


@contextmanager
def creating(path: Path) -> Iterator[Path]:
    """Yield a temporary path for a new file, which then appears at ``path``. The same file may be there already.

    Raises:
        NoFolder: there is no folder for it; nothing was yielded.
        FileNotOurs: a file with another content is there.
        OSError: the file cannot be written.
    """
    if (problem := folder_problem(path.parent)) is not None:
        raise NoFolder(problem)
    _probe(path)
    with replacing(path) as temporary:
        yield temporary
        if os.path.lexists(path) and not (path.is_file() and filecmp.cmp(path, temporary, shallow=False)):
            raise FileNotOurs(
                f"{path} exists and holds something else, so it is left alone: move it away, or name another --output"
            )


def _probe(path: Path) -> None:
    """Check that a file can be made beside ``path``. Some folders, such as /proc, take none from any user.

    Raises:
        NoFolder: it cannot.
    """
    try:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(16)}.tmp")
        temporary.touch()
        temporary.unlink()
    except (OSError, ValueError) as error:  # a null character is a ValueError
        cause = getattr(error, "strerror", None) or error
        raise NoFolder(f"{printable(str(path))} cannot be written: {cause}; give another --output") from error


def _is_ours(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size > _LARGEST:
        return False
    content = path.read_bytes()
    # A PDF escapes the brackets.
    return AUTHOR.encode() in content or AUTHOR.replace("(", r"\(").replace(")", r"\)").encode() in content
