"""An ensemble is used where it is really better, judged on images that it was not fitted on."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from search.statistics.blending.blends import (
    BlendMethod,
    Stacked,
    calibrated,
    equal,
    greedy,
    mean_of_all,
    stack,
    with_label_rule,
)
from search.statistics.blending.cross_fitting import cross_fit
from search.statistics.blending.ensemble_selection import Choice, PossibleMember, choose_members
from search.statistics.blending.final_blend import fit_final
from search.statistics.member_names import MemberName
from search.statistics.paired_gain import Gain, paired_gain, shown_gain
from trainer.evaluation.metrics import metrics_for, score
from trainer.evaluation.targets import Targets
from trainer.evaluation.temperature_scaling import scale_temperature

ONE_LABEL = metrics_for(several_labels=False)

CLASSES = 3


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), dtype=np.float32)


def draw(
    seed: int, members: int, *, n: int = 150, shared: float = 0.0, noise: float = 1.0
) -> tuple[NDArray[np.int64], Stacked, NDArray[np.int64]]:
    """Labels, predictions of equally good recipes, folds. ``noise`` is each recipe's own, ``shared`` that of all."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 1.5, (n, CLASSES))
    y = (truth + rng.gumbel(size=truth.shape)).argmax(axis=1).astype(np.int64)
    common = truth + rng.normal(0, shared, truth.shape)
    return y, softmax(common + rng.normal(0, noise, (members, n, CLASSES))), rng.permutation(n).astype(np.int64) % 3


def numbers(choice: Choice) -> list[int | None]:
    return [name.trial for name in choice.names]


def contenders(members: Stacked, *backbones: str) -> list[PossibleMember]:
    names = backbones or ("a",) * len(members)
    return [
        PossibleMember(name=MemberName(trial=10 + i), backbone=name, oof=oof)
        for i, (name, oof) in enumerate(zip(names, members, strict=True))
    ]


def test_independent_recipes_are_averaged_and_the_gain_is_real() -> None:
    y, members, folds = draw(0, 4, n=400, noise=1.5)
    for way in ("equal", "greedy"):
        choice = choose_members(contenders(members), Targets(y), folds, "accuracy", way, 5)
        assert choice.method in (way, "equal") and choice.gain is not None and choice.gain.real
        assert numbers(choice)[0] == 10 and len(choice.names) >= 3
        assert sum(choice.blend_weights) == pytest.approx(1.0)
        weights = np.array(choice.blend_weights)
        mean = np.tensordot(weights, members[[number - 10 for number in numbers(choice)]], 1)
        assert score("accuracy", Targets(y), mean) > score("accuracy", Targets(y), members[0])


@pytest.mark.parametrize(
    ("metric", "way"), [*((metric, "equal") for metric in sorted(ONE_LABEL)), ("accuracy", "greedy"), ("qwk", "greedy")]
)
def test_copies_of_the_leader_never_gain(metric: str, way: str) -> None:
    y, members, folds = draw(1, 1, n=90)
    copies = contenders(np.repeat(members, 4, axis=0), "a", "b", "c", "d")
    choice = choose_members(copies, Targets(y), folds, metric, way, 5)
    assert numbers(choice) == [10] and choice.blend_weights == (1.0,) and choice.method == "none"
    assert choice.gain is not None and choice.gain.mean == 0.0 and not choice.gain.real


def test_members_that_only_add_noise_seem_to_gain_no_more_often_than_by_chance() -> None:
    """The leader knows the true probabilities, the others distort them: no average is better. One standard error is
    exceeded by chance in 16 % of cases, in fewer where the average is worse; 13 of 40 would happen once in 100.
    """
    seeming = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        logits = rng.normal(0, 1.5, (120, CLASSES))
        y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1).astype(np.int64)
        others = logits + rng.normal(0, 0.7, (3, *logits.shape))
        members = softmax(np.concatenate([logits[None], others]))
        folds = rng.permutation(len(y)) % 3
        seeming += len(choose_members(contenders(members), Targets(y), folds, "log_loss", "equal", 4).names) > 1
    assert seeming < 13


