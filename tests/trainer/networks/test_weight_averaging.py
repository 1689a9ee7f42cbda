"""Averaged weights: timm's exponential average, a plain mean over the end, and one after the other."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import timm
import torch
from timm.utils import ModelEmaV3

from tests.trainer.training.support import SMALL, competition, run
from trainer.networks.weight_averaging import AveragedModel, StartInterpolation, averaged_model, start_interpolation
from trainer.recipe.recipe import Recipe
from trainer.training.folds.fold_model import FoldModel


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def networks() -> torch.nn.Module:
    torch.manual_seed(0)
    model: torch.nn.Module = timm.create_model("test_resnet", num_classes=3)
    return model.to(memory_format=torch.channels_last)


def wander(model: torch.nn.Module) -> None:
    """A step of some training: every weight moves, statistics and their counters too."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    model.train()(torch.randn(4, 3, 32, 32))


def walk(recipe: Recipe, steps: int) -> tuple[AveragedModel, list[dict[str, torch.Tensor]], list[bool]]:
    """Average over a walk of ``steps``; also the state after each step and whether the average counted then."""
    model = networks()
    average = AveragedModel(model, recipe, steps)
    states, counted = [], []
    for step in range(steps):
        wander(model)
        average.update(step)
        states.append(copy.deepcopy(model.state_dict()))
        counted.append(average.counts)
    return average, states, counted


def test_the_exponential_average_is_timms() -> None:
    recipe = Recipe.from_flat({"ema": 0.8})
    model = networks()
    ours = AveragedModel(model, recipe, 30)
    timms = ModelEmaV3(model, decay=0.8, use_warmup=True)
    assert ours.counts
    for step in range(30):
        wander(model)
        ours.update(step)
        timms.update(model, step=step + 1)
        expected = timms.module.state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in ours.module.state_dict().items()), step


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize(("swa", "steps", "averaged"), [(0.25, 20, 5), (0.9, 10, 9), (0.001, 10, 1)])
def test_the_equal_average_is_the_mean_of_the_last_steps(ema: float, swa: float, steps: int, averaged: int) -> None:
    """Of all weights and statistics; integers are those of the last step."""
    average, states, counted = walk(Recipe.from_flat({"swa": swa, "ema": ema}), steps)
    assert counted == [ema > 0.0] * (steps - averaged) + [True] * averaged
    for name, value in average.module.state_dict().items():
        if value.is_floating_point():
            expected = torch.stack([state[name].double() for state in states[-averaged:]]).mean(dim=0)
            torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(value, states[-1][name])


def test_nothing_moves_before_the_mean_begins() -> None:
    model = networks()
    average = AveragedModel(model, Recipe.from_flat({"swa": 0.2}), 10)
    begun = copy.deepcopy(average.module.state_dict())
    for step in range(8):
        wander(model)
        average.update(step)
    assert not average.counts
    assert all(torch.equal(value, begun[name]) for name, value in average.module.state_dict().items())


def test_no_copy_is_made_where_nothing_is_averaged() -> None:
    assert averaged_model(networks(), Recipe(), 10) is None


def fold(changes: dict[str, Any]) -> FoldModel:
    return FoldModel(
        Recipe.from_flat({**SMALL, **changes}),
        fold=0,
        seed=0,
        train_y=competition().y[competition().training_part(0)],
        num_classes=3,
        device=torch.device("cpu"),
        weights_dir=None,
    )


def epoch(model: FoldModel, number: int) -> dict[str, torch.Tensor]:
    """Train on three batches; returns the evaluated tensors."""
    data = competition()
    parts = np.array_split(data.training_part(0), 3)
    model.train_epoch(number, [(data.pixels.train[part], data.y[part]) for part in parts], 16)
    return copy.deepcopy(model.evaluated.state_dict())


