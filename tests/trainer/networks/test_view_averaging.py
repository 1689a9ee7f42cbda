"""Probabilities are softmaxes in full precision, views are flips and zooms, and only flips that help are chosen."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.evaluation.metrics import score
from trainer.evaluation.targets import Targets
from trainer.inference.networks.views import TTA
from trainer.inference.networks.views import VIEWS as LOOKS
from trainer.networks.backbones import Preprocessing
from trainer.networks.view_averaging import VIEWS, average_views, choose_views, helpful_views, predict_proba

PREPROCESSING = Preprocessing(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), interpolation="bicubic")


class Corners(torch.nn.Module):
    """Scores are the red values of the four corners: top left, top right, bottom left, bottom right."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.dtype] = []
        self.linear = torch.nn.Linear(1, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.seen.append((pixels @ pixels.transpose(2, 3)).dtype)
        assert not self.training
        return pixels[:, 0, (0, 0, -1, -1), (0, -1, 0, -1)]


def images(n: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n, 6, 6, 3), np.uint8)


def softmax(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def test_views_are_flips_of_normalised_pixels() -> None:
    pixels = images(5)
    by_view = predict_proba(Corners(), pixels, preprocessing=PREPROCESSING, views=VIEWS, batch_size=2)
    red = (pixels[..., 0] / 255.0 - 0.5) / 0.2
    assert set(by_view) == set(VIEWS)
    for view, order in {"identity": "abcd", "hflip": "badc", "vflip": "cdab", "hvflip": "dcba"}.items():
        corners = dict(zip("abcd", (red[:, 0, 0], red[:, 0, -1], red[:, -1, 0], red[:, -1, -1]), strict=True))
        expected = softmax(np.stack([corners[letter] for letter in order], axis=1))
        np.testing.assert_allclose(by_view[view], expected, atol=1e-6)
        assert by_view[view].dtype == np.float32


def test_a_zoomed_view_shows_the_middle_enlarged() -> None:
    """A ramp from left to right stays a ramp, whose ends are those of the middle 7/8, seen from pixel centres."""
    ramp = torch.arange(32.0).expand(1, 3, 32, 32)
    zoomed = LOOKS["zoom"].of(ramp)
    assert zoomed.shape == ramp.shape
    assert torch.allclose(zoomed[0, 0, 5, 1:-1], (2 + (torch.arange(32.0) + 0.5) * 28 / 32 - 0.5)[1:-1])
    assert zoomed[0, 0, 5, 0] == 2 and zoomed[0, 0, 5, -1] == 29
    assert torch.equal(LOOKS["zoom"].of(ramp.transpose(2, 3)), zoomed.transpose(2, 3))
    assert torch.equal(LOOKS["hflip_zoom"].of(ramp), zoomed.flip(3))


@pytest.mark.parametrize("side", [1, 2, 3, 8, 9, 31, 224])
def test_flipping_and_zooming_may_be_done_in_either_order(side: int) -> None:
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(side))
    mirrored = LOOKS["zoom"].of(LOOKS["hflip"].of(pixels))
    torch.testing.assert_close(LOOKS["hflip_zoom"].of(pixels), mirrored, atol=1e-5, rtol=0)
    assert torch.equal(LOOKS["zoom"].of(pixels), pixels) == (side <= 2), "there is no middle of one or two pixels"


def test_every_mode_averages_views_that_exist_the_plain_one_first() -> None:
    for views in TTA.values():
        assert views[0] == "identity" and set(views) <= set(VIEWS) and len(set(views)) == len(views)
    # Cheapest first where two modes share views: what hflip_zoom adds to hflip is the zoom.
    assert set(TTA["hflip"]) | set(TTA["zoom"]) < set(TTA["hflip_zoom"])


def test_views_are_averaged_in_double_precision_and_a_single_one_is_left_alone() -> None:
    a, b = blurred_truth(Y, 2.0, 0), blurred_truth(Y, 2.0, 1)
    by_view = {"identity": a, "hflip": b, "vflip": b}
    assert average_views(by_view, ("identity",)) is a
    mean = average_views(by_view, ("identity", "hflip"))
    assert mean.dtype == np.float32
    np.testing.assert_array_equal(mean, ((a.astype(np.float64) + b) / 2).astype(np.float32))


def test_the_mode_of_the_network_and_autocast_are_left_as_they_were() -> None:
    for training in (True, False):
        model = Corners().train(training)
        with torch.autocast("cpu", torch.bfloat16):
            predict_proba(model, images(3), preprocessing=PREPROCESSING)
        assert model.training is training
        assert set(model.seen) == {torch.float32}


def test_what_a_network_caches_while_predicting_can_still_be_trained_with() -> None:
    class Caching(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(3, 2))
            self.cache: torch.Tensor | None = None

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            if self.cache is None:
                self.cache = torch.ones(3)
            return (pixels.mean(dim=(2, 3)) * self.cache) @ self.weight

    model = Caching()
    predict_proba(model, images(2), preprocessing=PREPROCESSING)
    model(torch.ones(2, 3, 6, 6)).sum().backward()
    assert model.weight.grad is not None


