"""Who is chosen, given up or averaged where images count differently: those that count decide."""

from __future__ import annotations

import numpy as np
import pytest

from search.statistics.blending.blends import (
    BlendMethod,
    calibrated,
    equal,
    greedy,
    mean_of_all,
    stack,
    with_label_rule,
)
from search.statistics.blending.ensemble_selection import PossibleMember, choose_members
from search.statistics.blending.final_blend import fit_final
from search.statistics.estimates import RecipeScores, Round, estimate
from search.statistics.member_names import MemberName
from search.statistics.paired_gain import paired_gain
from trainer.evaluation.metrics import Probabilities
from trainer.evaluation.targets import Labels, Targets

N, CLASSES = 240, 3
HEAVY = np.arange(N) % 4 == 0
WEIGHTS = np.where(HEAVY, 3.0, 1.0 / 3.0)
FOLDS = (np.arange(N) // 4 % 4).astype(np.int64)


def predictions(seed: int, heavy: float, light: float) -> tuple[Labels, Probabilities]:
    """Labels, and predictions of one skill on the images that count much and another on the others."""
    y = np.random.default_rng(7).integers(0, CLASSES, N)
    logits = np.random.default_rng(seed).normal(size=(N, CLASSES))
    logits += np.where(HEAVY, heavy, light)[:, None] * np.eye(CLASSES)[y]
    powers = np.exp(logits)
    return y, (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


Y, SPECIALIST = predictions(1, heavy=3.0, light=0.8)
_, GENERALIST = predictions(2, heavy=0.8, light=2.5)


def judged(*oofs: Probabilities) -> list[RecipeScores]:
    return [RecipeScores(number=i, rounds=(Round(split=0, folds=FOLDS, oof=oof),)) for i, oof in enumerate(oofs)]


def test_the_images_that_count_say_who_leads() -> None:
    plain, weighted = (estimate(judged(GENERALIST, SPECIALIST), Targets(Y, w), "accuracy") for w in (None, WEIGHTS))
    assert (plain.leader.number, weighted.leader.number) == (0, 1)
    assert weighted.of(0).eliminated and not plain.of(0).eliminated
    # Fewer images decide, and each is known less well.
    assert weighted.leader.error > plain.leader.error


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "log_loss"])
def test_equal_weights_change_no_choice(metric: str) -> None:
    same = np.full(N, 0.4)
    oofs = [predictions(seed, 1.5, 1.5)[1] for seed in range(5)]
    plain, weighted = (estimate(judged(*oofs), Targets(Y, w), metric) for w in (None, same))
    for one, other in zip(plain.rows, weighted.rows, strict=True):
        assert one.number == other.number and other.shrunk == pytest.approx(one.shrunk, abs=1e-5)
        assert other.error == pytest.approx(one.error, rel=1e-3, abs=1e-5)
    finals = [
        fit_final(np.stack(oofs[:2]), Targets(Y, w), FOLDS, metric, "equal", calibrate=True) for w in (None, same)
    ]
    assert finals[1].score == pytest.approx(finals[0].score, abs=1e-6)
    assert finals[1].error == pytest.approx(finals[0].error, abs=1e-6)
    gains = [paired_gain(metric, Targets(Y, w), oofs[0], oofs[1]) for w in (None, same)]
    assert gains[1].mean == gains[0].mean and gains[1].error == pytest.approx(gains[0].error)


def test_an_ensemble_is_judged_by_the_images_that_count() -> None:
    """A member that helps where hardly any test image is does not help."""
    names = [MemberName(trial=i) for i in range(2)]
    contenders = [
        PossibleMember(name=name, backbone=str(name), oof=oof)
        for name, oof in zip(names, (SPECIALIST, GENERALIST), strict=True)
    ]
    assert len(choose_members(contenders, Targets(Y), FOLDS, "log_loss", "equal", 2).names) == 2
    assert choose_members(contenders, Targets(Y, WEIGHTS), FOLDS, "log_loss", "equal", 2).names == (names[0],)


@pytest.mark.parametrize(
    "way",
    [
        mean_of_all,
        equal(["a", "b"], 2),
        greedy(2),
        stack,
        calibrated(mean_of_all),
        with_label_rule(mean_of_all, "balanced_accuracy"),
        with_label_rule(mean_of_all, "qwk"),
    ],
)
def test_ways_fit_an_image_of_weight_two_as_two_images(way: BlendMethod) -> None:
    members = np.stack([SPECIALIST, GENERALIST])
    times = np.where(HEAVY, 2, 1)
    rows = np.repeat(np.arange(N), times)
    weighted, repeated = way(Targets(Y, times.astype(np.float64)), members), way(Targets(Y[rows]), members[:, rows])
    assert weighted.weights == pytest.approx(repeated.weights)
    assert weighted.temperature == pytest.approx(repeated.temperature, rel=1e-3)
    assert weighted.cuts == pytest.approx(repeated.cuts, abs=1e-6)
    assert weighted.offsets == pytest.approx(repeated.offsets, abs=0.05)
    if way is not stack:  # whose penalty counts for more among fewer images
        return
    apart = np.abs(weighted.probabilities(members) - repeated.probabilities(members))
    assert apart.max() < 0.1
