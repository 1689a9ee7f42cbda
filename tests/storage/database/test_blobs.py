"""Packing arrays: exact round trips, and damaged or dangerous content is refused."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from storage.database import blobs
from storage.database.blobs import pack, unpack
from storage.errors import StorageError

ARRAYS = hnp.arrays(
    dtype=st.sampled_from([np.float16, np.float32, np.float64, np.int64, np.uint8, np.bool_]),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=7),
)


@given(ARRAYS)
def test_an_array_survives_packing(array: np.ndarray) -> None:
    restored = unpack(pack(array))
    assert (restored.dtype, restored.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(restored, array)
    assert restored.flags.writeable


def test_transposed_and_strided_arrays_survive_packing() -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 6).T[::2]
    np.testing.assert_array_equal(unpack(pack(array)), array)


@given(ARRAYS, st.data())
def test_a_truncated_blob_is_refused(array: np.ndarray, data: st.DataObject) -> None:
    blob = pack(array)
    cut = data.draw(st.integers(0, len(blob) - 1))
    with pytest.raises(StorageError):
        unpack(blob[:cut])


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([{}], dtype=object), np.array([1j])])
def test_dtypes_other_than_real_numbers_are_refused(array: np.ndarray) -> None:
    with pytest.raises(StorageError, match="numbers"):
        pack(array)


def test_pickled_content_is_refused() -> None:
    header = b"\x93NUMPY\x01\x00\x46\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    with pytest.raises(StorageError, match="damaged"):
        unpack(zlib.compress(header.ljust(80) + b"\x80\x04N."))


def test_a_blob_that_decompresses_to_more_than_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = pack(np.zeros(100_000, np.uint8))
    monkeypatch.setattr(blobs, "MAX_BYTES", 50_000)
    with pytest.raises(StorageError, match="more than 50,000"):
        unpack(bomb)
    with pytest.raises(StorageError, match="too large"):
        pack(np.zeros(50_001, np.uint8))


def test_content_of_the_wrong_size_is_refused() -> None:
    content = zlib.decompress(pack(np.arange(4)))
    with pytest.raises(StorageError, match="damaged"):
        unpack(zlib.compress(content[:-8]))
    with pytest.raises(StorageError, match="damaged"):
        unpack(zlib.compress(content + b"\0" * 8))
