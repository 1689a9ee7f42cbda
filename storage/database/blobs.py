"""Arrays as compressed bytes for the database."""

from __future__ import annotations

import io
import math
import zlib

import numpy as np
import numpy.typing as npt

from storage.errors import StorageError

MAX_BYTES = 1 << 30
"""Largest array that is stored or read back, in bytes: what one PostgreSQL value can hold."""


def pack(array: npt.NDArray[np.generic]) -> bytes:
    """``array`` (numbers or booleans, any shape) in NumPy's own format, zlib-compressed.

    Raises:
        StorageError: not numbers, or larger than `MAX_BYTES`.
    """
    if array.dtype.kind not in "biuf":
        raise StorageError(f"only arrays of numbers are stored, not {array.dtype}")
    if array.nbytes > MAX_BYTES:
        raise StorageError(f"an array of {array.nbytes:,} bytes is too large to store; the limit is {MAX_BYTES:,}")
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array, order="C"), allow_pickle=False)
    return zlib.compress(buffer.getvalue())


def unpack(blob: bytes) -> npt.NDArray[np.generic]:
    """The array that `pack` made ``blob`` from, same dtype and shape, writable.

    Raises:
        StorageError: damaged, of another format, or larger than `MAX_BYTES` once decompressed.
    """
    decompressor = zlib.decompressobj()
    try:
        # One byte more than allowed, so that a blob that unfolds further is noticed without unfolding it.
        content = decompressor.decompress(blob, MAX_BYTES + _HEADER_ROOM + 1)
        if len(content) > MAX_BYTES + _HEADER_ROOM or not decompressor.eof:
            raise StorageError(f"a stored array is cut off or unfolds to more than {MAX_BYTES:,} bytes")
        return _read(content)
    except (zlib.error, ValueError, EOFError) as error:
        raise StorageError(f"a stored array is damaged: {error}") from error


_HEADER_ROOM = 4096  # bytes; the header of an array of numbers takes 128


def _read(content: bytes) -> npt.NDArray[np.generic]:
    buffer = io.BytesIO(content)
    version = np.lib.format.read_magic(buffer)
    if version != (1, 0):
        raise ValueError(f"array format {version} instead of (1, 0)")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(buffer, max_header_size=_HEADER_ROOM)
    expected = math.prod(shape) * dtype.itemsize
    if dtype.kind not in "biuf" or fortran_order or len(content) - buffer.tell() != expected:
        raise ValueError(f"{len(content) - buffer.tell()} bytes of {dtype} do not make an array of shape {shape}")
    return np.frombuffer(content, dtype=dtype, offset=buffer.tell()).reshape(shape).copy()
