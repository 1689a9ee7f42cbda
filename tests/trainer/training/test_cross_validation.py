"""Cross-validation: it learns, leaks no label, and reports exactly what it did."""

from __future__ import annotations

import math
import random
import re
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch

from tests.trainer.training.support import SMALL, ArrayPixels, after, competition, run, shapes
from trainer.batches.batch_loader import BatchLoader
from trainer.evaluation.ambiguity import Average, ambiguity, brier_scores
from trainer.evaluation.metrics import score
from trainer.evaluation.targets import Targets
from trainer.evaluation.temperature_scaling import scale_temperature
from trainer.inference.networks.views import TTA
from trainer.networks.view_averaging import choose_views, helpful_views
from trainer.recipe.recipe import Recipe
from trainer.training.folds import fold_model
from trainer.training.results import ALWAYS_TRAINED, CVResult, EpochReport, TrainingData, Verdict


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.slow
def test_it_learns_what_can_be_learned() -> None:
    reports: list[EpochReport] = []

    def watch(report: EpochReport) -> Verdict:
        reports.append(report)
        return Verdict.CONTINUE

    data = competition(150)
    result = run({"epochs": 6}, data, on_epoch=watch)
    assert result.status == "finished"
    assert result.reason == ""
    assert result.epochs_done == 6
    assert [report.epoch for report in reports] == [1, 2, 3, 4, 5, 6]
    assert result.reports == tuple(reports)
    last = reports[-1]
    assert last.metric > 0.95
    assert reports[0].train_loss > 2 * last.train_loss
    assert result.oof.dtype == np.float32
    np.testing.assert_allclose(result.oof.sum(axis=1), 1, rtol=1e-5)
    # The last report agrees with the result: last epoch, all images.
    assert last.metric == score("accuracy", Targets(data.y), result.oof)
    assert last.true_class.tolist() == result.oof[np.arange(150), data.y].tolist()
    assert math.isclose(last.mean_true_probability, last.true_class.mean(), rel_tol=1e-6)
    assert math.isclose(np.mean(last.fold_metrics), last.metric, rel_tol=1e-9)  # folds of one size
    assert result.test is not None
    assert result.test.shape == (12, 3)
    assert (result.test.argmax(axis=1) == shapes(150 + 12)[1][150:]).mean() > 0.9
    assert result.machine["device"] == "cpu"
    assert result.machine["micro_batch"] == 16
    assert result.machine["torch"] == torch.__version__


@pytest.mark.slow
def test_random_labels_are_not_learned() -> None:
    """Labels that are properties of single images can be memorised, not predicted: a leak would show as skill."""
    data = competition(150)
    shuffled = replace(data, y=np.random.default_rng(1).integers(0, 3, 150))
    result = run({"epochs": 8, "optimizer.lr": 3e-3}, shuffled)
    assert result.reports[-1].train_loss < 1.0  # it did memorise what it saw ...
    assert 0.15 < result.reports[-1].metric < 0.52  # ... and knows nothing of what it did not see


