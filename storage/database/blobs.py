"""NumPy arrays as compressed bytes."""

from __future__ import annotations

import io
import math
import threading
import zlib

import numpy as np
import numpy.typing as npt

from storage.errors import StorageError

MAX_BYTES = 1 << 30
"""Largest array that is written or read, in bytes: the limit of one PostgreSQL value."""
_HEADER_LIMIT = 4096  # bytes; the header of an array of numbers takes 128
# NumPy parses headers with `ast`, which Python before 3.11.8 must not do in two threads at once: "AST constructor
# recursion depth mismatch" (https://github.com/python/cpython/issues/106905).
_PARSING = threading.Lock()
_NUMBER_KINDS = "biuf"  # NumPy's codes: boolean, signed and unsigned integer, floating point


def pack(array: npt.NDArray[np.generic]) -> bytes:
    """``array`` (real numbers or booleans, any shape) in NumPy's ``.npy`` format, zlib-compressed.

    Raises:
        StorageError: another dtype, or larger than `MAX_BYTES`.
    """
    if array.dtype.kind not in _NUMBER_KINDS:
        raise StorageError(f"only arrays of real numbers can be stored, not {array.dtype}")
    if array.nbytes > MAX_BYTES:
        raise StorageError(f"an array of {array.nbytes:,} bytes is too large to store; the limit is {MAX_BYTES:,}")
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array, order="C"), allow_pickle=False)
    return zlib.compress(buffer.getvalue())


def unpack(blob: bytes) -> npt.NDArray[np.generic]:
    """The array that was packed, with its dtype and shape; writable.

    Raises:
        StorageError: damaged, of another format, or larger than `MAX_BYTES` after decompression.
    """
    if not isinstance(blob, bytes):
        raise StorageError(f"a stored array is {type(blob).__name__} instead of bytes")
    decompressor = zlib.decompressobj()
    try:
        # One byte more than allowed shows that a blob is too large without decompressing all of it.
        content = decompressor.decompress(blob, MAX_BYTES + _HEADER_LIMIT + 1)
        if len(content) > MAX_BYTES + _HEADER_LIMIT or not decompressor.eof:
            raise StorageError(f"a stored array is cut off, or decompresses to more than {MAX_BYTES:,} bytes")
        return _read(content)
    except (zlib.error, ValueError, EOFError, SyntaxError, TypeError, OverflowError) as error:
        raise StorageError(f"a stored array is damaged: {error}") from error


def _read(content: bytes) -> npt.NDArray[np.generic]:
    buffer = io.BytesIO(content)
    version = np.lib.format.read_magic(buffer)
    if version != (1, 0):
        raise ValueError(f"array format {version} instead of (1, 0)")
    with _PARSING:
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(buffer, max_header_size=_HEADER_LIMIT)
    size = len(content) - buffer.tell()
    if dtype.kind not in _NUMBER_KINDS or fortran_order or size != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{size} bytes of {dtype} do not make an array of shape {shape}")
    return np.frombuffer(content, dtype=dtype, offset=buffer.tell()).reshape(shape).copy()