def test_another_backbone_comes_before_a_better_copy_of_one_that_is_in() -> None:
    y, members, _ = draw(2, 3, n=300, noise=1.2)
    order = equal(["a", "a", "b"], 2)(Targets(y), members).weights
    assert order == (0.5, 0.0, 0.5)
    same = equal(["a", "a", "a"], 3)(Targets(y), members).weights
    assert same == pytest.approx((1 / 3, 1 / 3, 1 / 3)), "without a choice the same backbone helps too"
    useless = members.copy()
    useless[2] = softmax(np.random.default_rng(0).normal(0, 3, members[2].shape))
    assert equal(["a", "a", "b"], 2)(Targets(y), useless).weights == (0.5, 0.5, 0.0), "it has to help"


def test_members_are_capped_and_nobody_is_judged_without_need() -> None:
    y, members, folds = draw(3, 5, n=240, noise=1.5)
    capped = choose_members(contenders(members), Targets(y), folds, "accuracy", "equal", 2)
    assert len(capped.scored) <= 2
    greedily = choose_members(contenders(members), Targets(y), folds, "log_loss", "greedy", 2)
    assert len(greedily.names) <= 2
    for way, at_most, count, reason in (
        ("none", 5, 5, "final.ensemble"),
        ("equal", 1, 5, "no more than one"),
        ("equal", 5, 1, "ties"),
    ):
        alone = choose_members(contenders(members)[:count], Targets(y), folds, "accuracy", way, at_most)
        assert numbers(alone) == [10] and alone.gain is None and reason in alone.note


def test_a_weighted_or_stacked_ensemble_gives_way_to_the_simpler_one() -> None:
    """Equally good recipes with errors of their own: nothing is better than equal weights."""
    y, members, folds = draw(4, 3, n=300, noise=1.5)
    for way in ("greedy", "stack"):
        choice = choose_members(contenders(members), Targets(y), folds, "accuracy", way, 5)
        assert choice.method == "equal" and len(set(choice.blend_weights)) == 1
        assert f"{way} ensemble" in choice.note and "over the equal average, which is used instead" in choice.note


def test_a_stack_wins_where_a_recipe_takes_one_class_for_another() -> None:
    y, members, folds = draw(5, 2, n=300, noise=0.3)
    swapped = members[:, :, [1, 0, 2]]
    swapped[0] = members[0][:, [1, 2, 0]]
    choice = choose_members(contenders(swapped), Targets(y), folds, "accuracy", "stack", 5)
    assert choice.method == "stack" and numbers(choice) == [10, 11]
    final = fit_final(swapped, Targets(y), folds, "accuracy", "stack", calibrate=True)
    assert final.method == "stack" and final.score > score("accuracy", Targets(y), swapped[0]) + 0.3
    assert final.gain.mean == pytest.approx(final.score - score("accuracy", Targets(y), swapped[0]))


@pytest.mark.parametrize("classes", [2, 3])
def test_a_stack_of_confident_members_keeps_what_they_say(classes: int) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, classes, 90)
    members = softmax(4.0 * np.eye(classes)[y] + rng.normal(0, 0.5, (2, 90, classes)))
    blend = stack(Targets(y), members)
    assert (np.array(blend.coefficients).shape, len(blend.intercepts)) == ((classes, 2 * classes), classes)
    proba = blend.probabilities(members)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    assert (proba.argmax(axis=1) == y).mean() > 0.97
    one = stack(Targets(np.zeros(5, np.int64)), members[:, :5])
    assert (one.labels(one.probabilities(members)) == 0).all(), "the only class that was seen"
    if classes == 3:
        seen = y != 1
        without = stack(Targets(y[seen]), members[:, seen])
        assert without.probabilities(members)[:, 1].max() < 1e-3, "a class without an image"