def test_no_model_sees_its_held_out_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image carries its number in its pixels; what each fold trains on is read from the tensors themselves."""
    n = 60
    images = np.zeros((n, 32, 32, 3), np.uint8) + np.arange(n, dtype=np.uint8)[:, None, None, None] * 4
    data = TrainingData(
        pixels=ArrayPixels(images, images[:0]), y=np.arange(n) % 3, folds=np.arange(n) // 20, num_classes=3
    )
    seen: dict[int, list[int]] = {0: [], 1: [], 2: []}
    original = fold_model.FoldModel._prepare

    def spy(self: fold_model.FoldModel, epoch: int, batch: int, pixels: np.ndarray, y: np.ndarray) -> object:
        numbers = pixels[:, 0, 0, 0].astype(int) // 4
        assert (y == numbers % 3).all()
        seen[self._fold].extend(numbers.tolist())
        return original(self, epoch, batch, pixels, y)

    monkeypatch.setattr(fold_model.FoldModel, "_prepare", spy)
    run({"epochs": 2}, data)
    for fold, numbers in seen.items():
        assert sorted(numbers) == sorted(2 * [i for i in range(n) if i // 20 != fold])


def test_images_outside_all_folds_are_always_trained_on_and_never_scored() -> None:
    data = competition(60)
    data.folds[:20] = ALWAYS_TRAINED
    result = run({"epochs": 2}, data)
    assert np.isnan(result.oof[:20]).all()
    assert np.isfinite(result.oof[20:]).all()
    assert np.isnan(result.reports[-1].true_class[:20]).all()
    assert result.reports[-1].metric == score("accuracy", Targets(data.y[20:]), result.oof[20:])
    assert len(result.reports[-1].fold_metrics) == 3


def test_training_on_everything() -> None:
    data = replace(competition(60), folds=np.full(60, ALWAYS_TRAINED))
    result = run({"epochs": 4}, data, keep_models=True)
    assert result.status == "finished"
    assert math.isnan(result.reports[-1].metric)
    assert math.isnan(result.reports[-1].mean_true_probability)
    assert result.reports[-1].fold_metrics == ()
    assert len(result.models) == 1
    assert np.isnan(result.oof).all()
    assert result.test is not None
    np.testing.assert_allclose(result.test.sum(axis=1), 1, rtol=1e-5)


RICH = {
    "augment.rotate": 15.0,
    "augment.hflip": 0.5,
    "augment.mix": "mixup",
    "augment.mix_prob": 0.7,
    "drop": 0.3,
    "drop_path": 0.2,
    "ema": 0.9,
    "balance": 0.5,
    "loss.class_weight": 0.5,
}


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits_whatever_ran_before() -> None:
    first = run(RICH)
    torch.manual_seed(99)
    np.random.seed(99)
    random.seed(99)
    run({"backbone": "test_vit", "epochs": 1})
    with BatchLoader() as loader:
        run({"augment.vflip": 0.5, "epochs": 1}, loader=loader)
        second = run(RICH, loader=loader)
    assert first.oof.tobytes() == second.oof.tobytes()
    assert first.test is not None
    assert second.test is not None
    assert first.test.tobytes() == second.test.tobytes()
    assert [r.train_loss for r in first.reports] == [r.train_loss for r in second.reports]
    assert run(RICH, seed=1).oof.tobytes() != first.oof.tobytes()


def imbalanced() -> TrainingData:
    data = competition(31, folds=2)
    data.y[:12] = 0
    return data


@pytest.fixture(scope="module")
def plain() -> CVResult:
    torch.set_num_threads(1)
    return run({"epochs": 2}, imbalanced())


@pytest.mark.parametrize(
    "change",
    [
        *({name: value} for name, value in RICH.items() if name not in ("augment.mix_prob",)),
        {"augment.mix": "cutmix", "augment.mix_prob": 1.0},
        {"optimizer.name": "sgd", "optimizer.lr": 0.05},
        {"optimizer.layer_decay": 0.5},
        {"optimizer.clip_grad": 0.1},
        {"schedule.name": "step"},
        {"loss.label_smoothing": 0.1},
        {"loss.focal_gamma": 2.0},
        {"loss.gce_q": 0.7},
        {"loss.bootstrap": 0.5},
        {"schedule.name": "one_cycle"},
        {"schedule.floor": 0.5},
        {"optimizer.beta2": 0.9},
        {"optimizer.head_lr": 10.0},
        {"freeze": 0.5},
        {"freeze_embed": True},
        {"swa": 0.9},
        {"batch_size": 8},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_setting_has_an_effect(change: dict[str, object], plain: CVResult) -> None:
    changed = run({"epochs": 2, **change}, imbalanced())
    assert changed.status == "finished"
    assert not np.array_equal(plain.oof, changed.oof)


@pytest.mark.parametrize("backbone", ["test_vit", "test_convnext", "test_efficientnet"])
def test_other_families_train(backbone: str) -> None:
    result = run({"backbone": backbone, "epochs": 2, "ema": 0.9, "drop_path": 0.1})
    assert result.status == "finished"
    assert np.isfinite(result.oof).all()


def test_global_generators_are_left_as_found() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    np.random.seed(5)
    state = np.random.get_state()[1].tobytes()
    run({"epochs": 1, "drop": 0.5, "balance": 1.0})
    assert torch.equal(torch.rand(3), expected)
    assert np.random.get_state()[1].tobytes() == state


def test_a_verdict_prunes() -> None:
    result = run({"epochs": 5}, on_epoch=after(2, Verdict.PRUNE))
    assert result.status == "pruned"
    assert result.reason == "pruned after epoch 2 of 5"
    assert result.epochs_done == 2
    assert result.test is None
    assert np.isfinite(result.oof).all()


def test_a_verdict_on_the_last_epoch_changes_nothing() -> None:
    for verdict in (Verdict.PRUNE, Verdict.STOP):
        result = run({"epochs": 2}, on_epoch=after(2, verdict))
        assert result.status == "finished"
        assert result.test is not None


def test_test_images_are_predicted_with_the_views_that_help() -> None:
    data, views = competition(36), ("identity", "hflip", "vflip", "hvflip")
    result = run({"epochs": 2}, data, views=views)
    helpful = helpful_views(data.targets, result.oof_views)
    assert set(result.oof_views) == set(views) and tuple(result.test_views) == helpful
    assert 0 < len(helpful) < len(views), "otherwise nothing is left out here"
    assert set(choose_views(data.targets, result.oof_views, "accuracy")[:2]) <= set(helpful)


def test_views_and_models_are_returned_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    data = competition(36)
    monkeypatch.setattr("trainer.training.final_predictions.helpful_views", lambda targets, oof_views: tuple(oof_views))
    result = run({"epochs": 2, "ema": 0.8}, data, keep_models=True, views=("identity", "hflip", "hvflip"))
    assert set(result.oof_views) == set(result.test_views) == {"identity", "hflip", "hvflip"}
    assert result.oof_views["identity"].tobytes() == result.oof.tobytes()
    assert result.test is not None
    assert result.test_views["identity"].tobytes() == result.test.tobytes()
    mirrored = replace(data, pixels=ArrayPixels(data.pixels.train, np.ascontiguousarray(data.pixels.test[:, :, ::-1])))
    assert np.isfinite(result.oof_views["hflip"]).all()
    # The returned weights are those that predicted: a network with them gives the same held-out probabilities.
    from trainer.networks.backbones import preprocessing_of
    from trainer.networks.build import create_backbone
    from trainer.networks.view_averaging import predict_proba

    recipe = Recipe.from_flat(SMALL)
    test = np.zeros((12, 3))
    for fold, state in enumerate(result.models):
        model = create_backbone(recipe, 3, weights_dir=None).eval()
        model.load_state_dict(state)
        rows = data.held_out(fold)
        options = {"preprocessing": preprocessing_of(model), "batch_size": 64, "device": "cpu"}
        again = predict_proba(model, data.pixels.train[rows], **options)["identity"]
        np.testing.assert_allclose(again, result.oof[rows], atol=1e-5)
        test += predict_proba(model, mirrored.pixels.test, **options)["identity"] / 3
    np.testing.assert_allclose(test, result.test_views["hflip"], atol=1e-5)


def test_ambiguity_is_measured_with_and_without_test_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.networks.backbones import preprocessing_of
    from trainer.networks.build import create_backbone
    from trainer.networks.view_averaging import predict_proba

    data = competition(36)
    monkeypatch.setattr("trainer.evaluation.ambiguity.LEAST_IMAGES", len(data.pixels.test))
    result = run({"epochs": 2}, data, keep_models=True)
    found = result.average
    assert found is not None and found.ambiguity > 0.0
    assert run({"epochs": 2}, data, predict_test=False).average == found, "few test images are all in the sample"
    members = []
    for state in result.models:
        model = create_backbone(Recipe.from_flat(SMALL), 3, weights_dir=None).eval()
        model.load_state_dict(state)
        proba = predict_proba(model, data.pixels.test, preprocessing=preprocessing_of(model), device="cpu")["identity"]
        members.append(scale_temperature(proba, found.temperature))
    assert found.ambiguity == pytest.approx(ambiguity(members), abs=1e-5)
    own = brier_scores(data.y, scale_temperature(result.oof, found.temperature)).mean()
    assert found.brier == pytest.approx(own - found.ambiguity, abs=1e-5)


def test_a_training_not_worth_keeping_has_neither_models_nor_further_views() -> None:
    asked: list[tuple[int, Average | None]] = []

    def no(last: EpochReport, average: Average | None) -> bool:
        asked.append((last.epoch, average))
        return False

    result = run({"epochs": 2}, keep_models=True, views=("identity", "hflip"), worth_keeping=no)
    assert asked == [(2, result.average)]
    assert result.models == () and result.oof_views == {} == result.test_views
    assert result.test is not None and np.isfinite(result.oof).all()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["hflip", "flips", "zoom", "hflip_zoom"])
def test_a_recipe_with_views_is_scored_by_their_average(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each epoch, at the end, and on the test images; the training itself is the same."""
    monkeypatch.setattr("trainer.training.final_predictions.helpful_views", lambda targets, oof_views: tuple(oof_views))
    changes, every = {"epochs": 2, "drop": 0.2, "ema": 0.8}, TTA[mode]
    plain = run(changes, views=every)
    averaged = run({**changes, "tta": mode}, views=(*every, "vflip"))
    assert [report.train_loss for report in averaged.reports] == [report.train_loss for report in plain.reports]
    expected = np.mean([plain.oof_views[view] for view in every], axis=0, dtype=np.float64)
    np.testing.assert_allclose(averaged.oof, expected, atol=1e-7)
    assert np.abs(averaged.oof - plain.oof).max() > 1e-3
    y = competition().y
    last = averaged.reports[-1]
    np.testing.assert_array_equal(last.true_class, averaged.oof[np.arange(len(y)), y])
    assert last.metric == np.mean(averaged.oof.argmax(axis=1) == y)
    assert last.mean_true_probability == pytest.approx(float(last.true_class.mean()))
    assert not np.array_equal(averaged.reports[0].true_class, plain.reports[0].true_class)
    assert averaged.test is not None
    expected = np.mean([plain.test_views[view] for view in every], axis=0, dtype=np.float64)
    np.testing.assert_allclose(averaged.test, expected, atol=1e-6)
    # Single views are the same as without the recipe's averaging.
    assert set(averaged.oof_views) == set(averaged.test_views) == {*every, "vflip"}
    for view in every:
        assert averaged.oof_views[view].tobytes() == plain.oof_views[view].tobytes()
        assert averaged.test_views[view].tobytes() == plain.test_views[view].tobytes()
    assert run({**changes, "tta": mode}, predict_test=False).test is None