def test_a_fold_is_evaluated_by_its_own_weights_until_there_is_a_mean() -> None:
    """Three epochs of three steps each, the last third averaged."""
    changes = {"swa": 1 / 3, "epochs": 3, "backbone": "test_vit"}
    averaged, plain = fold(changes), fold({**changes, "swa": 0.0})
    for number in (1, 2, 3):
        mine, raw = epoch(averaged, number), epoch(plain, number)
        same = all(torch.equal(mine[name], raw[name]) for name in raw)
        assert same is (number < 3)


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("after", [1, 2])
def test_a_mean_resumes_from_a_checkpoint(ema: float, after: int) -> None:
    """Of nine steps the last four are averaged: stopped after three, before there is a mean, and after six."""
    changes = {"swa": 0.5, "epochs": 3, "ema": ema}
    undisturbed, first = fold(changes), fold(changes)
    for number in range(1, after + 1):
        epoch(undisturbed, number)
        epoch(first, number)
    again = fold(changes)
    again.restore(copy.deepcopy(first.state()))
    before, expected = again.evaluated.state_dict(), first.evaluated.state_dict()
    assert all(torch.equal(before[name], expected[name]) for name in expected)
    for number in range(after + 1, 4):
        mine, expected = epoch(again, number), epoch(undisturbed, number)
        assert all(torch.equal(mine[name], expected[name]) for name in expected)


def test_a_copy_of_a_fold_averages_into_its_own() -> None:
    model = fold({"ema": 0.9})
    before = copy.deepcopy(model.state())
    copied = copy.deepcopy(model)
    epoch(copied, 1)
    after = copied.evaluated.state_dict()
    assert all(torch.equal(value, model.evaluated.state_dict()[name]) for name, value in before["model"].items())
    assert any(not torch.equal(after[name], before["model"][name]) for name in after)


@pytest.mark.slow
def test_a_mean_of_the_last_weights_predicts() -> None:
    settings = {"swa": 0.4, "schedule.floor": 0.3, "epochs": 6}
    result = run(settings, competition(150))
    assert result.status == "finished"
    assert result.reports[-1].metric > 0.9
    plain = run({**settings, "swa": 0.0}, competition(150))
    assert [r.train_loss for r in plain.reports] == [r.train_loss for r in result.reports]  # training is the same
    assert not np.array_equal(plain.oof, result.oof)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_an_interpolated_network_lies_between_its_start_and_the_present(share: float) -> None:
    model = networks()
    start = copy.deepcopy(model.state_dict())
    between = StartInterpolation(model)
    between.share = share
    wander(model)
    wander(model)
    present = model.state_dict()
    for name, value in between.follow(model).state_dict().items():
        if value.is_floating_point():
            expected = share * start[name].double() + (1.0 - share) * present[name].double()
            torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(value, present[name])
    assert not between.module.training


def test_no_copy_is_made_where_nothing_is_interpolated() -> None:
    assert start_interpolation(networks(), Recipe()) is None


WISE: dict[str, Any] = {"init": "pretrained", "head": "probe", "wise_ft": True}


@pytest.fixture
def random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.training.folds.fold_model.create_backbone", lambda *args, **options: networks())


@pytest.mark.usefixtures("random_weights")
@pytest.mark.parametrize("changes", [{}, {"ema": 0.9}, {"tune": "bias_norm"}], ids=str)
def test_a_fold_learns_the_same_and_is_evaluated_between_its_start_and_its_average(changes: dict[str, Any]) -> None:
    plain, mixed = fold({**WISE, **changes, "wise_ft": False}), fold({**WISE, **changes})
    start = copy.deepcopy(plain.evaluated.state_dict())
    for number in (1, 2):
        expected, found = epoch(plain, number), epoch(mixed, number)
        for name, value in found.items():
            if value.is_floating_point():
                torch.testing.assert_close(value, (start[name] + expected[name]) / 2, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("random_weights")
def test_an_interpolation_resumes_from_a_checkpoint() -> None:
    changes = {**WISE, "epochs": 2}
    undisturbed, first = fold(changes), fold(changes)
    epoch(undisturbed, 1)
    epoch(first, 1)
    again = fold(changes)
    with torch.no_grad():
        for tensor in again.state()["start"].values():
            tensor.zero_()  # as if its network had begun elsewhere
    again.restore(copy.deepcopy(first.state()))
    mine, expected = epoch(again, 2), epoch(undisturbed, 2)
    assert all(torch.equal(mine[name], expected[name]) for name in expected)