def test_no_images_give_no_rows() -> None:
    proba = predict_proba(Corners(), images(0), preprocessing=PREPROCESSING)["identity"]
    assert proba.shape == (0, 4)


def test_a_read_only_memory_map_is_left_alone() -> None:
    pixels = images(4)
    pixels.flags.writeable = False
    predict_proba(Corners(), pixels, preprocessing=PREPROCESSING)
    np.testing.assert_array_equal(pixels, images(4))


def blurred_truth(y: npt.NDArray[np.int64], certainty: float, seed: int, noise: float = 0.3) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    scores = certainty * np.eye(3)[y] + noise * rng.standard_normal((len(y), 3))
    return softmax(scores).astype(np.float32)


Y = np.random.default_rng(3).integers(0, 3, 200)


def test_a_harmful_flip_is_left_out_and_a_helpful_one_taken() -> None:
    views = {
        "identity": blurred_truth(Y, 2.0, seed=0, noise=1.5),
        "hflip": blurred_truth(Y, 2.0, seed=1, noise=1.5),  # as good, with errors of its own: averaging helps
        "vflip": blurred_truth((Y + 1) % 3, 2.0, seed=2),  # upside down everything looks like the next class
    }
    for metric in ("accuracy", "log_loss", "macro_f1"):
        assert choose_views(Targets(Y), views, metric) == ("identity", "hflip")


def test_a_copy_of_the_identity_is_not_chosen() -> None:
    identity = blurred_truth(Y, 2.0, seed=0, noise=1.5)
    assert choose_views(Targets(Y), {"identity": identity, "hflip": identity}, "accuracy") == ("identity",)


def test_a_flip_that_gains_likelihood_but_loses_the_metric_is_left_out() -> None:
    y = np.array([0] * 10 + [1] * 10)
    identity = np.full((20, 2), 0.5, np.float32) + np.where(y[:, None] == [0, 1], 0.02, -0.02).astype(np.float32)
    hflip = np.where(y[:, None] == [0, 1], 0.95, 0.05).astype(np.float32)
    hflip[0] = (0.4, 0.6)  # very sure and right but for one image, on which the average errs
    assert score("log_loss", Targets(y), (identity + hflip) / 2) > score("log_loss", Targets(y), identity)
    assert choose_views(Targets(y), {"identity": identity, "hflip": hflip}, "accuracy") == ("identity",)
    assert choose_views(Targets(y), {"identity": identity, "hflip": hflip}, "log_loss") == ("identity", "hflip")


def test_images_that_were_never_held_out_do_not_count() -> None:
    views = {"identity": blurred_truth(Y, 2.0, 0, 1.5), "hflip": blurred_truth(Y, 2.0, 1, 1.5)}
    gaps = {name: np.where(np.arange(200)[:, None] < 20, np.nan, proba) for name, proba in views.items()}
    shortened = {name: proba[20:] for name, proba in views.items()}
    assert (
        choose_views(Targets(Y), gaps, "accuracy")
        == choose_views(Targets(Y[20:]), shortened, "accuracy")
        == ("identity", "hflip")
    )


@settings(max_examples=40)
@given(st.lists(st.tuples(st.floats(-1, 3), st.integers(0, 99)), min_size=1, max_size=4))
def test_chosen_views_are_never_worse_than_none(qualities: list[tuple[float, int]]) -> None:
    views = {view: blurred_truth(Y, c, seed, 1.0) for view, (c, seed) in zip(VIEWS, qualities, strict=False)}
    chosen = choose_views(Targets(Y), views, "accuracy")
    assert chosen[0] == "identity"
    assert len(set(chosen)) == len(chosen)
    mean = np.mean([views[view] for view in chosen], axis=0, dtype=np.float64)
    for metric in ("accuracy", "log_loss"):
        assert score(metric, Targets(Y), mean) >= score(metric, Targets(Y), views["identity"].astype(np.float64))


def test_a_view_that_spoils_the_average_need_not_be_predicted() -> None:
    views = {
        "identity": blurred_truth(Y, 2.0, seed=0, noise=1.5),
        "hflip": blurred_truth(Y, 2.0, seed=1, noise=1.5),
        "vflip": blurred_truth((Y + 1) % (Y.max() + 1), 2.0, seed=2, noise=1.5),
    }
    assert helpful_views(Targets(Y), views) == ("identity", "hflip")
    unknown = {view: np.full_like(proba, np.nan) for view, proba in views.items()}
    assert helpful_views(Targets(Y), unknown) == tuple(views), "nothing was held out, so nothing says which help"
    some = {view: proba.copy() for view, proba in views.items()}
    some["hflip"][:5] = np.nan
    assert helpful_views(Targets(Y), some) == ("identity", "hflip")


def test_views_that_do_not_exist_are_refused() -> None:
    proba = blurred_truth(Y, 1.0, 0)
    with pytest.raises(ValueError, match="rot90"):
        choose_views(Targets(Y), {"identity": proba, "rot90": proba}, "accuracy")
    with pytest.raises(ValueError, match="identity"):
        choose_views(Targets(Y), {"hflip": proba}, "accuracy")