def test_without_test_images_and_without_test_predictions() -> None:
    data = competition(36)
    without = replace(data, pixels=ArrayPixels(data.pixels.train, data.pixels.test[:0]))
    result = run({"epochs": 1}, without)
    assert result.test is not None
    assert result.test.shape == (0, 3)
    assert result.average is not None and result.average.ambiguity == 0.0, "no images to measure it on"
    assert run({"epochs": 1}, without, predict_test=False).test is None


def test_a_fold_smaller_than_a_batch_trains() -> None:
    result = run({"epochs": 1, "batch_size": 64}, competition(9))
    assert result.status == "finished"


@pytest.mark.slow
def test_averaged_weights_are_what_is_evaluated() -> None:
    """With a decay near one, warm-up keeps the average from sticking to the first, random weights."""
    data = competition(150)
    plain, averaged = run({"epochs": 7}, data), run({"epochs": 7, "ema": 0.9999}, data)
    assert averaged.reports[-1].metric > 0.85
    assert not np.array_equal(plain.oof, averaged.oof)
    assert [r.train_loss for r in plain.reports] == [r.train_loss for r in averaged.reports]  # training is the same


@pytest.mark.parametrize("metric", ["log_loss", "roc_auc", "qwk", "macro_f1", "balanced_accuracy"])
def test_other_metrics_are_reported(metric: str) -> None:
    data = competition(36)
    result = run({"epochs": 1}, data, metric=metric)
    assert result.reports[0].metric == pytest.approx(score(metric, Targets(data.y), result.oof))


