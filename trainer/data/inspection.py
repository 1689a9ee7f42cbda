"""What every picture is looked at once for: whether it decodes, how large it is, and what it looks like when small."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainer.common.environment import usable_cores
from trainer.data.images import Images
from trainer.inference.images import ImageError

Made = TypeVar("Made")

THUMBNAIL = 32  # pixels, side of the thumbnail; also what the perceptual hash works on
Progress = Callable[[int, int], None]
"""Called from the caller's thread with (pictures done, pictures in all)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Looks:
    """What n pictures look like, as seen when they were decoded for the check.

    hashes: uint64 (n,), perceptual hashes (imagehash.phash, 64 bits).
    thumbnails: uint8 (n, 32, 32), gray.
    sizes: int64 (n, 2), height and width in pixels; zero where the picture could not be decoded.
    """

    hashes: NDArray[np.uint64]
    thumbnails: NDArray[np.uint8]
    sizes: NDArray[np.int64]

    @staticmethod
    def joined(parts: Sequence[Looks]) -> Looks:
        """The looks of several sequences of pictures, one after the other."""
        return Looks(
            hashes=np.concatenate([part.hashes for part in parts]),
            thumbnails=np.concatenate([part.thumbnails for part in parts]),
            sizes=np.concatenate([part.sizes for part in parts]),
        )

    def subset(self, indices: NDArray[np.int64]) -> Looks:
        return Looks(hashes=self.hashes[indices], thumbnails=self.thumbnails[indices], sizes=self.sizes[indices])


def look_at(images: Images, progress: Progress | None = None) -> tuple[Looks, dict[int, str]]:
    """Decode every picture once, on all cores (Pillow releases the interpreter lock while it decodes).

    Returns:
        The looks of all pictures, and for each picture that cannot be used its index and one sentence that names it
        and the cause.
    """
    total = len(images)
    hashes = np.zeros(total, np.uint64)
    thumbnails = np.zeros((total, THUMBNAIL, THUMBNAIL), np.uint8)
    sizes = np.zeros((total, 2), np.int64)

    def look(picture: NDArray[np.uint8]) -> tuple[np.uint64, NDArray[np.uint8], tuple[int, ...]]:
        return *signature(picture), picture.shape[:2]

    bad: dict[int, str] = {}
    for index, seen in enumerate(each_picture(images, look, progress)):
        if isinstance(seen, str):
            bad[index] = seen
        else:
            hashes[index], thumbnails[index], sizes[index] = seen
    return Looks(hashes=hashes, thumbnails=thumbnails, sizes=sizes), bad


def each_picture(
    images: Images, use: Callable[[NDArray[np.uint8]], Made], progress: Progress | None = None
) -> Iterator[Made | str]:
    """What ``use`` makes of every picture, in order; of one that cannot be read, one sentence that names it and why.

    Args:
        use: called with pictures, uint8 (height, width, 3), on several threads at a time; makes no texts.
    """

    def one(index: int) -> Made | str:
        try:
            return use(images.read(index))
        except ImageError as error:
            return f"{images.name(index)}: {error}"

    with ThreadPoolExecutor(usable_cores()) as pool:
        for done, made in enumerate(pool.map(one, range(len(images))), 1):
            yield made
            if progress is not None:
                progress(done, len(images))


def signature(picture: NDArray[np.uint8]) -> tuple[np.uint64, NDArray[np.uint8]]:
    """Perceptual hash and gray thumbnail, uint8 (32, 32), of a picture, uint8 (height, width, 3)."""
    import imagehash

    small = Image.fromarray(picture).convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    # phash shrinks to 32 x 32 in just this way before its cosine transform, so it is given the thumbnail.
    bits = imagehash.phash(small).hash
    return np.packbits(bits).view(">u8")[0].astype(np.uint64), np.asarray(small, np.uint8)
