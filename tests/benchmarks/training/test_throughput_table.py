"""The throughput benchmark on a small scale: it runs, and all rivals do the same work."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.training import plain_pytorch
from benchmarks.training.plain_pytorch import EVALUATION_BATCH, train_by_hand, train_from_tensors
from benchmarks.training.throughput import measure
from benchmarks.training.trial_study import trial_runner, write_images
from storage.values import TrialStatus, WorkKind

IMAGES, FOLDS, EPOCHS, BATCH = 52, 2, 2, 8


@pytest.fixture(scope="module")
def images_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images_dir"), IMAGES)


class Seen:
    """Counts the images that networks process, in training mode and in evaluation mode."""

    def __init__(self) -> None:
        self.images = {True: 0, False: 0}

    def watch(self, model: torch.nn.Module) -> torch.nn.Module:
        model.register_forward_pre_hook(self._count)
        return model

    def _count(self, module: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        self.images[module.training] += len(given[0])


@pytest.mark.slow
def test_a_trial_and_its_rivals_train_and_judge_the_same_number_of_images(
    images_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {}
    # A DataLoader forks, and a fork of this process could deadlock: earlier tests have left threads in it.
    monkeypatch.setattr(plain_pytorch, "LOADER_PROCESSES", 0)
    for name in ("trial", "tensors", "hand"):
        seen = Seen()
        build = plain_pytorch.timm.create_model
        with monkeypatch.context() as patched:
            patched.setattr(plain_pytorch.timm, "create_model", lambda *a, b=build, s=seen, **k: s.watch(b(*a, **k)))
            (tmp_path / name).mkdir()
            with trial_runner(
                tmp_path / name,
                images_dir,
                torch.device("cpu"),
                backbone="test_resnet",
                folds=FOLDS,
                size=32,
                epochs=EPOCHS,
                batch_size=BATCH,
            ) as runner:
                if name == "trial":
                    runner.run()  # the first trial of a study is rehearsed
                    seen.images.update({True: 0, False: 0})
                    runner.run()
                    records = runner.stores.trials.records(runner.context.study.id, kind=WorkKind.SEARCH)
                    assert [record.status for record in records] == [TrialStatus.FINISHED] * 2
                elif name == "tensors":
                    train_from_tensors(runner.workload(), channels_last=True, bfloat16=False)
                else:
                    train_by_hand(runner.workload())
        counts[name] = seen.images
    # A trial also sends one blank image through each new network.
    counts["trial"][False] -= FOLDS
    assert counts["tensors"] == {True: IMAGES * EPOCHS, False: IMAGES * EPOCHS}
    assert counts["trial"] == counts["hand"] == counts["tensors"]
    assert EVALUATION_BATCH >= BATCH


@pytest.mark.slow
def test_the_table_has_a_ratio_for_every_rival(images_dir: Path) -> None:
    given = argparse.Namespace(folds=FOLDS, size=32, epochs=1, rounds=1, no_hand=True)
    result = measure("test_resnet", BATCH, images_dir, torch.device("cpu"), given)
    seconds = result["seconds"]
    assert set(seconds) == {"trial", "ceiling", "plain ceiling"}
    assert all(len(times) == 1 and times[0] > 0 for times in seconds.values())
    assert np.isclose(result["row"]["ceiling / trial"], seconds["ceiling"][0] / seconds["trial"][0])