@pytest.mark.parametrize(
    "way",
    [
        mean_of_all,
        equal(["a", "b"], 2),
        greedy(2),
        stack,
        calibrated(mean_of_all),
        with_label_rule(mean_of_all, "balanced_accuracy"),
    ],
    ids=["evenly", "equal", "greedy", "stack", "calibrated", "decided"],
)
def test_nested_predictions_do_not_know_their_own_labels(way: BlendMethod) -> None:
    """Labels of one fold shuffled: its predictions stay, bit for bit."""
    y, members, folds = draw(11, 2, n=60)
    shuffled, rows = y.copy(), folds == 0
    shuffled[rows] = np.random.default_rng(0).permutation(y[rows])
    before, labels = cross_fit(way, Targets(y), members, folds).predict(members)
    after, same = cross_fit(way, Targets(shuffled), members, folds).predict(members)
    np.testing.assert_array_equal(before[rows], after[rows])
    np.testing.assert_array_equal(labels[rows], same[rows])
    np.testing.assert_allclose(before.sum(axis=1), 1.0, atol=1e-6)
    if way is stack:
        learned = [cross_fit(way, Targets(known), members, folds).blends[1] for known in (y, shuffled)]
        assert learned[0] != learned[1], "the other folds do learn from them"


def test_weights_sum_to_one_and_the_leader_takes_part() -> None:
    for seed in range(5):
        y, members, _ = draw(seed, 4, n=60, shared=1.0)
        for way in (mean_of_all, equal(["a"] * 4, 3), greedy(3)):
            weights = way(Targets(y), members).weights
            assert sum(weights) == pytest.approx(1.0) and min(weights) >= 0.0
        assert np.count_nonzero(greedy(3)(Targets(y), members).weights) <= 3
        assert equal(["a"] * 4, 3)(Targets(y), members).weights[0] > 0.0


def test_one_member_without_extras_stays_as_it_is() -> None:
    y, members, folds = draw(6, 1)
    final = fit_final(members, Targets(y), folds, "accuracy", "none", calibrate=True)
    proba, labels = final.cross_fitted.predict(members)
    np.testing.assert_array_equal(proba, members[0])
    np.testing.assert_array_equal(labels, members[0].argmax(axis=1))
    assert (final.score, final.method, final.notes) == (score("accuracy", Targets(y), members[0]), "none", ())
    assert final.gain == Gain(mean=0.0, error=0.0) and not final.gain.real


def test_a_temperature_is_fitted_where_probabilities_are_judged_and_never_moves_a_label() -> None:
    y, members, folds = draw(7, 2, noise=0.3)
    sure = np.stack([scale_temperature(member, 0.25) for member in members])
    final = fit_final(sure, Targets(y), folds, "log_loss", "equal", calibrate=True)
    assert final.blend.temperature > 2.0
    assert final.score > score("log_loss", Targets(y), sure.mean(axis=0)) + 0.1
    assert "temperature scaling" in final.notes[0] and final.notes[0].endswith("; used")
    plain = fit_final(sure, Targets(y), folds, "log_loss", "equal", calibrate=False)
    assert plain.blend.temperature == 1.0 and plain.notes == ()
    both = [f.blend.probabilities(sure) for f in (final, plain)]
    np.testing.assert_array_equal(both[0].argmax(axis=1), both[1].argmax(axis=1))
    np.testing.assert_allclose(both[0], scale_temperature(both[1], final.blend.temperature), atol=1e-6)
    assert fit_final(sure, Targets(y), folds, "accuracy", "equal", calibrate=True).blend.temperature == 1.0


@pytest.mark.slow
def test_a_rule_for_labels_is_used_only_where_it_gains() -> None:
    rng = np.random.default_rng(8)
    y = rng.choice(3, 600, p=[0.86, 0.07, 0.07])
    logits = 1.2 * np.eye(3)[y] + np.log([0.86, 0.07, 0.07]) + rng.normal(0, 0.6, (600, 3))
    members, folds = softmax(logits)[None], rng.permutation(600) % 3
    final = fit_final(members, Targets(y), folds, "balanced_accuracy", "none", calibrate=True)
    assert final.blend.offsets and final.notes[0].endswith("; used") and final.gain.real
    assert final.blend.offsets[0] < min(final.blend.offsets[1:]), "the frequent class has to be surer"
    labels = final.cross_fitted.predict(members)[1]
    assert final.score == pytest.approx(score("balanced_accuracy", Targets(y), np.eye(3)[labels]))
    even = np.repeat(np.arange(3), 60)
    good = softmax(6.0 * np.eye(3)[even] + rng.normal(0, 0.5, (180, 3)))[None]
    nothing = fit_final(good, Targets(even), rng.permutation(180) % 3, "macro_f1", "none", calibrate=True)
    assert nothing.blend.offsets == () and nothing.notes[0].endswith("; not used")


