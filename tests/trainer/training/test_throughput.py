"""Measuring a training's speed and memory."""

from __future__ import annotations

import pytest
import torch

import trainer.training.throughput
from trainer.common.errors import BackboneError
from trainer.networks.architectures import Architecture
from trainer.recipe.recipe import Recipe
from trainer.training.throughput import (
    CLASSES,
    CPU_BATCH,
    TooLarge,
    batch_on,
    best_device,
    device_name,
    measure_training,
    rehearse_epoch,
)

CPU = torch.device("cpu")


def test_memory_holds_weights_gradients_optimizer_and_activations_that_grow_with_the_image() -> None:
    import timm

    small, large = (measure_training("test_resnet", size, CPU) for size in (64, 128))
    assert small.images_per_second > large.images_per_second > 0
    model = timm.create_model("test_resnet", num_classes=CLASSES)
    weights = sum(weight.nbytes for weight in model.parameters())
    # Four times the pixels, four times the activations; the rest is weights, gradients and two moments of AdamW.
    state = (4 * small.memory - large.memory) / 3
    assert 4.0 * weights < state < 4.2 * weights
    assert small.memory > state


def test_the_random_generator_stays_as_it_was() -> None:
    before = torch.get_rng_state()
    measure_training("test_vit", 160, CPU)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_too_large_for_the_cpus_memory_is_refused_before_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    huge = Architecture(parameters=10**13, classifies=True)
    monkeypatch.setattr("trainer.networks.architectures.architecture_of", lambda name: huge)
    with pytest.raises(TooLarge, match=r"test_resnet needs 149011\.6 GiB without any images; \d"):
        measure_training("test_resnet", 64, CPU)


def test_running_out_of_memory_is_reported_as_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory\nand more")

    monkeypatch.setattr(trainer.training.throughput, "_measure", full)
    with pytest.raises(TooLarge, match=r"^test_resnet at 64 px and 8 images does not fit: CUDA out of memory$"):
        measure_training("test_resnet", 64, CPU)


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(BackboneError, match="no backbone 'resnet17'"):
        measure_training("resnet17", 64, CPU)


RECIPE = Recipe.from_flat({"backbone": "test_resnet", "init": "scratch", "image_size": 32, "batch_size": 8})


class Steps:
    """A clock that a step moves on by one of the given seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *seconds: float) -> None:
        self.now, self.steps, self._seconds = 0.0, 0, list(seconds)
        monkeypatch.setattr("torch.get_num_threads", lambda: 1)
        monkeypatch.setattr("trainer.training.folds.fold_model.FoldModel.rehearse", self._step)

    def _step(self, batch: int) -> None:
        assert batch == RECIPE.batch_size
        self.now += self._seconds[self.steps]
        self.steps += 1

    def rehearse(self) -> float:
        found = rehearse_epoch(
            RECIPE, images=100, folds=5, num_classes=3, device=CPU, weights_dir=None, clock=lambda: self.now
        )
        assert found is not None
        return found.epoch


def test_a_rehearsal_counts_the_steps_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(monkeypatch, 3.0, 0.8, 1.6, 0.8)
    # 100 images, each trained in four folds and predicted in the fifth, at 0.1 seconds an image.
    assert steps.rehearse() == pytest.approx(100 * 0.1 * (4 + 1 / 3))


def test_of_a_slow_network_one_step_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(monkeypatch, 40.0)
    assert steps.rehearse() == pytest.approx(100 * 5.0 * (4 + 1 / 3))
    assert steps.steps == 1


def test_a_rehearsal_that_runs_out_of_memory_predicts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("trainer.training.folds.fold_model.FoldModel.rehearse", full)
    assert rehearse_epoch(RECIPE, images=100, folds=5, num_classes=3, device=CPU, weights_dir=None) is None


def test_a_rehearsal_leaves_the_random_generator_as_it_was() -> None:
    before = torch.get_rng_state()
    found = rehearse_epoch(RECIPE, images=100, folds=5, num_classes=3, device=CPU, weights_dir=None)
    assert found is not None and found.epoch > 0.0
    assert 0.0 < found.prediction < found.epoch / 100, "an image is trained in four folds"
    assert torch.equal(torch.get_rng_state(), before)


def test_a_device_is_named_with_its_batch() -> None:
    assert batch_on(CPU) == CPU_BATCH
    assert device_name(CPU).endswith(("thread", "threads"))
    assert best_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_peak_is_what_cuda_says() -> None:
    measured = measure_training("test_resnet", 64, best_device())
    assert 4 * 4 * 480_000 < measured.memory < 2**30
    assert measured.images_per_second > 100
