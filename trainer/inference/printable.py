"""Make text from outside safe and short enough to print, and say which names cannot be used."""

from __future__ import annotations

import codecs
import os
import sys
import unicodedata

EXCERPT = 200  # characters
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # control characters, lone surrogates, line and paragraph separators
# Marks that reverse the direction of the text after them: "\u202egpj.exe" is shown as "exe.jpg".
_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str, keep: str = "") -> str:
    """The text with escapes for characters that change the terminal or cannot be encoded.

    These are control characters, lone surrogates, line separators and marks of the writing direction. A byte of a file
    name that is not UTF-8 becomes ``\\x8e``; Python holds it as a surrogate.

    Args:
        keep: characters that stay as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(c) if _is_unprintable(c) and c not in keep else c for c in text)


def excerpt(text: str, most: int = EXCERPT) -> str:
    """The text if it has at most ``most`` characters, else its beginning, its end and the number of the others."""
    if len(text) <= most:
        return text
    end = most // 4
    return f"{text[: most - end]} … ({len(text) - most:,} characters left out) … {text[len(text) - end :]}"


def cause_of(error: BaseException) -> str:
    """The message of another library's error, in one line for a message of ours; the type if it has none."""
    return excerpt(printable(" ".join(str(error).split())), 2 * EXCERPT) or type(error).__name__


def name_problem(name: str) -> str | None:
    """Why a file name cannot be an id, as the end of a sentence; None if it can."""
    if any("\ud800" <= character <= "\udfff" for character in name):
        if codecs.lookup(sys.getfilesystemencoding()).name != "utf-8" and _is_utf_8(name):
            return "cannot be read, because the locale is not UTF-8: set LC_ALL=C.UTF-8 or PYTHONUTF8=1"
        return (
            "is not UTF-8: rename it (`convmv` renames many), or unpack its archive again with `unzip -O cp932` "
            "(Japanese; gb18030 for Chinese, cp1256 for Arabic)"
        )
    if any(unicodedata.category(character) in _UNPRINTABLE for character in name):
        return "holds a control character: rename it"
    return None


def _is_utf_8(name: str) -> bool:
    """Whether the bytes of a file name, which Python decoded in another encoding, are UTF-8."""
    try:
        os.fsencode(name).decode("utf-8")
    except UnicodeError:
        return False
    return True


def _is_unprintable(character: str) -> bool:
    return character in _DIRECTION or unicodedata.category(character) in _UNPRINTABLE


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
