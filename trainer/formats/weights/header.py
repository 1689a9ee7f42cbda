"""The header of a safetensors file: JSON that says where each tensor lies, after eight bytes with its length."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LONGEST = 100_000_000  # bytes, as in safetensors itself


@dataclass(frozen=True, kw_only=True)
class Header:
    """The header of a safetensors file, which may be truncated."""

    length: int
    """Bytes of the JSON."""
    tensors: Mapping[str, Any]
    """Content of the JSON as it was read, unchecked; empty if the file ends before it does."""

    @property
    def whole_file(self) -> int | None:
        """Bytes of the whole file; None: the content is not that of a header."""
        try:
            ends = [tensor["data_offsets"][1] for name, tensor in self.tensors.items() if name != "__metadata__"]
            return 8 + self.length + max(ends, default=0)
        except (TypeError, KeyError, IndexError):
            return None


def read_header(file: Path) -> Header | None:
    """Read the header of a file; None: it has none.

    Raises:
        OSError: the file cannot be read.
    """
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if not 2 <= length <= _LONGEST:
            return None
        content = opened.read(length)
    if len(content) < length:
        return Header(length=length, tensors={}) if content.startswith(b'{"') else None
    try:
        tensors = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return Header(length=length, tensors=tensors) if isinstance(tensors, dict) else None
