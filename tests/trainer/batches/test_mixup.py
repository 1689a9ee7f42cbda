"""Mixup and CutMix: labels are blended as the pixels are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.batches.mixup import Mix, apply_mix, draw_mix, mixing_epochs
from trainer.common.randomness import random_generator
from trainer.recipe.recipe import Augment


def draw(kind: str, seed: int, **changes: float) -> Mix | None:
    settings_ = Augment(mix=kind, **{"mix_alpha": 1.0, "mix_prob": 1.0, "mix_off": 0.0, **changes})
    return draw_mix(settings_, batch_size=6, size=16, generator=random_generator(seed))


@settings(max_examples=60)
@given(kind=st.sampled_from(["mixup", "cutmix"]), seed=st.integers(0, 10_000))
def test_the_label_shares_are_those_of_the_pixels(kind: str, seed: int) -> None:
    """Image i is filled with its own number's bit, so that a mean pixel says how much of which image is in it."""
    images = torch.eye(6)[:, :3].view(6, 3, 1, 1).expand(6, 3, 16, 16).contiguous()
    targets = torch.eye(6)
    before = images.clone()
    mix = draw(kind, seed)
    assert mix is not None
    mixed, mixed_targets = apply_mix(images, targets, mix)
    torch.testing.assert_close(mixed.mean(dim=(2, 3)), mixed_targets[:, :3], atol=1e-5, rtol=0)
    torch.testing.assert_close(mixed_targets.sum(dim=1), torch.ones(6))
    assert sorted(mix.partner) == list(range(6))
    assert torch.equal(images, before)
    assert torch.equal(targets, torch.eye(6))


def test_cutmix_pastes_one_box() -> None:
    images = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 3, 16, 16).contiguous()
    mix = Mix(partner=(1, 2, 3, 4, 5, 0), share=1 - 12 / 256, box=(2, 5, 8, 12))
    mixed, _ = apply_mix(images, torch.eye(6), mix)
    assert (mixed[0, :, 2:5, 8:12] == 1).all()
    assert mixed[0].sum() == 3 * 12


def test_channels_last_images_stay_so() -> None:
    images = torch.rand(6, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    for kind in ("mixup", "cutmix"):
        mix = draw(kind, 1)
        assert mix is not None
        assert apply_mix(images, torch.eye(6), mix)[0].is_contiguous(memory_format=torch.channels_last)


def test_the_share_of_blended_batches() -> None:
    blended = sum(draw("mixup", seed, mix_prob=0.3) is not None for seed in range(1000))
    assert 250 < blended < 350
    assert all(draw("mixup", seed, mix_prob=0.0) is None for seed in range(50))
    assert all(draw("cutmix", seed, mix_prob=1.0) is not None for seed in range(50))
    assert draw("none", 0) is None


def test_draws_repeat() -> None:
    assert draw("cutmix", 3) == draw("cutmix", 3)
    assert draw("cutmix", 3) != draw("cutmix", 4)


def test_alpha_shapes_the_share() -> None:
    def spread(alpha: float) -> float:
        mixes = [draw("mixup", seed, mix_alpha=alpha) for seed in range(300)]
        return float(np.std([mix.share for mix in mixes if mix is not None]))

    assert spread(0.2) > spread(1.0) > spread(5.0)


@pytest.mark.parametrize(
    ("kind", "off", "epochs", "expected"),
    [("mixup", 0.2, 10, 8), ("cutmix", 0.0, 7, 7), ("mixup", 1.0, 7, 0), ("mixup", 0.2, 3, 2), ("none", 0.0, 9, 0)],
)
def test_blending_ends_before_the_last_epochs(kind: str, off: float, epochs: int, expected: int) -> None:
    assert mixing_epochs(Augment(mix=kind, mix_off=off), epochs) == expected
