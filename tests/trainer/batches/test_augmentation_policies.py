"""AutoAugment, RandAugment and TrivialAugment as they reach a training image."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from typing import Any

import albumentations
import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from PIL import ImageEnhance
from torchvision import transforms as published

from trainer.batches import augmentation_policies
from trainer.batches.augmentation_policies import AUTOAUGMENT, OPERATIONS, STRONGEST, STRONGEST_WIDE, build_policy
from trainer.batches.augmenter import Augmenter, Image
from trainer.common.randomness import random_key
from trainer.recipe.augmentation_table import POLICIES
from trainer.recipe.recipe import Augment, Recipe

NAMES = [name for name in POLICIES if name != "none"]
KEYS = [random_key("policy", i) for i in range(40)]
SIZE = 48  # pixels


def picture(size: int = SIZE) -> Image:
    """Smooth colours with some structure, no tone at its limit; read-only."""
    rows, columns = np.mgrid[0:size, 0:size] / size
    red, green = 60 + 120 * rows, 200 - 140 * columns
    blue = 110 + 60 * np.sin(9 * rows + 6 * columns)
    image = np.stack([red, green, blue], axis=-1).astype(np.uint8)
    image[size // 6 : size // 3, size // 3 : size * 3 // 4] = (180, 40, 70)
    image.setflags(write=False)
    return image


def of(name: str, **settings: object) -> Augment:
    return Recipe.from_flat({"augment.policy": name, **{f"augment.{k}": v for k, v in settings.items()}}).augment


def change(settings: Augment, keys: list[int] = KEYS) -> float:
    image, augmenter = picture(), Augmenter(settings, SIZE)
    return float(np.mean([np.abs(augmenter.apply(image, key).astype(np.int64) - image).mean() for key in keys]))


def applied(transform: Any, image: Image, seed: int = 0) -> Image:
    """One Albumentations transform alone."""
    transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
    result: Image = transform(image=image)["image"]
    return result


def test_the_sub_policies_are_the_published_ones() -> None:
    assert list(AUTOAUGMENT) == published.AutoAugment().policies


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (STRONGEST, published.RandAugment(num_magnitude_bins=31)._augmentation_space(31, (224, 224))),
        (STRONGEST_WIDE, published.TrivialAugmentWide()._augmentation_space(31)),
    ],
)
def test_operations_and_ranges_are_the_published_ones(mine: dict[str, float], theirs: dict[str, Any]) -> None:
    assert list(OPERATIONS) == list(theirs)
    for name, (magnitudes, signed) in theirs.items():
        if magnitudes.ndim == 0:
            assert name not in mine
            continue
        strongest = float(magnitudes[-1]) / (224 if name.startswith("Translate") else 1)
        if name == "Posterize":
            strongest = 8 - strongest
        if name == "Solarize":
            strongest = 1 - strongest / 255
        assert mine[name] == pytest.approx(strongest), name
        assert (name in augmentation_policies._SIGNED) == signed


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [8, 33, SIZE])
def test_images_keep_their_form(name: str, size: int) -> None:
    image = picture(size)
    results = [Augmenter(of(name), size).apply(image, key) for key in KEYS]
    assert {(result.shape, result.dtype, result.flags.c_contiguous) for result in results} == {
        ((size, size, 3), np.dtype(np.uint8), True)
    }
    assert sum(not np.array_equal(result, image) for result in results) > 0.6 * len(KEYS)


@pytest.mark.parametrize("settings", [of("none"), *(of(name, policy_prob=0.0) for name in NAMES)])
def test_off_is_exactly_off(settings: Augment) -> None:
    image = picture()
    assert Augmenter(settings, SIZE).apply(image, 1) is image


@pytest.mark.parametrize("name", NAMES)
def test_the_result_depends_on_the_key_alone(name: str) -> None:
    image, settings = picture(), of(name, policy_prob=0.9, vflip=0.5, noise=0.1)
    expected = [Augmenter(settings, SIZE).apply(image, key) for key in KEYS]
    used = Augmenter(settings, SIZE)
    for key in reversed(KEYS):
        random.seed(key)
        np.random.seed(key % 2**32)
        torch.manual_seed(key % 2**32)
        used.apply(picture(17), key + 1 & 2**64 - 1)
        assert np.array_equal(used.apply(image, key), expected[KEYS.index(key)])
    assert len({result.tobytes() for result in expected}) == len(KEYS)


@pytest.mark.parametrize("name", NAMES)
def test_global_random_state_is_left_alone(name: str) -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)

    def state() -> tuple[object, ...]:
        return random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()

    before = state()
    augmenter = Augmenter(of(name), SIZE)
    for key in KEYS:
        augmenter.apply(picture(), key)
    assert state() == before


@pytest.mark.parametrize("name", NAMES)
def test_the_probability_is_that_of_the_policy(name: str) -> None:
    image = picture()
    keys = [random_key("share", i) for i in range(300)]

    def share(prob: float) -> float:
        augmenter = Augmenter(of(name, policy_prob=prob), SIZE)
        return float(np.mean([not np.array_equal(augmenter.apply(image, key), image) for key in keys]))

    assert share(0.3) / share(1.0) == pytest.approx(0.3, abs=0.08)


def test_all_sub_policies_of_autoaugment_are_drawn_alike() -> None:
    policy, drawn = build_policy(of("autoaugment")), []

    def note(image: Image, number: int, **_: object) -> Image:
        drawn.append(number)
        return image

    policy.transforms = [
        albumentations.Lambda(image=partial(note, number=number), p=1.0) for number in range(len(policy.transforms))
    ]
    for seed in range(500):
        applied(policy, picture(), seed)
    counts = np.bincount(drawn, minlength=25)
    assert len(counts) == 25 and counts.sum() == 500
    assert counts.min() >= 8 and counts.max() <= 35


def test_randaugment_grows_with_its_magnitude_and_its_number_of_operations() -> None:
    keys = [random_key("rand", i) for i in range(150)]
    by_magnitude = [change(of("randaugment", policy_magnitude=m), keys) for m in (0.0, 0.3, 1.0)]
    assert by_magnitude[0] < 0.9 * by_magnitude[1] < 0.8 * by_magnitude[2]
    by_number = [change(of("randaugment", policy_ops=n), keys) for n in (1, 2, 5)]
    assert by_number[0] < 0.9 * by_number[1] < 0.8 * by_number[2]


@pytest.mark.parametrize("name", [name for name in STRONGEST if name != "Posterize"])
def test_each_operation_grows_with_its_magnitude(name: str) -> None:
    image = picture()
    levels = [0.0, 0.3, 0.6]
    changes = [
        float(
            np.mean(
                [
                    np.abs(applied(augmentation_policies._fixed(name, m, 1.0), image, i).astype(int) - image)
                    for i in range(8)
                ]
            )
        )
        for m in levels
    ]
    assert changes[0] == 0.0
    assert changes == sorted(changes) and len(set(changes)) == len(levels)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_posterizing_drops_up_to_four_bits(share: float) -> None:
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    tones = len(np.unique(applied(augmentation_policies._fixed("Posterize", share, 1.0), image)))
    assert tones == {0.0: 256, 0.25: 128, 1.0: 16}[share]


@pytest.mark.parametrize("name", sorted(augmentation_policies._SIGNED))
def test_operations_go_either_way(name: str) -> None:
    image = picture()
    fixed = {applied(augmentation_policies._fixed(name, 0.5, 1.0), image, seed).tobytes() for seed in range(12)}
    assert len(fixed) == 2
    assert len({applied(augmentation_policies._drawn(name), image, seed).tobytes() for seed in range(12)}) > 6


@pytest.mark.parametrize(
    ("name", "enhance", "tolerance"),
    [
        ("Brightness", ImageEnhance.Brightness, 1),
        ("Color", ImageEnhance.Color, 2),
        ("Contrast", ImageEnhance.Contrast, 2),
        ("Sharpness", ImageEnhance.Sharpness, 2),
    ],
)
@pytest.mark.parametrize("magnitude", [-0.9, -0.4, 0.4, 0.9])
def test_enhancements_are_pillows(name: str, enhance: type, tolerance: int, magnitude: float) -> None:
    image = picture()
    mine = applied(augmentation_policies._BUILDERS[name]((magnitude, magnitude), 1.0), image)
    theirs = np.asarray(enhance(Pillow.fromarray(image)).enhance(1.0 + magnitude))
    inner = (slice(1, -1), slice(1, -1))  # Pillow leaves the border as it is
    assert np.abs(mine[inner].astype(int) - theirs[inner]).max() <= tolerance
    assert not np.array_equal(mine, image)


def test_the_policy_comes_after_the_crop_and_before_all_others() -> None:
    settings = replace(of("randaugment"), strengths={"crop": 0.5, "hflip": 1.0, "erase": 1.0})
    kinds = [type(transform).__name__ for transform in Augmenter(settings, SIZE)._transforms]
    assert kinds == ["RandomResizedCrop", "RandomOrder", "HorizontalFlip", "Erasing"]
    assert Augmenter(settings, SIZE).apply(picture(60), 1).shape == (SIZE, SIZE, 3)
