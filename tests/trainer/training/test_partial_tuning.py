"""Trainings in which a part of the weights learns: which one, what is kept, and how they resume."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from tests.trainer.training.support import after, competition, first_fold, run
from tests.trainer.training.test_precisions import PRECISIONS, use
from tests.trainer.training.test_resume import assert_same
from trainer.common.errors import BackboneError
from trainer.inference.images import Normaliser
from trainer.networks.low_rank import merged_state
from trainer.recipe.exclusions import EXCLUSIONS
from trainer.recipe.recipe import LINEAR_PROBE, Recipe, RecipeError
from trainer.training.folds.fold_model import FoldModel
from trainer.training.folds.memory.gpu_memory import tensor_bytes
from trainer.training.results import Verdict

TINY = ("test_vit", "test_resnet", "test_efficientnet")
LORA: dict[str, Any] = {"backbone": "test_vit", "init": "test_vit", "tune": "lora", "optimizer.lr": 1e-2}
NORMS = (torch.nn.LayerNorm, torch.nn.GroupNorm, torch.nn.modules.batchnorm._BatchNorm)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights, of no training, for each backbone of `TINY`."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(1)
    for name in TINY:
        size = {"img_size": 32} if name == "test_vit" else {}
        torch.save(timm.create_model(name, num_classes=0, **size).state_dict(), folder / f"{name}.pth")
    return folder


def moved(model: FoldModel) -> set[str]:
    """The tensors of the evaluated network, without adapters, that an epoch changes."""
    data, before = competition(), copy.deepcopy(merged_state(model.evaluated))
    batches = [(data.pixels.train[part], data.y[part]) for part in np.array_split(data.training_part(0), 3)]
    model.train_epoch(1, batches, 16)
    later = merged_state(model.evaluated)
    assert before.keys() == later.keys()
    return {name for name in before if not torch.equal(before[name], later[name])}


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("backbone", TINY)
def test_biases_norms_and_the_classifier_learn(weights: Path, backbone: str, ema: float) -> None:
    model = first_fold(
        {"backbone": backbone, "init": backbone, "tune": "bias_norm", "norm": "frozen", "ema": ema}, weights
    )
    network = timm.create_model(backbone, num_classes=3)
    norms = {path for path, module in network.named_modules() if isinstance(module, NORMS)}
    classifier = timm.get_pretrained_cfg(backbone).classifier
    expected = {
        name
        for name, _ in network.named_parameters()
        if name.endswith(".bias") or name.rpartition(".")[0] in norms or name.startswith(f"{classifier}.")
    }
    assert 0 < len(expected) < len(list(network.parameters()))
    assert moved(model) == expected
    assert len(model.state()["optimizer"]["state"]) == len(expected)


def test_running_statistics_follow_the_setting_of_norms(weights: Path) -> None:
    changes = {"backbone": "test_resnet", "init": "test_resnet", "tune": "bias_norm"}
    statistics = {name for name, _ in timm.create_model("test_resnet", num_classes=3).named_buffers()}
    assert statistics <= moved(first_fold(changes, weights))
    assert not statistics & moved(first_fold({**changes, "norm": "frozen"}, weights))


@pytest.mark.parametrize("averaging", [{}, {"ema": 0.9}, {"swa": 0.5}], ids=str)
def test_linear_layers_and_the_classifier_learn_with_adapters(weights: Path, averaging: dict[str, Any]) -> None:
    model = first_fold({**LORA, **averaging, "epochs": 1}, weights)
    network = timm.create_model("test_vit", num_classes=3)
    linear = {f"{path}.weight" for path, module in network.named_modules() if isinstance(module, torch.nn.Linear)}
    assert moved(model) == linear | {"head.bias"}


def test_frozen_layers_stay_with_either(weights: Path) -> None:
    for tune in ("bias_norm", "lora"):
        every = moved(first_fold({**LORA, "tune": tune}, weights))
        upper = moved(first_fold({**LORA, "tune": tune, "freeze": 0.5}, weights))
        assert upper < every
        assert {name for name in every if not name.startswith(("blocks.0.", "patch_embed."))} >= upper


def test_adapters_need_less_optimizer_state_and_gradients(weights: Path) -> None:
    sizes = {}
    for tune in ("all", "bias_norm", "lora"):
        model = first_fold({**LORA, "tune": tune, "lora_rank": 2}, weights)
        moved(model)
        learning = sum(weight.nbytes for weight in model.evaluated.parameters() if weight.requires_grad)
        sizes[tune] = (learning, tensor_bytes(model.state()["optimizer"]))
    assert sizes["lora"] < (sizes["all"][0] / 4, sizes["all"][1] / 4)
    assert sizes["bias_norm"] < (sizes["all"][0] / 4, sizes["all"][1] / 4)
    assert all(state == pytest.approx(2 * learning, rel=0.05) for learning, state in sizes.values())  # AdamW


@pytest.mark.parametrize("precision", PRECISIONS)
def test_kept_models_are_ordinary_networks_that_predict_the_same(
    weights: Path, monkeypatch: pytest.MonkeyPatch, precision: torch.dtype
) -> None:
    """Whatever the precision of the training: adapters, their sum with the weights, and the last predictions have 32
    bits."""
    use(monkeypatch, precision)
    data = competition()
    result = run({**LORA, "ema": 0.9}, data, weights_dir=weights, keep_models=True)
    assert result.test is not None
    network = timm.create_model("test_vit", num_classes=3, img_size=32)
    pixels = Normaliser(network.pretrained_cfg["mean"], network.pretrained_cfg["std"], 32, torch.device("cpu"))(
        torch.from_numpy(data.pixels.test)
    )
    probabilities = []
    assert (result.status, result.machine["precision"]) == ("finished", str(precision).removeprefix("torch."))
    for state in result.models:
        assert {tensor.dtype for tensor in state.values()} == {torch.float32}
        network.load_state_dict(state, strict=True)
        with torch.no_grad():
            probabilities.append(network.eval()(pixels).softmax(1).numpy())
    assert np.allclose(np.mean(probabilities, axis=0), result.test, rtol=0, atol=1e-6)


def test_adapters_are_merged_while_the_fold_is_offloaded(weights: Path) -> None:
    model = first_fold({**LORA, "ema": 0.9}, weights)
    moved(model)
    before = copy.deepcopy(merged_state(model.evaluated))
    model.offload()
    waiting = copy.deepcopy(merged_state(model.evaluated))
    model.load()
    for state in (waiting, merged_state(model.evaluated)):
        assert all(torch.equal(state[name], before[name]) for name in before)


def test_it_learns(weights: Path) -> None:
    result = run({**LORA, "epochs": 6}, competition(n=120), weights_dir=weights)
    assert result.reports[-1].train_loss < result.reports[0].train_loss - 0.1


@pytest.mark.parametrize("tune", ["bias_norm", "lora"])
def test_a_resumed_training_equals_an_undisturbed_one(weights: Path, tmp_path: Path, tune: str) -> None:
    recipe = {**LORA, "tune": tune, "drop": 0.2, "ema": 0.9, "augment.rotate": 10.0}
    path = tmp_path / "trial.pt"
    undisturbed = run(recipe, weights_dir=weights, keep_models=True)
    stopped = run(recipe, weights_dir=weights, checkpoint=path, on_epoch=after(1, Verdict.STOP))
    assert stopped.status == "stopped"
    resumed = run(recipe, weights_dir=weights, checkpoint=path, keep_models=True)
    assert_same(undisturbed, resumed)
    for one, other in zip(undisturbed.models, resumed.models, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_parallel_folds_give_the_same_bits(weights: Path) -> None:
    torch.set_num_threads(1)
    alone = run(LORA, weights_dir=weights)
    torch.set_num_threads(3)
    parallel = run(LORA, weights_dir=weights)
    assert parallel.machine["folds_abreast"] == 3
    assert_same(alone, parallel)


def test_with_a_probe_the_training_begins_at_its_score(weights: Path) -> None:
    """The adapters begin as zero."""
    standing = {"epochs": 1, "optimizer.lr": 1e-8}
    probe = run({**LORA, "method": LINEAR_PROBE, "epochs": 1}, weights_dir=weights)
    begun = run({**LORA, **standing, "head": "probe"}, weights_dir=weights)
    assert np.allclose(probe.oof, begun.oof, atol=1e-4)


def test_a_network_of_convolutions_is_refused_with_adapters(weights: Path) -> None:
    with pytest.raises(BackboneError, match="test_resnet has none or few"):
        run({**LORA, "backbone": "test_resnet", "init": "test_resnet"}, weights_dir=weights)


@pytest.mark.parametrize("exclusion", EXCLUSIONS, ids=lambda exclusion: str(exclusion.pair))
def test_settings_that_exclude_each_other_are_refused(exclusion: Any) -> None:
    with pytest.raises(RecipeError) as error:
        Recipe.from_flat(exclusion.pair)
    assert str(error.value) == str(exclusion)
    defaults = Recipe().to_flat()
    default = defaults[exclusion.field]
    in_toml = str(default).lower() if isinstance(default, bool) else default
    assert f"set {exclusion.field} = {in_toml}" in str(exclusion)
    for field, value in exclusion.pair.items():
        if value != defaults[field]:
            Recipe.from_flat({name: other for name, other in exclusion.pair.items() if name != field})


def test_a_recipe_from_before_these_settings_means_what_it_meant() -> None:
    flat = Recipe().to_flat()
    old = {name: value for name, value in flat.items() if name not in ("tune", "lora_rank", "lora_alpha")}
    assert Recipe.from_flat(old).to_flat() == flat
    assert flat["tune"] == "all"