def test_a_learning_rate_that_explodes_is_divergence() -> None:
    exploding = {"optimizer.name": "sgd", "optimizer.lr": 10.0, "optimizer.weight_decay": 1.0, "schedule.warmup": 0.0}
    result = run({"backbone": "test_vit", "batch_size": 8, "epochs": 10, **exploding})
    assert result.status == "diverged"
    assert re.fullmatch(r"the loss became \S+ in fold 0 .*, epoch [12] of 10, batch \d of 6", result.reason)


class BreaksLater(torch.nn.Module):
    """Gives NaN from its ``calls``-th training step on."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.inner = timm.create_model("test_resnet", num_classes=3)
        self.pretrained_cfg = self.inner.pretrained_cfg
        self.left = calls

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.left -= 1
        return self.inner(x) * (float("nan") if self.left < 0 else 1.0)


def test_a_loss_that_is_not_finite_names_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folds of 48 training images make 3 batches an epoch; each fold's model breaks in its fifth."""
    monkeypatch.setattr(fold_model, "create_backbone", lambda *a, **k: BreaksLater(4))
    result = run()
    assert result.status == "diverged"
    assert result.reason == "the loss became nan in fold 0 (the first is 0), epoch 2 of 3, batch 2 of 3"
    assert result.epochs_done == 1
    assert np.isfinite(result.oof).all()  # of the epoch that was complete
    assert result.test is None


