"""An image set under coarser labels, without its test images, and with each image as a class of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.trainer.images import save
from trainer.common.errors import DataError
from trainer.data.image_set import ImageSet
from trainer.data.read import read_images

CLASSES = ("ink", "oil", "photo", "video")


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    for number, name in enumerate(CLASSES):
        for i in range(number + 1):
            save(tmp_path / "train" / name / f"{i}.png", seed=10 * number + i)
    for i in range(2):
        save(tmp_path / "test" / f"t{i}.png", seed=100 + i)
    found = read_images(tmp_path)
    assert (len(found.y), len(found.test_ids), found.class_names) == (10, 2, CLASSES)
    return found


def test_classes_are_joined_and_left_out(images: ImageSet) -> None:
    coarse = images.relabelled({"ink": "painting", "oil": "painting", "photo": "camera", "video": ""})
    assert coarse.class_names == ("camera", "painting")
    assert coarse.class_counts().tolist() == [3, 3]
    assert (coarse.test_ids, len(coarse.test_images), coarse.submission) == ((), 0, None)
    assert coarse.inspected is not None and len(coarse.inspected.hashes) == len(coarse.train_images) == 6
    kept = [i for i, y in enumerate(images.y) if images.class_names[y] != "video"]
    assert coarse.train_ids == tuple(images.train_ids[i] for i in kept)
    for new, old in enumerate(kept):
        assert np.array_equal(coarse.train_images.read(new), images.train_images.read(old))
        assert coarse.class_names[coarse.y[new]] == (
            "camera" if images.class_names[images.y[old]] == "photo" else "painting"
        )


def test_the_fingerprint_is_that_of_other_data(images: ImageSet) -> None:
    plain = {name: name for name in CLASSES}
    same, other = images.relabelled(plain), images.relabelled({**plain, "ink": "oil"})
    assert len({images.fingerprint, same.fingerprint, other.fingerprint}) == 3
    alone = images.without_test_images()
    assert alone.fingerprint == same.fingerprint
    assert alone.without_test_images() is alone


def test_one_class_is_not_enough(images: ImageSet) -> None:
    with pytest.raises(DataError, match="1 class would be left"):
        images.relabelled({"ink": "", "oil": "", "photo": "", "video": "moving"})


@pytest.fixture
def sets(images: ImageSet) -> ImageSet:
    """The images with several of the labels, or none."""
    y = np.array(
        [[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 1], [0, 0, 0, 0]] + 4 * [[0, 0, 1, 0]]
    )
    return replace(images, y=y)


def test_of_several_labels_an_image_has_every_coarser_one(sets: ImageSet) -> None:
    coarse = sets.relabelled({"ink": "painting", "oil": "painting", "photo": "camera", "video": "camera"})
    assert coarse.class_names == ("camera", "painting")
    assert coarse.y.tolist() == [[0, 1]] * 3 + [[1, 0]] * 2 + [[0, 0]] + [[1, 0]] * 4
    assert coarse.train_ids == sets.train_ids and coarse.test_ids == ()
    same = sets.relabelled({name: name for name in CLASSES})
    assert same.y.tolist() == sets.y.tolist() and same.fingerprint == sets.without_test_images().fingerprint


def test_an_image_is_left_out_with_all_its_labels_but_not_without_any(sets: ImageSet) -> None:
    coarse = sets.relabelled({"ink": "ink", "oil": "oil", "photo": "photo", "video": ""})
    kept = [row for row in range(10) if row != 3]
    assert coarse.train_ids == tuple(sets.train_ids[row] for row in kept)
    assert coarse.y.tolist() == sets.y[kept, :3].tolist()
    assert np.array_equal(coarse.train_images.read(3), sets.train_images.read(4))


def test_coarser_labels_that_all_images_share_teach_nothing(sets: ImageSet) -> None:
    everywhere = replace(sets, y=np.concatenate([np.ones((10, 2), np.int64), sets.y[:, 2:]], axis=1))
    with pytest.raises(DataError, match="nothing to learn"):
        everywhere.relabelled({"ink": "ink", "oil": "oil", "photo": "", "video": ""})


@given(
    y=arrays(np.int64, (10, 4), elements=st.integers(0, 1)), of=st.lists(st.sampled_from("ab_"), min_size=4, max_size=4)
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_coarser_labels(images: ImageSet, y: np.ndarray, of: list[str]) -> None:
    table = {name: coarse.strip("_") for name, coarse in zip(CLASSES, of, strict=True)}
    try:
        coarse = replace(images, y=y).relabelled(table)
    except DataError:
        return
    rows = [images.train_ids.index(identifier) for identifier in coarse.train_ids]
    for row, new in zip(rows, coarse.y, strict=True):
        old = {table[CLASSES[label]] for label in np.flatnonzero(y[row])} - {""}
        assert {coarse.class_names[label] for label in np.flatnonzero(new)} == old
    assert all(
        y[row].any() and not any(table[CLASSES[c]] for c in np.flatnonzero(y[row]))
        for row in set(range(10)) - set(rows)
    )


@pytest.mark.parametrize("with_test", [True, False])
def test_each_image_is_a_class(images: ImageSet, with_test: bool) -> None:
    indexed = images.by_index(with_test=with_test, most=100, repeats=3)
    count = 12 if with_test else 10
    assert len(indexed.class_names) == len(set(indexed.class_names)) == count
    assert (len(indexed.y), len(set(indexed.train_ids)), indexed.test_ids) == (count + 3, count + 3, ())
    assert indexed.y[:count].tolist() == list(range(count))
    for row, label in enumerate(indexed.y):
        part, place = (images.train_images, label) if label < 10 else (images.test_images, label - 10)
        assert np.array_equal(indexed.train_images.read(row), part.read(place))
        assert indexed.train_images.name(row) == part.name(place)
    assert indexed.inspected is not None and images.inspected is not None
    assert np.array_equal(indexed.inspected.hashes, images.inspected.hashes[indexed.y])
    again = images.by_index(with_test=with_test, most=100, repeats=3)
    assert indexed.fingerprint == again.fingerprint != images.fingerprint


def test_of_many_images_a_sample_is_taken(images: ImageSet) -> None:
    indexed = images.by_index(with_test=True, most=5, repeats=50)
    assert indexed.class_names == ("image 0", "image 2", "image 5", "image 8", "image 11")
    assert indexed.y.tolist() == [*range(5), *range(5)]
    part = indexed.train_images.subset([4, 0])
    assert np.array_equal(part.read(0), images.test_images.read(1))
