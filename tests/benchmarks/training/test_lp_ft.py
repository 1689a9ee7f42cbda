"""The benchmark of fine-tuning that begins with a linear probe's classifier, on a small scale."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.training.lp_ft import Run, draw, main, order_rows, pair_rows, recipe_rows
from tests.benchmarks.training.shape_folders import write_shapes
from tests.trainer.training.support import run, shapes
from trainer.data.read import read_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of 12 to 22 images, and a class of a single one."""
    folder = write_shapes(tmp_path / "shapes")
    (folder / "rare").mkdir()
    Image.fromarray(shapes(50)[0][0][::-1]).save(folder / "rare" / "0.png")
    return folder


@pytest.mark.slow
def test_a_small_run_trains_every_pair_and_writes_it(folder: Path, tmp_path: Path) -> None:
    torch.save(run({"epochs": 1}, keep_models=True).models[0], tmp_path / "mine.pth")
    small = ["--images", "36", "--folds", "2", "--size", "32", "--epochs", "2", "--lr", "1e-3", "--seeds", "2"]
    own = ["--backbone", "test_resnet", "--init", "mine", "--weights", str(tmp_path)]
    assert main([str(folder), *small, *own, "--json", str(tmp_path / "lp_ft.json")]) == 0
    runs = json.loads((tmp_path / "lp_ft.json").read_text())["runs"]
    assert len(runs) == 2 * (1 + 6)
    assert [len(one["accuracy"]) for one in runs] == 2 * [1, 2, 2, 2, 2, 2, 2]


def test_missing_weights_end_it_with_a_message(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(folder), "--backbone", "test_resnet", "--init", "mine", "--weights", str(tmp_path), "--size", "32"])
    assert ended.value.code == 2
    assert "mine" in capsys.readouterr().err


def test_a_draw_has_as_many_images_of_each_class(folder: Path) -> None:
    image_set = read_images(folder, verify=False)
    drawn = draw(image_set, images=20, classes=2, folds=3, seed=1)
    assert drawn.class_counts().tolist() == [10, 10]
    labels = [image_set.class_names[image_set.y[image_set.train_ids.index(name)]] for name in drawn.train_ids]
    assert labels == [drawn.class_names[label] for label in drawn.y]
    assert draw(image_set, images=20, classes=2, folds=3, seed=1).train_ids == drawn.train_ids
    assert len(draw(image_set, images=20, classes=9, folds=3, seed=1).class_names) == 3  # one image cannot be split
    with pytest.raises(ValueError, match="two are needed"):
        draw(image_set, images=20, classes=2, folds=40, seed=1)


def made_up(head: str, lr: float, first: float, last: float, seed: int = 1) -> Run:
    return Run(
        data="d",
        seed=seed,
        head=head,
        norm="batch",
        lr=lr,
        accuracy=(first, last),
        first_probability=first,
        seconds=2.0,
    )


def test_the_tables_compare_pairs_and_orders() -> None:
    runs = [
        made_up("random", 0.1, 0.2, 0.8),
        made_up("probe", 0.1, 0.7, 0.9),
        made_up("random", 0.2, 0.3, 0.6),
        made_up("probe", 0.2, 0.5, 0.7),
    ]
    assert [row["gain of the probe's head"] for row in pair_rows(runs)] == ["10.0", "10.0"]
    assert [(row["recipes"], row["rank correlation"]) for row in order_rows(runs)] == [
        ("head = random", "-1.00"),
        ("head = probe", "1.00"),
        ("all", "0.40"),
    ]
    assert [row["leader after epoch 1 is behind by"] for row in order_rows(runs)] == ["20.0", "0.0", "0.0"]
    assert np.isclose(float(str(recipe_rows(runs)[0]["last epoch"])), 80.0)


def test_the_order_is_that_of_the_heads_that_were_trained() -> None:
    probe = made_up("random", 0.0, 0.9, 0.9)  # the linear probe itself
    runs = [probe, made_up("probe", 0.1, 0.7, 0.9), made_up("probe", 0.2, 0.5, 0.7)]
    assert [row["recipes"] for row in order_rows(runs)] == ["head = probe"]


def test_several_draws_have_a_standard_error() -> None:
    runs = [
        made_up(head, 0.1, 0.5, last, seed)
        for seed, (random, probe) in enumerate([(0.5, 0.6), (0.5, 0.8)])
        for head, last in (("random", random), ("probe", probe))
    ]
    runs += [made_up("probe, wise_ft", 0.1, 0.5, 0.7, seed) for seed in (0, 1)]
    (row,) = pair_rows(runs)
    assert row["gain of wise_ft"] == "0.0 ± 10.0"
    assert (row["draws"], row["gain of the probe's head"]) == (2, "20.0 ± 10.0")
