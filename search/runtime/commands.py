"""Commands in messages, completed so that they can be copied: with the database and the home that the user named."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from storage.database.urls import without_passwords

_BOTH = (
    "start worker status stop confirm compare report labels export-best probe preview replay dashboard pretrain single"
    " check"
)
_STORAGE_ONLY = "studies pause resume try retry folds import submissions"
# The first ones have both options.
TAKE_STORAGE = frozenset(f"{_BOTH} {_STORAGE_ONLY}".split())
"""Commands with the option ``--storage``."""
TAKE_HOME = frozenset(f"{_BOTH} backbones".split())
"""Commands with the option ``--home``."""

_TAKE = {"--storage": TAKE_STORAGE, "--home": TAKE_HOME}
_COMMAND = re.compile(r"`search (?P<name>[a-z-]+)[^`\n]*(?P<end>`)")
_options: dict[str, str] = {}


def remember_storage(url: str, default: str) -> None:
    """Complete commands from now on by this URL, unless they take it anyway or it holds a password."""
    known = url in (default, os.environ.get("RETABLE_STORAGE"))
    _remember("--storage", None if known or without_passwords(url) != url else url)


def remember_home(home: Path, default: Path) -> None:
    """Complete commands from now on by this home folder, unless they take it anyway."""
    known = home == default or str(home) == os.environ.get("RETABLE_HOME")
    _remember("--home", None if known else str(home))


def _remember(option: str, value: str | None) -> None:
    _options.pop(option, None)
    if value is not None:
        _options[option] = value


def completed(command: str) -> str:
    """A command without backticks, with the options that it needs; quoted for the shell."""
    words = command.split(" ")
    return command + (_missing(words[1], command) if len(words) > 1 and words[0] == "search" else "")


def _missing(name: str, command: str) -> str:
    """The options that a command needs and lacks, to append to it."""
    return "".join(
        f" {option} {shlex.quote(value)}"
        for option, value in _options.items()
        if name in _TAKE[option] and option not in command
    )


def insertions(text: str) -> list[tuple[int, str]]:
    """Where a text with commands in backticks needs which options, from its end to its beginning."""
    if not _options:
        return []
    found = [(match.start("end"), _missing(match["name"], match[0])) for match in _COMMAND.finditer(text)]
    return [(place, options) for place, options in reversed(found) if options]


def complete(text: str) -> str:
    """A text whose commands in backticks have the options that they need."""
    for place, options in insertions(text):
        text = text[:place] + options + text[place:]
    return text