def test_a_paired_gain_has_the_error_of_the_differences() -> None:
    y, members, _ = draw(9, 2, n=200)
    hits = [(member.argmax(axis=1) == y).astype(float) for member in members]
    gain = paired_gain("accuracy", Targets(y), members[1], members[0])
    differences = hits[1] - hits[0]
    assert gain.mean == pytest.approx(differences.mean())
    assert gain.error == pytest.approx(differences.std(ddof=1) / np.sqrt(200))
    assert not Gain(mean=float("nan"), error=0.1).real and not Gain(mean=0.1, error=float("nan")).real
    assert shown_gain(Gain(mean=0.008, error=0.005), "accuracy") == "+0.8 ± 0.5 points"
    assert shown_gain(Gain(mean=-0.008, error=0.005), "log_loss") == "-0.0080 ± 0.0050"


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["macro_f1", "qwk", "balanced_accuracy"])
def test_the_jackknife_agrees_with_a_bootstrap_of_the_difference(metric: str) -> None:
    y, members, _ = draw(10, 2, n=300)
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, 300, 300) for _ in range(300)]
    spread = np.std(
        [score(metric, Targets(y[r]), members[1][r]) - score(metric, Targets(y[r]), members[0][r]) for r in draws]
    )
    assert paired_gain(metric, Targets(y), members[1], members[0]).error == pytest.approx(spread, rel=0.35)


def sided(y: NDArray[np.int64], wrong: NDArray[np.bool_], sure: float) -> NDArray[np.float32]:
    """Predictions ``(n, C)`` with probability ``sure`` for the true class, or for the next one where ``wrong``."""
    label = np.where(wrong, (y + 1) % CLASSES, y)
    return np.asarray(np.where(np.eye(CLASSES, dtype=bool)[label], sure, (1.0 - sure) / (CLASSES - 1)), np.float32)


def test_a_mean_without_real_gain_is_used_and_one_with_a_clear_loss_is_not() -> None:
    """Both recipes are right on 80 of 100 images; of the mean, the surer one decides."""
    y, folds = np.arange(100) % CLASSES, np.arange(100) // 34
    leader = sided(y, np.arange(100) % 10 < 2, 0.7)
    tied = sided(y, np.arange(100) % 10 > 7, 0.72)
    used = choose_members(contenders(np.stack([leader, tied])), Targets(y), folds, "accuracy", "equal", 5)
    assert numbers(used) == [10, 11] and used.gain is not None and not used.gained and used.gain.no_clear_loss
    worse = sided(y, np.arange(100) % 10 > 5, 0.72)
    left = choose_members(contenders(np.stack([leader, worse])), Targets(y), folds, "accuracy", "equal", 5)
    assert numbers(left) == [10] and left.gain is not None and not left.gain.no_clear_loss
    assert [name.trial for name in left.scored] == [10, 11], "the mean has a lower log loss, and was judged"


def test_imported_predictions_need_a_real_gain() -> None:
    y, folds = np.arange(100) % CLASSES, np.arange(100) // 34
    leader = sided(y, np.arange(100) % 10 < 2, 0.7)
    tied = sided(y, np.arange(100) % 10 > 7, 0.72)
    imported = PossibleMember(name=MemberName(label="big"), backbone="b", oof=tied)
    alone = choose_members([*contenders(leader[None]), imported], Targets(y), folds, "accuracy", "equal", 5)
    assert numbers(alone) == [10]
    with_own = [*contenders(np.stack([leader, tied])), imported]
    own = choose_members(with_own, Targets(y), folds, "accuracy", "equal", 5)
    assert numbers(own) == [10, 11], "the recipes need none"
    right = PossibleMember(name=MemberName(label="big"), backbone="b", oof=sided(y, np.zeros(100, bool), 0.9))
    better = choose_members([*contenders(leader[None]), right], Targets(y), folds, "accuracy", "equal", 5)
    assert numbers(better) == [10, None] and better.gained


def test_an_undefined_gain_is_neither_real_nor_without_clear_loss() -> None:
    undefined = Gain(mean=float("nan"), error=float("nan"))
    assert not undefined.real and not undefined.no_clear_loss
