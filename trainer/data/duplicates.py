"""Near-duplicate pictures: the same photograph or painting more than once, resized, re-encoded or toned differently.

Two pictures are alike if their perceptual hashes (imagehash.phash, 64 bits) differ in at most `MAX_HASH_DISTANCE` bits
*and* the details of their thumbnails correlate by at least `MIN_CORRELATION`. The details are what is left of a 32 x 32
gray thumbnail after its blurred self is taken away: without that, pictures of one layout (a portrait on a dark ground,
a canvas on a white page, a digit in the middle) correlate by 0.98 without being the same.

Both limits were chosen by looking at the pairs found. Re-encoding (JPEG quality 30), halving, other brightness, gamma
or contrast leave nine of ten paintings above 0.95 and all within 10 bits. Among the 553,000 pairs of 1,052 paintings
of the Louvre none is found, where plain correlation finds 12, most of them different sitters; among the 1.6 million
pairs of scikit-learn's 8 x 8 digits 7 are, where plain correlation finds 804.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.data.image_set import ImageSet
from trainer.data.inspection import THUMBNAIL, Looks, look_at

MAX_HASH_DISTANCE = 10  # bits of 64
MIN_CORRELATION = 0.95
BLUR = 2.0  # thumbnail pixels, standard deviation
_HASH_BLOCK = 512  # hashes that are compared with all others at a time
_PAIR_BLOCK = 16384  # candidate pairs whose details are compared at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class DuplicateReport:
    """What was found among n training and m test images; image i >= n is test image i - n.

    groups: int64 (n + m,), the group of each image; groups are numbered from 0 in order of their first image. Within a
        group every two images are alike: A like B and B like C does not put C with A.
    pairs: int64 (p, 2), all alike pairs (i < j), the most alike first.
    two_labels: the pairs of training images that have different labels.
    train_and_test: the pairs of a training and a test image.
    """

    groups: NDArray[np.int64]
    pairs: NDArray[np.int64]
    two_labels: tuple[tuple[int, int], ...]
    train_and_test: tuple[tuple[int, int], ...]


def find_duplicates(image_set: ImageSet) -> DuplicateReport:
    """Compare all images of a set, training and test, each with each.

    Uses what was seen when the images were verified; an unverified set is decoded for it.
    """
    n = len(image_set.train_ids)
    pairs = alike_pairs(image_set.looks or _look(image_set))
    training = [(int(i), int(j)) for i, j in pairs if j < n]
    return DuplicateReport(
        groups=_groups(n + len(image_set.test_ids), pairs),
        pairs=pairs,
        two_labels=tuple((i, j) for i, j in training if image_set.y[i] != image_set.y[j]),
        train_and_test=tuple((int(i), int(j)) for i, j in pairs if i < n <= j),
    )


def alike_pairs(looks: Looks) -> NDArray[np.int64]:
    """All pairs i < j of alike pictures, int64 (p, 2), sorted by falling correlation."""
    details = _details(looks.thumbnails)
    found: list[NDArray[np.int64]] = []
    scores: list[NDArray[np.float32]] = []
    for first, second in _close_hashes(looks.hashes):
        for start in range(0, len(first), _PAIR_BLOCK):
            i, j = first[start : start + _PAIR_BLOCK], second[start : start + _PAIR_BLOCK]
            correlation = np.einsum("pd,pd->p", details[i], details[j])
            alike = correlation >= MIN_CORRELATION
            found.append(np.stack([i[alike], j[alike]], axis=1))
            scores.append(correlation[alike])
    if not found:
        return np.empty((0, 2), np.int64)
    pairs = np.concatenate(found)
    return pairs[np.argsort(-np.concatenate(scores), kind="stable")]


def _look(image_set: ImageSet) -> Looks:
    parts = [look_at(images)[0] for images in (image_set.train_images, image_set.test_images)]
    return Looks.joined(parts)


def _close_hashes(hashes: NDArray[np.uint64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Index pairs i < j whose hashes are close, block by block: n images cost n^2 / 2 comparisons of 8 bytes."""
    for start in range(0, len(hashes), _HASH_BLOCK):
        block = hashes[start : start + _HASH_BLOCK]
        distance = np.bitwise_count(block[:, None] ^ hashes[None, start:])
        i, j = np.nonzero(distance <= MAX_HASH_DISTANCE)
        upper = i < j
        yield i[upper].astype(np.int64) + start, j[upper].astype(np.int64) + start


def _details(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Thumbnails less their blurred selves, centred and of length 1: float32 (n, 1024). Plain ones are all zero: they
    have no details by which to recognise them."""
    gray = thumbnails.astype(np.float32)
    distance = np.arange(THUMBNAIL)[:, None] - np.arange(THUMBNAIL)[None, :]
    blur = np.exp(-0.5 * (distance / BLUR) ** 2)
    blur = (blur / blur.sum(axis=1, keepdims=True)).astype(np.float32)
    sharp = (gray - blur @ gray @ blur.T).reshape(len(gray), -1)
    sharp -= sharp.mean(axis=1, keepdims=True)
    length = np.linalg.norm(sharp, axis=1, keepdims=True)
    plain = length < 1.0  # gray levels, over the whole thumbnail: nothing but rounding
    return np.where(plain, np.float32(0), sharp / np.maximum(length, 1.0))


def _groups(total: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Complete linkage: the most alike pairs first, two groups are joined if every cross pair is alike."""
    alike = {(int(i), int(j)) for i, j in pairs}
    group_of = list(range(total))
    members = {i: [i] for i in range(total)}
    for i, j in ((int(i), int(j)) for i, j in pairs):
        a, b = group_of[i], group_of[j]
        if a == b or not all((min(x, y), max(x, y)) in alike for x in members[a] for y in members[b]):
            continue
        for moved in members.pop(b):
            group_of[moved] = a
            members[a].append(moved)
    _, numbered = np.unique([min(members[group]) for group in group_of], return_inverse=True)
    return numbered.astype(np.int64).reshape(total)
