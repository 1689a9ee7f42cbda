"""Near-duplicate images: copies of one image that differ in size, encoding, brightness or contrast.

Two images are near-duplicates if both conditions hold:

- Their perceptual hashes (imagehash.phash, 64 bits) differ in at most `MAX_HASH_DISTANCE` bits.
- The details of their thumbnails correlate by at least `MIN_CORRELATION`. The details are a 32 x 32 gray thumbnail
  minus its Gaussian blur.

Without the subtraction, different images of one layout (a portrait on a dark ground, a canvas on a white page, a digit
in the middle) correlate by 0.98.

Both limits were set by inspecting the pairs found. After re-encoding (JPEG quality 30), halving, or a change of
brightness, gamma or contrast, nine of ten paintings stay above 0.95 and all stay within 10 bits. Among the 553,000
pairs of 1,052 paintings of the Louvre this rule finds none, and plain correlation finds 12, most of them of different
sitters. Among the 1.6 million pairs of scikit-learn's 8 x 8 digits this rule finds 7, and plain correlation finds 804.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.data.image_set import ImageSet
from trainer.data.inspection import THUMBNAIL, InspectedImages, inspect_images
from trainer.evaluation.several_labels import same_labels

MAX_HASH_DISTANCE = 10  # bits of 64
MIN_CORRELATION = 0.95
BLUR = 2.0  # standard deviation of the Gaussian blur, thumbnail pixels
_HASH_BLOCK = 512  # hashes compared with all others at a time
_PAIR_BLOCK = 16384  # candidate pairs compared by details at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class DuplicateReport:
    """The near-duplicates among n training and m test images; image i >= n is test image i - n.

    groups: int64 (n + m,), the group of each image, numbered from 0 in order of the first image. All images of a group
        are near-duplicates of each other: if A matches B and B matches C, but A does not match C, A and C are in
        different groups.
    pairs: int64 (p, 2), all near-duplicate pairs i < j, sorted by falling correlation.
    two_labels: the pairs of training images with different labels.
    train_and_test: the pairs of a training and a test image.
    """

    groups: NDArray[np.int64]
    pairs: NDArray[np.int64]
    two_labels: tuple[tuple[int, int], ...]
    train_and_test: tuple[tuple[int, int], ...]


def find_duplicates(image_set: ImageSet) -> DuplicateReport:
    """Compare every image of a set, training and test, with every other one.

    A set that was read without verifying its images is decoded first.
    """
    n = len(image_set.train_ids)
    pairs = near_duplicate_pairs(image_set.inspected or _inspect_all(image_set))
    training = [(int(i), int(j)) for i, j in pairs if j < n]

    def one_image(i: int, j: int) -> bool:  # two rows with different labels, which the table's warnings name
        return image_set.train_ids[i] == image_set.train_ids[j]

    return DuplicateReport(
        groups=_groups(n + len(image_set.test_ids), pairs),
        pairs=pairs,
        two_labels=tuple((i, j) for i, j in training if not same_labels(image_set.y, i, j) and not one_image(i, j)),
        train_and_test=tuple((int(i), int(j)) for i, j in pairs if i < n <= j),
    )


def near_duplicate_pairs(inspected: InspectedImages) -> NDArray[np.int64]:
    """All pairs i < j of near-duplicate images, int64 (p, 2), sorted by falling correlation."""
    details = _details(inspected.thumbnails)
    found: list[NDArray[np.int64]] = []
    scores: list[NDArray[np.float32]] = []
    for first, second in _close_hashes(inspected.hashes):
        for start in range(0, len(first), _PAIR_BLOCK):
            i, j = first[start : start + _PAIR_BLOCK], second[start : start + _PAIR_BLOCK]
            correlation = np.einsum("pd,pd->p", details[i], details[j])
            similar = correlation >= MIN_CORRELATION
            found.append(np.stack([i[similar], j[similar]], axis=1))
            scores.append(correlation[similar])
    if not found:
        return np.empty((0, 2), np.int64)
    pairs = np.concatenate(found)
    return pairs[np.argsort(-np.concatenate(scores), kind="stable")]


def _inspect_all(image_set: ImageSet) -> InspectedImages:
    parts = [inspect_images(images)[0] for images in (image_set.train_images, image_set.test_images)]
    return InspectedImages.joined(parts)


def _close_hashes(hashes: NDArray[np.uint64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the index pairs i < j with close hashes, block by block: n^2 / 2 comparisons of 8 bytes for n images."""
    for start in range(0, len(hashes), _HASH_BLOCK):
        block = hashes[start : start + _HASH_BLOCK]
        distance = np.bitwise_count(block[:, None] ^ hashes[None, start:])
        i, j = np.nonzero(distance <= MAX_HASH_DISTANCE)
        upper = i < j
        yield i[upper].astype(np.int64) + start, j[upper].astype(np.int64) + start


def _details(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Thumbnails minus their blur, centred and of length 1: float32 (n, 1024).

    A thumbnail of one colour gives zeros, so it matches nothing.
    """
    gray = thumbnails.astype(np.float32)
    distance = np.arange(THUMBNAIL)[:, None] - np.arange(THUMBNAIL)[None, :]
    blur = np.exp(-0.5 * (distance / BLUR) ** 2)
    blur = (blur / blur.sum(axis=1, keepdims=True)).astype(np.float32)
    sharp = (gray - blur @ gray @ blur.T).reshape(len(gray), -1)
    sharp -= sharp.mean(axis=1, keepdims=True)
    length = np.linalg.norm(sharp, axis=1, keepdims=True)
    plain = length < 1.0  # gray levels over the whole thumbnail: only rounding is left
    return np.where(plain, np.float32(0), sharp / np.maximum(length, 1.0))


def _groups(total: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Complete-linkage clustering: join two groups, most similar pair first, if every cross pair is in ``pairs``."""
    similar = {(int(i), int(j)) for i, j in pairs}
    group_of = list(range(total))
    members = {i: [i] for i in range(total)}
    for i, j in ((int(i), int(j)) for i, j in pairs):
        a, b = group_of[i], group_of[j]
        if a == b or not all((min(x, y), max(x, y)) in similar for x in members[a] for y in members[b]):
            continue
        for moved in members.pop(b):
            group_of[moved] = a
            members[a].append(moved)
    _, numbered = np.unique([min(members[group]) for group in group_of], return_inverse=True)
    return numbered.astype(np.int64).reshape(total)
