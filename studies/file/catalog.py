"""Find a study file: one that ships with Retable by name, any other by path."""

from __future__ import annotations

import importlib.resources
import os
import re
import tomllib
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path

from studies.errors import StudyError
from trainer.common.errors import suggest

MAX_FILE_BYTES = 256 * 1024
"""Larger files are refused: a study file is written by hand."""

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Valid names of a study, which names a folder and a row of the database."""


@dataclass(frozen=True, kw_only=True)
class StudyFile:
    """The text of one study file. ``name`` is the stem of its file name, ``label`` its name in messages."""

    name: str
    label: str
    text: str


def bundled_studies() -> dict[str, str]:
    """Name -> title of the studies that ship with Retable, in alphabetical order."""
    return {
        name: str(tomllib.loads(_bundled_file(name).read_text(encoding="utf-8"))["title"]) for name in _bundled_names()
    }


def find_study(name_or_path: str | Path) -> StudyFile:
    """Read a study file: a path ends in ``.toml`` or contains a slash, anything else is the name of a bundled study.

    Raises:
        StudyError: no such study (with the nearest names), or the file is too large or not UTF-8.
    """
    given = os.fspath(name_or_path)
    if given.endswith(".toml") or "/" in given or os.sep in given:
        return _read_own(Path(given))
    names = _bundled_names()
    if given in names:
        text = _bundled_file(given).read_text(encoding="utf-8")
        return StudyFile(name=given, label=f"{given}.toml", text=text)
    beside = Path(f"{given}.toml")
    if NAME_PATTERN.fullmatch(given) and beside.is_file():
        raise StudyError(f"there is no study {given!r}, but a file {beside} here: give its path, ./{beside}")
    raise StudyError(f"there is no study {given!r}{suggest(given, names)} (a file of your own is given by its path)")


def is_study_file(given: str) -> bool:
    """Whether `find_study` takes this for a path or the name of a bundled study, not for that of a stored study."""
    return given.endswith(".toml") or "/" in given or os.sep in given or is_bundled(given)


def is_bundled(given: str) -> bool:
    """Whether this is the name of a bundled study."""
    return given in _bundled_names()


def check_name(name: str) -> str:
    """Return ``name`` if it is a valid name of a stored study.

    Raises:
        StudyError: it is not; see `NAME_PATTERN`.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise StudyError(
            f"a study cannot be called {name!r}: use up to 64 ASCII letters, digits, dots, dashes and underscores, "
            "beginning with a letter or digit (--name gives it another name than its file's)"
        )
    return name


def _read_own(path: Path) -> StudyFile:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        near = suggest(path.name.removesuffix(".toml"), _bundled_names())
        raise StudyError(f"the study file {path} {what}; the studies that ship with Retable are given by name{near}")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise StudyError(f"the study file {path} cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise StudyError(f"{path} is larger than {MAX_FILE_BYTES // 1024} KiB, the limit of a study file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise StudyError(f"{path}, line {line}: not UTF-8 text, which TOML must be") from error
    # `decode` does not change line ends; TOML allows both LF and CRLF.
    return StudyFile(name=path.stem, label=str(path), text=text)


def _bundled_names() -> list[str]:
    files = importlib.resources.files("studies.shipped").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def _bundled_file(name: str) -> Traversable:
    return importlib.resources.files("studies.shipped") / f"{name}.toml"
