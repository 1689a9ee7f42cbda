"""Augmentations: reproducible by key, exactly off at strength 0, stronger with the strength."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.batches.augmenter import Augmenter, Image
from trainer.common.randomness import random_key
from trainer.recipe.augmentation_table import AUGMENTATIONS
from trainer.recipe.recipe import Augment, Recipe

KEYS = [random_key("test", i) for i in range(24)]
SIZE = 48  # pixels


def picture(height: int = SIZE, width: int = SIZE) -> Image:
    """A colourful picture with structure at several scales, read-only as the pixels of a memory map are."""
    rows, columns = np.mgrid[0:height, 0:width]
    image = np.stack([rows * 5 % 256, columns * 5 % 256, (rows // 6 + columns // 6) % 2 * 200], axis=-1).astype(
        np.uint8
    )
    image[5:15, 20:40] = (200, 30, 60)
    image.setflags(write=False)
    return image


def augmenter(strengths: dict[str, float], size: int = SIZE) -> Augmenter:
    return Augmenter(Augment(strengths=strengths), size)


def covered(before: Image, after: Image) -> tuple[slice, slice]:
    """The smallest box that holds all that differs."""
    rows, columns = np.nonzero((before != after).any(axis=-1))
    return slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_changes_images_at_full_strength_and_keeps_their_form(name: str) -> None:
    image = picture()
    full = augmenter({name: AUGMENTATIONS[name].high})
    results = [full.apply(image, key) for key in KEYS]
    assert all(result.dtype == np.uint8 and result.shape == image.shape for result in results)
    assert all(result.flags.c_contiguous for result in results)
    changed = sum(not np.array_equal(result, image) for result in results)
    assert changed >= 0.3 * len(KEYS)  # cutout covers one half; a multiple of 90 degrees is no turn once in four


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_higher_strength_changes_more(name: str) -> None:
    image, high = picture(), AUGMENTATIONS[name].high

    def change(share: float) -> float:
        some = augmenter({name: share * high})
        keys = [random_key(name, i) for i in range(96)]
        return float(np.mean([np.abs(some.apply(image, key).astype(np.int64) - image).mean() for key in keys]))

    assert change(0.0) == 0.0
    # JPEG of any quality halves the colours' resolution, and any perspective resamples.
    assert change(1e-4) < (0.8 if name in ("jpeg", "perspective") else 0.1) * change(1.0)
    assert change(0.2) < 0.8 * change(1.0)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_zero_is_exactly_off(name: str) -> None:
    image = picture()
    assert augmenter({name: 0.0}).apply(image, 1) is image


def test_the_default_recipe_changes_nothing() -> None:
    image = picture()
    assert Augmenter(Recipe().augment, SIZE).apply(image, 1) is image


def test_the_result_depends_on_strengths_and_key_alone() -> None:
    image = picture()
    strengths = {name: entry.high / 2 for name, entry in AUGMENTATIONS.items()}
    expected = [augmenter(strengths).apply(image, key) for key in KEYS]
    used = augmenter(strengths)
    for key in reversed(KEYS):
        random.seed(key)
        np.random.seed(key % 2**32)
        used.apply(np.zeros((17, 23, 3), np.uint8), key + 1 & 2**64 - 1)
        assert np.array_equal(used.apply(image, key), expected[KEYS.index(key)])
    assert len({result.tobytes() for result in expected}) == len(KEYS)


def test_global_random_state_is_left_alone() -> None:
    random.seed(1)
    np.random.seed(1)
    before = (random.getstate(), np.random.get_state()[1].tobytes())
    augmenter({name: entry.high for name, entry in AUGMENTATIONS.items()}).apply(picture(), 7)
    assert (random.getstate(), np.random.get_state()[1].tobytes()) == before


def test_flips_are_drawn_independently_of_each_other() -> None:
    image = picture()
    both = augmenter({"hflip": 0.5, "vflip": 0.5})
    forms = {
        "none": image.tobytes(),
        "h": image[:, ::-1].tobytes(),
        "v": image[::-1].tobytes(),
        "hv": image[::-1, ::-1].tobytes(),
    }
    seen = [both.apply(image, random_key("flip", i)).tobytes() for i in range(400)]
    shares = {name: seen.count(form) / 400 for name, form in forms.items()}
    assert sum(shares.values()) == 1.0
    assert all(0.17 < share < 0.33 for share in shares.values()), shares


PROBABILITIES = [name for name, entry in AUGMENTATIONS.items() if entry.doc.endswith(": probability")]


@pytest.mark.parametrize("name", [name for name in PROBABILITIES if name not in ("rotate90", "grid_shuffle")])
@pytest.mark.parametrize(("strength", "low", "high"), [(0.1, 0.05, 0.16), (0.9, 0.84, 0.95)])
def test_probabilities_are_met(name: str, strength: float, low: float, high: float) -> None:
    image = picture()
    some = augmenter({name: strength})
    share = np.mean([not np.array_equal(some.apply(image, random_key(i)), image) for i in range(500)])
    assert low < share < high


def test_geometry_is_resampled_once() -> None:
    strengths = {"rotate": 10.0, "shift": 0.1, "scale": 0.1, "shear": 5.0}
    assert len(augmenter(strengths)._transforms) == 1


@pytest.mark.parametrize("side", [32, SIZE, 60, 101])
@pytest.mark.parametrize("strength", [1e-3, 0.3, 0.92])
def test_a_crop_has_the_networks_size_whatever_it_is_cut_from(side: int, strength: float) -> None:
    results = [augmenter({"crop": strength}).apply(picture(side, side), key) for key in KEYS]
    assert {result.shape for result in results} == {(SIZE, SIZE, 3)}


def test_crops_become_whole_squares_as_the_strength_goes_to_zero() -> None:
    arguments = AUGMENTATIONS["crop"].arguments
    assert arguments(0.92)["scale"] == pytest.approx((0.08, 1.0))
    assert arguments(0.92)["ratio"] == pytest.approx((3 / 4, 4 / 3))
    ratios = [arguments(strength)["ratio"][1] for strength in (1e-9, 0.1, 0.5, 0.92)]
    assert ratios == sorted(ratios) and ratios[0] == pytest.approx(1.0)


@pytest.mark.parametrize("strength", [0.25, 0.5])
def test_cutout_covers_one_square_in_half_of_the_images(strength: float) -> None:
    image = picture()
    results = [augmenter({"cutout": strength}).apply(image, random_key(i)) for i in range(100)]
    holed = [result for result in results if not np.array_equal(result, image)]
    assert 35 <= len(holed) <= 65
    for result in holed:
        rows, columns = covered(image, result)
        assert rows.stop - rows.start == columns.stop - columns.start == SIZE * strength
        assert np.unique(result[rows, columns].reshape(-1, 3), axis=0).tolist() == [[124, 116, 104]]
    assert len({result.tobytes() for result in holed}) > 30


def test_erasing_covers_one_rectangle_of_up_to_a_third() -> None:
    image = picture()
    shares, shapes = [], []
    for i in range(200):
        rows, columns = covered(image, augmenter({"erase": 1.0}).apply(image, random_key(i)))
        height, width = rows.stop - rows.start, columns.stop - columns.start
        shares.append(height * width / SIZE**2)
        shapes.append(width / height)
    assert 0.01 < min(shares) < 0.05
    assert 0.28 < max(shares) < 0.35
    assert min(shapes) < 0.6 and max(shapes) > 2.0


def test_coarse_dropout_covers_several_small_boxes_with_black() -> None:
    image = np.full((100, 100, 3), 200, np.uint8)
    results = [augmenter({"coarse_dropout": 1.0}, 100).apply(image, random_key(i)) for i in range(50)]
    assert all(set(np.unique(result)) == {0, 200} for result in results)
    shares = [float((result == 0).mean()) for result in results]
    assert 0.005 < min(shares) < max(shares) < 0.16


def test_both_kinds_of_holes_are_there_where_both_are_on() -> None:
    image = picture()
    both = augmenter({"cutout": 0.5, "coarse_dropout": 1.0})
    results = [both.apply(image, key) for key in KEYS]
    grey = [bool((result == (124, 116, 104)).all(axis=-1).any()) for result in results]
    assert 0 < sum(grey) < len(KEYS)
    assert all((result == 0).all(axis=-1).any() for result in results)


@settings(max_examples=25)
@given(
    strengths=st.fixed_dictionaries(
        {}, optional={name: st.floats(0.0, entry.high) for name, entry in AUGMENTATIONS.items()}
    ),
    size=st.sampled_from([8, 28, 33]),
    key=st.integers(0, 2**64 - 1),
)
def test_any_recipe_gives_an_image(strengths: dict[str, float], size: int, key: int) -> None:
    image = picture(size, size)
    before = image.copy()
    result = augmenter(strengths, size).apply(image, key)
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    assert np.array_equal(image, before)


@pytest.mark.slow
def test_the_vocabulary_is_cheap_to_import() -> None:
    heavy = "{'torch', 'timm', 'albumentations', 'cv2', 'sklearn', 'scipy'}"
    modules = "trainer.recipe.recipe, trainer.evaluation.metrics, trainer.training.results"
    code = f"import sys, {modules}; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
