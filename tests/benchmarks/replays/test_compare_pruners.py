"""Replays on small synthetic tables of learning curves: reading, costs, winners and samplers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.replays.compare_pruners import POLICIES, halves, main
from benchmarks.replays.compare_samplers import Surrogate, compare_samplers, dimensions_of, suggest
from benchmarks.replays.curve_tables import CurveTable, CurveTableError, load_table
from benchmarks.replays.pruning_rules import Halving, Never, OptunaRule, PredictedEnd, fold_after_fold, promotions
from benchmarks.replays.pruning_rules import screen as screen_plan
from benchmarks.replays.regret import FIRST, difference, draw_orders, good_recipe_first, measure, prepare, unit_costs
from benchmarks.replays.replay import Reports, Rule, Trace
from search.tuning.promotion import Promotion
from search.tuning.successive_halving import SuccessiveHalving

R, E, N, C, K = 10, 6, 60, 3, 3


def recorded(seed: int = 0, recipes: int = R) -> dict[str, Any]:
    """Arrays as `benchmarks.replays.record_curves` writes them: the better a recipe, the higher its curve, with some
    noise.
    """
    generator = np.random.default_rng(seed)
    y = generator.integers(0, C, N)
    skill = generator.uniform(0.5, 2.5, recipes)
    pace = generator.uniform(0.3, 1.5, recipes)
    logits = generator.normal(0.0, 1.0, (recipes, E, N, C))
    grown = skill[:, None] * (1.0 - np.exp(-pace[:, None] * np.arange(1, E + 1)))
    logits[..., np.arange(N), y] += grown[:, :, None]
    proba = np.exp(logits) / np.exp(logits).sum(axis=3, keepdims=True)
    hits = proba.argmax(axis=3) == y
    folds = np.arange(N) % K
    return {
        "true_class": proba[..., np.arange(N), y].astype(np.float16),
        "metric": hits.mean(axis=2),
        "fold_metrics": np.stack([hits[:, :, folds == fold].mean(axis=2) for fold in range(K)], axis=2),
        "seconds": generator.uniform(0.5, 2.0, (recipes, 1)) * np.ones(E),
        "oof": proba[:, -1:].astype(np.float16),
        "folds": folds[None],
        "y": y,
        "fold_test": (0.3 + 0.2 * skill[:, None, None] + generator.normal(0.0, 0.01, (recipes, 1, K))).clip(0, 1),
        "ens_test": 0.3 + 0.2 * skill[:, None],
        "recipes": json.dumps(
            [
                {"backbone": "ab"[i % 2], "optimizer.lr": float(10.0 ** generator.uniform(-4, -1)), "epochs": E}
                | {"optimizer.name": ["adamw", "sgd"][int(generator.integers(2))], "mix": float(max(0, s - 1))}
                for i, s in enumerate(skill)
            ]
        ),
    }


def written(path: Path, **arrays: Any) -> Path:
    np.savez_compressed(path, **arrays)
    return path


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> CurveTable:
    return load_table(written(tmp_path_factory.mktemp("curves") / "tiny.npz", **recorded()))


class AnyRival:
    """Prunes every recipe that has a rival."""

    def stops(self, seen: Reports, recipe: int, epoch: int) -> bool:
        return len(seen.rivals(recipe, epoch)) > 0


def traces(table: CurveTable, order: np.ndarray[Any, Any]) -> dict[str, Trace]:
    setting = prepare(table, cost="seconds")
    rules: dict[str, Callable[[], Rule]] = {
        "none": Never,
        "halving": lambda: Halving(SuccessiveHalving(startup_trials=2)),
        "predicted end": lambda: PredictedEnd(chance=0.2),
        "median": lambda: OptunaRule(optuna.pruners.MedianPruner(n_startup_trials=2), "study"),
    }
    found = {name: setting.train(make(), order) for name, make in rules.items()}
    found["promoted"] = promotions(order, setting.cost, Promotion(SuccessiveHalving()), scores=table.soft)
    found["folds"] = fold_after_fold(table, order, setting.cost, optuna.pruners.MedianPruner(n_startup_trials=2), "s")
    return found


def test_both_formats_are_read(curves: CurveTable, tmp_path: Path) -> None:
    assert curves.default_first
    assert curves.truth.shape == (R,)
    assert curves.truth == pytest.approx(100.0 * recorded()["fold_test"].mean(axis=(1, 2)))
    assert len(curves.drawn.recipes) == R - 1
    proba = np.repeat(curves.oof, E, axis=1).astype(np.float16)
    shared = load_table(
        written(
            tmp_path / "shared.npz",
            oof=proba,
            y=curves.y,
            fold_test=curves.fold_test[:, 0],
            ens_test=curves.ens_test[:, 0],
            cfg=json.dumps(curves.recipes),
        )
    )
    assert shared.drawn is shared
    assert shared.metric[:, -1] == pytest.approx((curves.oof[:, 0].argmax(axis=2) == curves.y).mean(axis=1))
    assert shared.true_class[:, -1] == pytest.approx(curves.true_class[:, -1])
    assert (np.bincount(shared.folds[0]) >= N // K - 1).all()
    weights = np.bincount(shared.folds[0]) / N
    assert shared.fold_metrics @ weights == pytest.approx(shared.metric)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"y": None}, "missing: y"),
        ({"true_class": np.zeros((R, E, N - 1))}, "shape"),
        ({"oof": np.full((R, 1, N, C), np.nan)}, "oof holds values outside of 0 .. 1"),
        ({"seconds": np.zeros((R, E))}, "seconds must be above 0"),
        ({"y": np.full(N, C)}, "y holds classes outside"),
        ({"folds": np.full((1, N), K)}, "folds holds numbers outside"),
        ({"recipes": "no JSON"}, "damaged"),
        ({"recipes": "[]"}, "lists 0 recipes"),
        ({"recipes": np.array([{}], dtype=object)}, "not a table"),
        ({"weights": np.ones(4) / 4}, "belong together"),
    ],
)
def test_damaged_tables_are_refused(damage: dict[str, Any], message: str, tmp_path: Path) -> None:
    arrays = {name: value for name, value in (recorded() | damage).items() if value is not None}
    with pytest.raises(CurveTableError, match=message):
        load_table(written(tmp_path / "bad.npz", **arrays))


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04")
    np.save(tmp_path / "one.npy", np.zeros(3))
    for name in ("text.npz", "cut.npz", "one.npy", "."):
        with pytest.raises(CurveTableError, match=r"not a table of curves in NumPy's \.npz format"):
            load_table(tmp_path / name)
    with pytest.raises(CurveTableError, match="no such file; record one with"):
        load_table(tmp_path / "none.npz")


def test_orders_are_shared_and_differ_from_each_other() -> None:
    orders = draw_orders(9, 5, 2 / 3, seed=1)
    assert [order.tolist() for order in orders] == [order.tolist() for order in draw_orders(9, 5, 2 / 3, seed=1)]
    assert all(len(set(order.tolist())) == 6 for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) > 1


def test_a_good_beginning_moves_one_of_the_better_third_to_the_front_and_spares_it(curves: CurveTable) -> None:
    orders = draw_orders(R, 10, 1.0, seed=2)
    setting = prepare(curves, good_first=True)
    for order, moved in zip(orders, good_recipe_first(orders, curves), strict=True):
        assert sorted(moved.tolist()) == sorted(order.tolist())
        assert (curves.truth[order] > curves.truth[moved[0]]).sum() <= R / 3
        done = setting.train(AnyRival(), moved)
        assert done.finished(R, E).tolist() == [moved[0]]


@settings(max_examples=25)
@given(seed=st.integers(0, 50), budget=st.floats(0.1, 12.0))
def test_no_rule_spends_more_than_the_budget_or_trains_an_epoch_twice(
    curves: CurveTable, seed: int, budget: float
) -> None:
    cost = unit_costs(curves, "seconds")
    order = np.random.default_rng(seed).permutation(R)[:6]
    for name, trace in traces(curves, order).items():
        assert (np.diff(trace.spent) > 0.0).all(), name
        pairs = list(zip(trace.recipe.tolist(), trace.epoch.tolist(), strict=True))
        assert len(set(pairs)) == len(pairs), name
        done = trace.finished(budget, E)
        assert set(done.tolist()) <= set(order.tolist())
        assert cost[done].sum() <= budget * (1.0 + 1e-9), name
        if name != "folds":  # which reports folds, not epochs
            within = trace.spent <= budget
            spent = sum(cost[r, e - 1] for r, e in np.array(pairs)[within])
            assert spent == pytest.approx(trace.spent[within][-1] if within.any() else 0.0), name
    planned = screen_plan(order, cost, budget, 2, scores=curves.soft)
    assert len(planned.spent) == 0 or planned.spent[-1] <= budget * (1.0 + 1e-9)


def test_without_pruning_the_regret_is_that_of_the_first_few(curves: CurveTable) -> None:
    setting = prepare(curves)
    orders = draw_orders(R, 20, 0.7, seed=3)
    done = [setting.train(Never(), order) for order in orders]
    regrets = measure(setting, orders, [3.0, 5.0], lambda i, budget: done[i])
    for name, values in setting.selection_scores.items():
        for j, count in enumerate((3, 5)):
            direct = [
                curves.truth[order].max() - curves.truth[order[values[order[:count]].argmax()]] for order in orders
            ]
            assert regrets.picked[name][:, j] == pytest.approx(direct)
    assert (regrets.top <= regrets.picked[FIRST] + 1e-9).all()
    assert (regrets.started == [3.0, 5.0]).all()
    assert difference(regrets.top[:, 0], regrets.top[:, 0]) == (0.0, 0.0)


def test_the_replayed_halving_is_the_product_s(curves: CurveTable) -> None:
    pruner = SuccessiveHalving(startup_trials=2)
    order = np.arange(R)
    by_rule = prepare(curves).train(Halving(pruner), order)

    class Direct:
        """The pruner itself, called with a study whose trial 0 is a placeholder, because trial 0 is never pruned."""

        def __init__(self) -> None:
            self._study = optuna.create_study(direction="maximize", pruner=pruner)
            self._study.tell(self._study.ask(), state=optuna.trial.TrialState.FAIL)
            self._trial = self._study.ask()

        def stops(self, seen: Any, recipe: int, epoch: int) -> bool:
            if epoch == 1:
                self._trial = self._study.ask()
                self._trial.set_user_attr("epochs", E)
            self._trial.report(float(seen.scores[recipe, epoch - 1]), step=epoch)
            return self._trial.should_prune()

    directly = prepare(curves).train(Direct(), order)
    assert by_rule.recipe.tolist() == directly.recipe.tolist()
    assert by_rule.epoch.tolist() == directly.epoch.tolist()


def test_the_replayed_promotion_is_that_of_the_paper(curves: CurveTable) -> None:
    """Algorithm 2 of Li et al. 2020 for one worker, until the end, where Retable promotes the best of every rung."""
    factor, setting = 2, prepare(curves)
    halving = SuccessiveHalving(reduction_factor=factor, startup_trials=2)
    rungs = [*halving.rungs(E), E]
    reached: list[list[int]] = [[] for _ in rungs]
    promoted: list[set[int]] = [set() for _ in rungs]
    waiting, reports = list(range(R)), list[tuple[int, int]]()
    while True:
        job = None
        for level in reversed(range(len(rungs) - 1)):
            best = sorted(reached[level], key=lambda recipe: -curves.soft[recipe, rungs[level] - 1])
            free = [recipe for recipe in best[: len(best) // factor] if recipe not in promoted[level]]
            if free:
                promoted[level].add(free[0])
                job = (free[0], level + 1)
                break
        if job is None and not waiting:
            break
        recipe, level = job or (waiting.pop(0), 0)
        begin = rungs[level - 1] if level else 0
        reports += [(recipe, epoch) for epoch in range(begin + 1, rungs[level] + 1)]
        reached[level].append(recipe)
    trace = promotions(np.arange(R), setting.cost, Promotion(halving), scores=curves.soft)
    replayed = list(zip(trace.recipe.tolist(), trace.epoch.tolist(), strict=True))
    assert replayed[: len(reports)] == reports
    last = dict(replayed)
    assert set(last.values()) <= set(rungs), "trials end at rungs"
    assert E in last.values(), "the best of every rung goes on in the end"


def test_a_spared_recipe_never_pauses_and_workers_share_the_promotions(curves: CurveTable) -> None:
    rule, cost = Promotion(SuccessiveHalving(reduction_factor=2, startup_trials=2)), prepare(curves).cost
    alone = promotions(np.arange(R), cost, rule, scores=curves.soft, spared=0)
    assert alone.recipe[:E].tolist() == [0] * E, "like the default recipe of a study"
    three = promotions(np.arange(R), cost, rule, scores=curves.soft, workers=3, spared=0)
    assert three.started(1.0) >= 3 and set(three.recipe.tolist()) == set(range(R))
    for trace in (alone, three):
        pairs = list(zip(trace.recipe.tolist(), trace.epoch.tolist(), strict=True))
        assert len(pairs) == len(set(pairs)), "no epoch is trained twice"


def test_workers_side_by_side_spend_as_much_and_end_sooner(curves: CurveTable) -> None:
    order = np.arange(R)
    alone = prepare(curves).train(Never(), order)
    three = prepare(curves, workers=3).train(Never(), order)
    assert sorted(zip(alone.recipe, alone.epoch, strict=True)) == sorted(zip(three.recipe, three.epoch, strict=True))
    assert three.started(1.0) == 3
    assert alone.started(1.0) == 1


@pytest.mark.parametrize("folds", [3, 5])
def test_wilcoxon_cannot_stop_a_trial_before_the_fourth_fold(folds: int) -> None:
    """Three pairs of folds in a row, all worse, have p = 1/8; the default threshold is 0.1."""
    table = steadily_worse(folds)
    order = np.argsort(-table.truth)  # the best first, every other trial is worse in every fold
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        pruner = optuna.pruners.WilcoxonPruner()
    trace = fold_after_fold(table, order, unit_costs(table, "epochs"), pruner, "study")
    done = [trace.epoch[trace.recipe == recipe].max() * folds / 30 for recipe in order]
    assert done == [folds, *[min(folds, 4)] * (len(order) - 1)]


def steadily_worse(folds: int) -> CurveTable:
    """Recipes that differ by the same amount in every fold; the number of epochs is a multiple of 3 and 5."""
    skill = np.linspace(0.9, 0.5, 6)
    wiggle = 0.01 * np.arange(folds)
    base = made()
    return replace(
        base,
        metric=np.repeat(skill[:, None], 30, axis=1),
        fold_metrics=np.repeat((skill[:, None] - wiggle * (1 + skill[:, None]))[:, None], 30, axis=1),
        seconds=np.ones((6, 30)),
        fold_test=np.repeat(skill[:, None, None], folds, axis=2),
    )


def made() -> CurveTable:
    generator = np.random.default_rng(0)
    return CurveTable(
        name="made",
        true_class=generator.random((6, 30, 4)),
        metric=np.zeros((6, 30)),
        fold_metrics=np.zeros((6, 30, 3)),
        seconds=np.ones((6, 30)),
        oof=np.full((6, 1, 4, 2), 0.5, dtype=np.float32),
        folds=np.zeros((1, 4), dtype=np.int64),
        y=np.array([0, 1, 0, 1]),
        fold_test=np.zeros((6, 1, 3)),
        ens_test=np.zeros((6, 1)),
        ens_hits=None,
        averages=None,
        weights=None,
        recipes=[{} for _ in range(6)],
        oof_by_epoch=None,
    )


def test_the_command_prints_every_rule_and_writes_what_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "tiny.npz", **recorded())
    main([str(path), "--orders", "4", "--slow-orders", "2", "--budgets", "2,4", "--json", str(tmp_path / "out.json")])
    out = capsys.readouterr().out
    assert all(f"| {name} |" in out for name in POLICIES)
    assert "Optuna Wilcoxon" in out
    stored = json.loads((tmp_path / "out.json").read_text())
    assert stored["tables"][0]["table"] == "tiny"
    main([str(path), "--halves", "2", "--orders", "2"])
    assert "chosen on half of the recipes" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "none.npz")])
    assert stopped.value.code == 2


def test_settings_are_measured_on_recipes_they_were_not_chosen_on(curves: CurveTable) -> None:
    found = halves(curves, splits=2, orders=3, seed=0)
    assert sum(found["chosen"].values()) == 4
    at_reference = {"reduction_factor": 2, "startup_trials": 4, "last_rung": 1.0, "difference": 0.0}
    assert at_reference in found["fixed"]


def test_the_surrogate_knows_the_space_and_samplers_search_it() -> None:
    recipes = json.loads(recorded(recipes=40)["recipes"])
    dimensions = dimensions_of(recipes)
    assert [d.name for d in dimensions if d.choices] == ["backbone", "optimizer.name"], "epochs do not vary"
    assert {d.when for d in dimensions if d.name == "optimizer.lr"} == {
        ("optimizer.name", "adamw"),
        ("optimizer.name", "sgd"),
    }
    assert [d.off for d in dimensions if d.name == "mix"] == [True]
    drawn = suggest(optuna.create_study().ask(), dimensions)
    assert set(drawn) == {"backbone", "optimizer.name", "optimizer.lr", "mix"}


def test_samplers_are_compared_by_regret(tmp_path: Path) -> None:
    surrogate = Surrogate(load_table(written(tmp_path / "tiny.npz", **recorded(recipes=20))))
    assert np.linalg.eigvalsh(surrogate.noise).min() > -1e-9
    rows = compare_samplers(surrogate, checkpoints=[3, 6], searches={"random": 2})
    assert {row["told"] for row in rows} == {"accuracy", "soft", "calibrated soft", "accuracy + calibrated soft"}
    for row in rows:
        early, late = (float(str(row[f"{count} trials"]).split(" ")[0]) for count in (3, 6))
        assert early >= 0.0
        assert late >= 0.0
