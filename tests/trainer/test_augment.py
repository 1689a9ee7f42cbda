from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.augment import AUGMENTATIONS, Augmenter, Image
from trainer.randomness import random_key
from trainer.recipe import Recipe

KEYS = [random_key("test", i) for i in range(24)]


def picture(height: int = 48, width: int = 48) -> Image:
    """A colourful picture with structure at several scales, read-only as the pixels of a memory map are."""
    rows, columns = np.mgrid[0:height, 0:width]
    image = np.stack([rows * 5 % 256, columns * 5 % 256, (rows // 6 + columns // 6) % 2 * 200], axis=-1).astype(
        np.uint8
    )
    image[5:15, 20:40] = (200, 30, 60)
    image.setflags(write=False)
    return image


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_changes_images_at_full_strength_and_keeps_their_form(name: str) -> None:
    image = picture()
    results = [Augmenter({name: AUGMENTATIONS[name].high}).apply(image, key) for key in KEYS]
    assert all(result.dtype == np.uint8 and result.shape == image.shape for result in results)
    assert all(result.flags.c_contiguous for result in results)
    changed = sum(not np.array_equal(result, image) for result in results)
    assert changed >= 0.5 * len(KEYS)  # a random multiple of 90 degrees is no turn once in four


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_small_strengths_are_valid_and_change_less(name: str) -> None:
    image = picture().astype(np.int64)

    def change(strength: float) -> float:
        augmenter = Augmenter({name: strength})
        return float(np.mean([np.abs(augmenter.apply(picture(), key) - image).mean() for key in KEYS]))

    assert change(1e-4 * AUGMENTATIONS[name].high) < change(AUGMENTATIONS[name].high)


def test_zero_is_exactly_off() -> None:
    image = picture()
    assert Augmenter(Recipe().augment.strengths).apply(image, 1) is image
    assert Augmenter(dict.fromkeys(AUGMENTATIONS, 0.0)).apply(image, 1) is image


def test_the_result_depends_on_strengths_and_key_alone() -> None:
    image = picture()
    strengths = {name: entry.high / 2 for name, entry in AUGMENTATIONS.items()}
    expected = [Augmenter(strengths).apply(image, key) for key in KEYS]
    used = Augmenter(strengths)
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
    Augmenter({name: entry.high for name, entry in AUGMENTATIONS.items()}).apply(picture(), 7)
    assert (random.getstate(), np.random.get_state()[1].tobytes()) == before


def test_flips_are_drawn_independently_of_each_other() -> None:
    image = picture()
    both = Augmenter({"hflip": 0.5, "vflip": 0.5})
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


@pytest.mark.parametrize(("strength", "low", "high"), [(0.1, 0.05, 0.16), (0.9, 0.84, 0.95)])
def test_probabilities_are_met(strength: float, low: float, high: float) -> None:
    image = picture()
    augmenter = Augmenter({"sepia": strength})
    share = np.mean([not np.array_equal(augmenter.apply(image, random_key(i)), image) for i in range(500)])
    assert low < share < high


def test_geometry_is_resampled_once() -> None:
    strengths = {"rotate": 10.0, "shift": 0.1, "scale": 0.1, "shear": 5.0}
    assert len(Augmenter(strengths)._transforms) == 1


@settings(max_examples=25, deadline=None)
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
    result = Augmenter(strengths).apply(image, key)
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    assert np.array_equal(image, before)


def test_the_vocabulary_is_cheap_to_import() -> None:
    heavy = "{'torch', 'timm', 'albumentations', 'cv2', 'sklearn', 'scipy'}"
    code = f"import sys, trainer.recipe, trainer.metrics, trainer.outcome; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
