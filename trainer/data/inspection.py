"""Decode every image of a data set once: collect errors, sizes, thumbnails and perceptual hashes."""

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
from trainer.inference.errors import ImageError

Result = TypeVar("Result")

THUMBNAIL = 32  # pixels, side of the thumbnail; imagehash.phash works on the same size
Progress = Callable[[int, int], None]
"""Called with (images done, images in all), on the thread that started the work."""


@dataclass(frozen=True, kw_only=True, eq=False)
class InspectedImages:
    """Perceptual hashes, thumbnails and sizes of n images.

    An image that cannot be decoded has zeros in all three arrays.

    hashes: uint64 (n,), perceptual hashes (imagehash.phash, 64 bits).
    thumbnails: uint8 (n, 32, 32), gray.
    sizes: int64 (n, 2), height and width in pixels.
    """

    hashes: NDArray[np.uint64]
    thumbnails: NDArray[np.uint8]
    sizes: NDArray[np.int64]

    @staticmethod
    def joined(parts: Sequence[InspectedImages]) -> InspectedImages:
        """Concatenate the results for several sequences of images."""
        return InspectedImages(
            hashes=np.concatenate([part.hashes for part in parts]),
            thumbnails=np.concatenate([part.thumbnails for part in parts]),
            sizes=np.concatenate([part.sizes for part in parts]),
        )

    def subset(self, indices: NDArray[np.int64]) -> InspectedImages:
        """The results for the images at ``indices``, in that order."""
        return InspectedImages(
            hashes=self.hashes[indices], thumbnails=self.thumbnails[indices], sizes=self.sizes[indices]
        )


def inspect_images(images: Images, progress: Progress | None = None) -> tuple[InspectedImages, dict[int, str]]:
    """Decode every image once, on all cores (Pillow releases the interpreter lock while it decodes).

    Returns:
        The results for all images. Then, by index, one sentence for each image that cannot be used: it names the image
        and the cause.
    """
    total = len(images)
    hashes = np.zeros(total, np.uint64)
    thumbnails = np.zeros((total, THUMBNAIL, THUMBNAIL), np.uint8)
    sizes = np.zeros((total, 2), np.int64)

    def inspect(image: NDArray[np.uint8]) -> tuple[np.uint64, NDArray[np.uint8], tuple[int, ...]]:
        return *hash_and_thumbnail(image), image.shape[:2]

    bad: dict[int, str] = {}
    for index, result in enumerate(decode_each(images, inspect, progress)):
        if isinstance(result, str):
            bad[index] = result
        else:
            hashes[index], thumbnails[index], sizes[index] = result
    return InspectedImages(hashes=hashes, thumbnails=thumbnails, sizes=sizes), bad


def decode_each(
    images: Images, function: Callable[[NDArray[np.uint8]], Result], progress: Progress | None = None
) -> Iterator[Result | str]:
    """Decode every image on all cores and yield ``function(image)``, in order.

    For an image that cannot be read, yield one sentence (a string) that names the image and the cause.

    Args:
        function: called with an image, uint8 (height, width, 3), on several threads at a time. It must not return a
            string.
    """

    def apply(index: int) -> Result | str:
        try:
            return function(images.read(index))
        except ImageError as error:
            return f"{images.name(index)}: {error}"

    with ThreadPoolExecutor(usable_cores()) as pool:
        for done, result in enumerate(pool.map(apply, range(len(images))), 1):
            yield result
            if progress is not None:
                progress(done, len(images))


def hash_and_thumbnail(image: NDArray[np.uint8]) -> tuple[np.uint64, NDArray[np.uint8]]:
    """Perceptual hash and gray thumbnail, uint8 (32, 32), of an image, uint8 (height, width, 3)."""
    import imagehash

    small = Image.fromarray(image).convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    # phash begins with the same resizing to 32 x 32, so the thumbnail saves it the large image.
    bits = imagehash.phash(small).hash
    return np.packbits(bits).view(">u8")[0].astype(np.uint64), np.asarray(small, np.uint8)
