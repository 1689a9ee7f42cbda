"""Images in arrays: load an ``.npz`` or ``.npy`` file, whose header is checked before memory is allocated, and convert
an image.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .errors import ImageError, ModelError
from .images import MAX_PIXELS
from .resources import available_memory, size_text

KEY = "arr_0"
"""The key of an ``.npz`` file that was written without names."""


class ArrayError(ModelError):
    """An array cannot be used. The message is the cause alone, without the name of the file."""


def load_array(path: Path, key: str | None = KEY) -> NDArray[Any]:
    """Load an array of a plain type (numbers or strings). Nothing is unpickled.

    Args:
        key: in an ``.npz`` file; None: of an ``.npy`` file.

    Raises:
        ArrayError: not such a file, another key, pickled objects, an impossible size, more than the memory that is
            free, or data that are cut off.
    """
    size = 0
    array: NDArray[Any]
    try:
        if key is None:
            with path.open("rb") as stored:
                size = _checked_size(stored, path.stat().st_size, "it")
            array = np.load(path, allow_pickle=False)
        else:
            with zipfile.ZipFile(path) as archive, _member(archive, key) as file:
                size = _checked_size(file, archive.getinfo(f"{key}.npy").file_size, key)
            with np.load(path, allow_pickle=False) as arrays:
                array = arrays[key]
    except ArrayError:
        raise
    except MemoryError as error:
        raise ArrayError(_too_large(size, key or "it")) from error
    except (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        kind = "an .npy file" if key is None else f"an .npz file (with the key {key})"
        raise ArrayError(f"is damaged, cut off or not {kind}: {error}") from error
    return array


def load_images(path: Path, key: str | None = KEY) -> NDArray[Any]:
    """Load an array of images: (n, height, width) or (n, height, width, 1 or 3). Axes are moved if needed.

    Args:
        key: as in `load_array`.

    Raises:
        ArrayError: as `load_array`; another shape, another type, or floats in 0..1.
    """
    array, name = load_array(path, key), key or "it"
    if array.dtype.kind not in "uif":
        raise ArrayError(f"{name} is of type {array.dtype}; images are numbers 0..255")
    if array.ndim == 4 and array.shape[1] in (1, 3) and array.shape[3] not in (1, 3):
        array = np.moveaxis(array, 1, 3)
    gray, color = array.ndim == 3 and array.shape[2] not in (1, 3), array.ndim == 4 and array.shape[3] in (1, 3)
    if not (gray or color) or 0 in array.shape:
        raise ArrayError(
            f"{name} has the shape {array.shape}; images are (n, height, width), (n, height, width, 1 or 3) or "
            "(n, 1 or 3, height, width), with n = 1 for a single image"
        )
    if array.shape[1] * array.shape[2] > MAX_PIXELS:
        raise ArrayError(
            f"{name} has images of {array.shape[1]} x {array.shape[2]} pixels; at most {MAX_PIXELS:,} are read"
        )
    if array.dtype.kind == "f" and np.nanmin(array) >= 0 and 0 < np.nanmax(array) <= 1:
        raise ArrayError(
            f"{name} holds {np.nanmin(array):g} to {np.nanmax(array):g}, but pixels are 0..255: multiply it by 255"
        )
    return array


def array_image(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert one image of an array, (h, w), (h, w, 1) or (h, w, 3), to RGB: uint8 (h, w, 3).

    Values are in 0..255; floats are rounded.

    Raises:
        ImageError: another shape or type, or values that are not finite or outside of 0..255.
    """
    gray = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1)
    if not gray and not (array.ndim == 3 and array.shape[2] == 3):
        raise ImageError(f"an image has the shape (height, width), (…, 1) or (…, 3), not {array.shape}")
    if array.dtype.kind not in "uif" or not array.size:
        raise ImageError(f"the image has {array.size} values of type {array.dtype}; pixels are numbers 0..255")
    if array.dtype != np.uint8:
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 255):
            raise ImageError("the image holds values that are not finite or lie outside 0..255")
        array = np.rint(array).astype(np.uint8)
    pixels = array.reshape(*array.shape[:2], -1)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*array.shape[:2], 3)), dtype=np.uint8)


def _member(archive: zipfile.ZipFile, key: str) -> IO[bytes]:
    """The ``.npy`` file of a key."""
    keys = [name.removesuffix(".npy") for name in archive.namelist()]
    if key not in keys:
        raise ArrayError(f"has no key {key!r}; its keys are {', '.join(map(repr, keys[:12])) or 'none'}")
    return archive.open(f"{key}.npy")


def _checked_size(file: IO[bytes], stored: int, name: str) -> int:
    """Bytes of the array by the header of an ``.npy`` file.

    Args:
        stored: bytes of the file.
        name: of the array, for messages.
    """
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    stored -= file.tell()
    if dtype.hasobject:
        raise ArrayError(
            f"{name} holds pickled Python objects, which could run code and are never loaded; save it as a plain array "
            "(numbers or strings of one shape)"
        )
    size = math.prod(shape) * dtype.itemsize
    if any(side < 0 for side in shape) or size != stored:
        raise ArrayError(f"{name} claims the shape {shape} of {dtype}, {size:,} bytes, but holds {stored:,}")
    room = available_memory()
    if room is not None and size > room:
        raise ArrayError(f"{_too_large(size, name)}; {size_text(room)} are free")
    return size


def _too_large(size: int, name: str) -> str:
    return (
        f"{name} takes {size_text(size)} of memory, more than there is: save it as uint8 or in smaller images, or use "
        "a machine with more memory"
    )
