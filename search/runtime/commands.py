"""Commands in messages, completed so that they can be copied: with the database that the user named."""

from __future__ import annotations

import os
import re
import shlex

from storage.database.urls import without_passwords

_NAMES = (
    "start preview studies worker status pause resume stop try retry folds confirm compare export-best import replay",
    "probe submissions dashboard",
)
TAKE_STORAGE = frozenset(name for line in _NAMES for name in line.split())
"""Commands with the option ``--storage``."""

_COMMAND = re.compile(r"`search (?P<name>[a-z-]+)[^`\n]*(?P<end>`)")
_options: list[str] = []


def remember_storage(url: str, default: str) -> None:
    """Complete commands from now on by this URL, unless they take it anyway or it holds a password."""
    known = url in (default, os.environ.get("RETABLE_STORAGE"))
    _options[:] = [] if known or without_passwords(url) != url else ["--storage", url]


def completed(command: str) -> str:
    """A command without backticks, with the options that it needs; quoted for the shell."""
    words = command.split(" ")
    takes = len(words) > 1 and words[0] == "search" and words[1] in TAKE_STORAGE and "--storage" not in words
    return f"{command} {shlex.join(_options)}" if takes and _options else command


def insertions(text: str) -> list[tuple[int, str]]:
    """Where a text with commands in backticks needs which options, from its end to its beginning."""
    if not _options:
        return []
    found = [match for match in _COMMAND.finditer(text) if match["name"] in TAKE_STORAGE]
    return [
        (match.start("end"), f" {shlex.join(_options)}") for match in reversed(found) if "--storage" not in match[0]
    ]


def complete(text: str) -> str:
    """A text whose commands in backticks have the options that they need."""
    for place, options in insertions(text):
        text = text[:place] + options + text[place:]
    return text
