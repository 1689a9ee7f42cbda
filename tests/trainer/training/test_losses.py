"""Losses: the formulas in numbers, their limits, and their stability in half precision."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from trainer.recipe.recipe import Loss
from trainer.training.losses import compute_class_weights, image_losses


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
    weights = compute_class_weights(labels, 6, power)
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


@settings(max_examples=20)
@given(cut=st.integers(1, 11), gamma=st.sampled_from([0.0, 1.5]))
def test_a_split_batch_has_the_same_loss(cut: int, gamma: float) -> None:
    logits, y, targets = batch(3)
    weights = torch.from_numpy(compute_class_weights(y.numpy(), 5, 1.0))
    settings_ = Loss(label_smoothing=0.1, focal_gamma=gamma)
    whole = image_losses(logits, targets, settings_, weights)
    parts = [image_losses(logits[s], targets[s], settings_, weights) for s in (slice(cut), slice(cut, None))]
    torch.testing.assert_close(torch.cat(parts), whole)


FORGIVING = [Loss(gce_q=0.7), Loss(gce_q=1.0), Loss(gce_q=1e-12), Loss(bootstrap=0.8)]


@pytest.mark.parametrize("q", [0.1, 0.7, 1.0])
def test_generalized_cross_entropy_in_numbers(q: float) -> None:
    logits, y, targets = batch()
    p = logits.double().softmax(dim=1)[range(len(y)), y]
    torch.testing.assert_close(image_losses(logits, targets, Loss(gce_q=q), None).double(), (1 - p**q) / q)
    smoothed = image_losses(logits, targets, Loss(gce_q=q, label_smoothing=0.2), None)
    every = (1 - logits.double().softmax(dim=1) ** q) / q
    expected = (every * (targets * 0.8 + 0.2 / 5)).sum(dim=1)
    torch.testing.assert_close(smoothed.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("q", [1e-300, 1e-12, 1e-6, 1e-4, 1e-3])
def test_generalized_cross_entropy_tends_to_cross_entropy(q: float) -> None:
    logits, _, targets = batch()
    plain = image_losses(logits, targets, Loss(), None)
    close = image_losses(logits, targets, Loss(gce_q=q), None)
    # The next term of the series is q / 2 * log(p) ** 2.
    assert ((plain - close).abs() <= max(q, 1e-6) * plain**2 + 1e-6).all()


def test_bootstrapping_in_numbers() -> None:
    logits, y, targets = batch()
    p = logits.softmax(dim=1)
    entropy = -(p * p.log()).sum(dim=1)
    expected = 0.7 * functional.cross_entropy(logits, y, reduction="none") + 0.3 * entropy
    torch.testing.assert_close(image_losses(logits, targets, Loss(bootstrap=0.3), None), expected)


def test_bootstrapping_is_more_than_a_smaller_learning_rate() -> None:
    """The gradient of cross-entropy and the one of bootstrapping point into different directions."""
    gradients = []
    for settings_ in (Loss(), Loss(bootstrap=0.8)):
        logits, _, targets = batch()
        logits.requires_grad_()
        image_losses(logits, targets, settings_, None).sum().backward()
        assert logits.grad is not None
        gradients.append(logits.grad)
    assert functional.cosine_similarity(gradients[0], gradients[1], dim=1).min() < 0.9


@pytest.mark.parametrize("settings_", FORGIVING)
@pytest.mark.parametrize("extra", [{}, {"focal_gamma": 0.5, "label_smoothing": 0.1}])
def test_certain_predictions_have_finite_losses_and_gradients(settings_: Loss, extra: dict[str, float]) -> None:
    logits = torch.tensor([[3e4, 0.0, -3e4], [0.0, 3e4, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
    targets = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.4, 0.6, 0.0]])
    losses = image_losses(logits, targets, replace(settings_, **extra), torch.tensor([2.0, 1.0, 0.5]))
    losses.sum().backward()
    assert losses.dtype == torch.float32
    assert torch.isfinite(losses).all()
    assert torch.isfinite(logits.grad).all()


def test_forgiving_losses_are_computed_on_in_single() -> None:
    logits, _, targets = batch()
    for settings_ in FORGIVING:
        losses = image_losses(logits.half(), targets, settings_, None)
        assert losses.dtype == torch.float32
        torch.testing.assert_close(losses, image_losses(logits.half().float(), targets, settings_, None))


def clean_accuracy(settings_: Loss) -> float:
    """Of a network that is trained for long on 300 points of which 30 % have a wrong label: share of new points."""
    generator = torch.Generator().manual_seed(2)
    centres = torch.randn(4, 20, generator=generator) * 0.8

    def draw(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.randint(0, 4, (count,), generator=generator)
        return centres[y] + torch.randn(count, 20, generator=generator), y

    (x, y), (new_x, new_y) = draw(300), draw(2000)
    wrong = torch.rand(300, generator=generator) < 0.3
    labels = torch.where(wrong, (y + torch.randint(1, 4, (300,), generator=generator)) % 4, y)
    targets = functional.one_hot(labels, 4).float()
    torch.manual_seed(2)
    model = torch.nn.Sequential(torch.nn.Linear(20, 128), torch.nn.ReLU(), torch.nn.Linear(128, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(300):
        optimizer.zero_grad()
        image_losses(model(x), targets, settings_, None).mean().backward()
        optimizer.step()
    return float((model(new_x).argmax(dim=1) == new_y).float().mean())


def test_wrong_labels_are_forgiven() -> None:
    plain = clean_accuracy(Loss())
    assert plain < 0.8  # it has learned the wrong labels, too
    assert clean_accuracy(Loss(gce_q=0.7)) > plain + 0.06
    assert clean_accuracy(Loss(gce_q=1.0)) > plain + 0.1
    assert clean_accuracy(Loss(bootstrap=0.8)) > plain + 0.05
