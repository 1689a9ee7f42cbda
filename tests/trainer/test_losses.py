from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from trainer.losses import class_weights, image_losses
from trainer.recipe import Loss


def batch(seed: int = 0, n: int = 12, classes: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, classes, (n,), generator=generator)
    return torch.randn(n, classes, generator=generator) * 3, y, functional.one_hot(y, classes).float()


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_cross_entropy_is_torchs(smoothing: float) -> None:
    logits, y, targets = batch()
    losses = image_losses(logits, targets, Loss(label_smoothing=smoothing), None)
    expected = functional.cross_entropy(logits, y, label_smoothing=smoothing, reduction="none")
    torch.testing.assert_close(losses, expected)


def test_focal_loss_in_numbers() -> None:
    logits, y, targets = batch()
    p = logits.softmax(dim=1)[range(len(y)), y]
    torch.testing.assert_close(image_losses(logits, targets, Loss(focal_gamma=2.0), None), -((1 - p) ** 2) * p.log())


@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0, 5.0])
def test_the_focal_gradient_is_finite_for_certain_predictions(gamma: float) -> None:
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    targets = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    image_losses(logits, targets, Loss(focal_gamma=gamma, label_smoothing=0.1), None).sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_half_precision_logits_are_computed_on_in_single() -> None:
    logits, _, targets = batch()
    losses = image_losses(logits.bfloat16(), targets, Loss(), None)
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses, image_losses(logits.bfloat16().float(), targets, Loss(), None))


@given(
    y=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    power=st.floats(0.0, 1.0),
)
def test_class_weights_average_to_one_over_the_images(y: list[int], power: float) -> None:
    labels = np.array(y, dtype=np.int64)
    weights = class_weights(labels, 6, power)
    assert weights[labels].mean() == pytest.approx(1.0, abs=1e-5)
    assert weights[5] == 0.0
    counts = np.bincount(labels, minlength=6)
    present = np.flatnonzero(counts)
    np.testing.assert_allclose(
        weights[present] / weights[present[0]], (counts[present[0]] / counts[present]) ** power, rtol=1e-4
    )


def test_weights_count_a_blended_image_by_its_parts() -> None:
    logits = torch.zeros(1, 2)
    targets = torch.tensor([[0.25, 0.75]])
    loss = image_losses(logits, targets, Loss(), torch.tensor([2.0, 0.5]))
    assert loss.item() == pytest.approx((0.25 * 2.0 + 0.75 * 0.5) * np.log(2), rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(1, 11), gamma=st.sampled_from([0.0, 1.5]))
def test_a_split_batch_has_the_same_loss(cut: int, gamma: float) -> None:
    logits, y, targets = batch(3)
    weights = torch.from_numpy(class_weights(y.numpy(), 5, 1.0))
    settings_ = Loss(label_smoothing=0.1, focal_gamma=gamma)
    whole = image_losses(logits, targets, settings_, weights)
    parts = [image_losses(logits[s], targets[s], settings_, weights) for s in (slice(cut), slice(cut, None))]
    torch.testing.assert_close(torch.cat(parts), whole)