def test_predictions_that_are_not_finite_are_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_model, "create_backbone", lambda *a, **k: BreaksLater(3))  # whole, but for evaluation
    original = BreaksLater.forward
    monkeypatch.setattr(
        BreaksLater, "forward", lambda self, x: original(self, x) * (1.0 if self.training else math.inf)
    )
    result = run()
    assert result.status == "diverged"
    assert "predictions that are not finite after fold 0" in result.reason
    assert result.epochs_done == 0
    assert np.isnan(result.oof).all()


def test_an_error_of_the_caller_is_passed_on() -> None:
    def fail(report: EpochReport) -> Verdict:
        raise ConnectionError("the database is gone")

    with pytest.raises(ConnectionError, match="the database is gone"):
        run(on_epoch=fail)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.array([0, 1, 3] * 4)}, "labels 0 .. 3 do not fit 3 classes"),
        ({"y": np.zeros(5, np.int64)}, "12 images, but labels of shape"),
        ({"folds": np.array([0, 2] * 6)}, "fold 1 trains on 12 images and holds out 0"),
        ({"folds": np.zeros(12, np.int64)}, "fold 0 trains on 0 images"),
        ({"folds": np.array([-2] * 6 + [0] * 6)}, "fold -2 does not exist"),
    ],
)
def test_data_that_do_not_fit_together_are_refused(change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(competition(12), **change)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_a_gpu_agrees_with_the_cpu(backbone: str) -> None:
    changes = {"backbone": backbone, "epochs": 6, "ema": 0.9, "augment.mix": "cutmix"}
    data = competition(150)
    on_gpu = run(changes, data, device="cuda")
    assert on_gpu.status == "finished"
    assert on_gpu.machine["precision"] in ("bfloat16", "float16")
    assert abs(on_gpu.reports[-1].metric - run(changes, data).reports[-1].metric) < 0.1
