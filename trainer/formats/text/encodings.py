"""Bytes of a text file, and their encoding: UTF-8, UTF-16 or UTF-32 with a byte order mark, or a named one."""

from __future__ import annotations

from pathlib import Path

from trainer.common.errors import DataError
from trainer.inference.file_kinds import HEAD, kind_of_bytes

UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_UTF_32 = (b"\xff\xfe\0\0", b"\0\0\xfe\xff")
_NO_TABLES = {
    "a Git LFS pointer": "run `git lfs pull` to fetch the table",
    "an HTML page": "perhaps the error page of a download: download it again",
}
"""Kinds of text files that stand where a table was expected, and what to do."""
UTF_8 = "utf-8"
_OTHER_ENCODINGS = ("cp1252", "cp932", "euc_jp", "gb18030", "big5", "cp949", "cp1251", "cp1256")
"""Excel's in Western Europe and Japan, Unix's in Japan; Excel's in China, Taiwan and Korea, for Cyrillic and Arabic."""
_SHOWN_READINGS = 4


def bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror or error}") from error


def decoded(path: Path, data: bytes, encoding: str | None) -> tuple[str, str]:
    """The text of a file, without a byte order mark, and the name of its encoding."""
    kind = kind_of_bytes(data[:HEAD])
    if kind is not None and kind.name in _NO_TABLES:
        raise DataError(f"{path.name} is not a table but {kind.name}: {_NO_TABLES[kind.name]}")
    for marks, name in ((_UTF_32, "utf-32"), (UTF_16, "utf-16")):
        if data.startswith(marks):
            try:
                return data.decode(name), name
            except UnicodeDecodeError as error:
                raise DataError(f"{path.name} is cut off or no {name.upper()} text; save it as CSV in UTF-8") from error
    if b"\0" not in data:
        try:
            return data.decode("utf-8-sig"), UTF_8
        except UnicodeDecodeError as error:
            start = error.start
        if encoding in (None, UTF_8):
            raise DataError(_not_utf_8(path, data, start, may_be_named=encoding is None))
    elif encoding in (None, UTF_8):
        raise DataError(
            f"{path.name} is not a text table but a binary file, or UTF-16 text without a byte order mark; save it as "
            "CSV in UTF-8"
        )
    assert encoding is not None
    try:
        text = data.decode(encoding)
        if len(text) == len(data):  # one byte for each character
            _refuse_mixture(path, data, encoding)
        return text, encoding
    except LookupError as error:
        raise DataError(f"there is no encoding {encoding!r}; usual ones are cp1252, cp932, utf-16-le") from error
    except UnicodeError as error:
        raise DataError(f"{path.name} is neither UTF-8 nor {encoding} text; save it as CSV in UTF-8") from error


def _refuse_mixture(path: Path, data: bytes, encoding: str) -> None:
    """Raise a DataError if a row is UTF-8 text, though the table is not: its letters would become several signs."""
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.isascii():
            continue
        try:
            read = line.decode().strip()
        except UnicodeDecodeError:
            continue
        raise DataError(
            f"{path.name} row {number} is UTF-8 text ({read[:60]!r}), but other rows are not: as {encoding} it would "
            f"be {line.decode(encoding).strip()[:60]!r}. Save the table as CSV in UTF-8"
        )


def _not_utf_8(path: Path, data: bytes, start: int, *, may_be_named: bool) -> str:
    """Message for a file whose byte at ``start`` is not UTF-8, with the readings of other encodings.

    Args:
        may_be_named: whether ``--encoding`` applies to the file.
    """
    line = data[data.rfind(b"\n", 0, start) + 1 :].split(b"\n", 1)[0].rstrip(b"\r")
    by_encoding: dict[str, str] = {}
    for encoding in _OTHER_ENCODINGS:
        try:
            by_encoding[encoding] = line.decode(encoding)
        except UnicodeDecodeError:
            continue
    likely = sorted(by_encoding, key=lambda encoding: -_share_of_letters(by_encoding[encoding]))[:_SHOWN_READINGS]
    readings = [f"{encoding} reads it as {by_encoding[encoding][:60]!r}" for encoding in likely]
    row = data.count(b"\n", 0, start) + 1
    advice = "Save the table as CSV in UTF-8"
    if may_be_named:
        advice = "Add --encoding NAME if one of these is right, or save the table as CSV in UTF-8"
    return f"{path.name} row {row} is not UTF-8 text{''.join(f'; {reading}' for reading in readings)}. {advice}"


def _share_of_letters(text: str) -> float:
    """Share of letters among the characters beyond ASCII; a wrong encoding also gives signs."""
    others = [character for character in text if not character.isascii()]
    return sum(map(str.isalpha, others)) / len(others) if others else 1.0
