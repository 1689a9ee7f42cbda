"""The cells of ``docs/kaggle-notebook.md`` write submissions from an export, with every connection refused."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainer.images import save
from trainer.inference.blend import Blend
from trainer.inference.predict import predict_folder
from trainer.networks.backbones import preprocessing_of
from trainer.networks.build import create_backbone
from trainer.recipe.recipe import Recipe
from trainer.training.write_model_folder import FolderMember, write_model_folder

PAGE = Path(__file__).parents[2] / "docs" / "kaggle-notebook.md"
RECIPE = Recipe.from_flat({"backbone": "test_resnet", "init": "scratch", "image_size": 32})
CLASSES = ("healthy", "rust", "scab")
IDS = ("t3", "t1", "t4", "t2")

NO_NETWORK = """
import socket
def refuse(*arguments, **options):
    raise OSError("no network: this notebook has none")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
"""


def cells() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def kaggle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the place of ``/kaggle``: an exported model, the test images and the sample submission."""
    root = tmp_path_factory.mktemp("kaggle")
    torch.manual_seed(0)
    network = create_backbone(RECIPE, len(CLASSES), weights_dir=None)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)  # so that the images get different labels
    member = FolderMember(
        recipe=RECIPE,
        preprocessing=preprocessing_of(RECIPE.backbone),
        views=("identity",),
        state_dicts={"fold0": network.state_dict()},
    )
    model = root / "input" / "my-model" / "model"
    write_model_folder(
        model, class_names=CLASSES, members=[member], blend=Blend(weights=(1.0,)), data_fingerprint="f" * 64
    )
    for seed, name in enumerate(sorted(IDS)):
        save(root / "input" / "my-competition" / "test" / f"{name}.png", seed)
    (root / "working").mkdir()
    return root


def submission(kaggle: Path, header: tuple[str, ...], *shown: str) -> tuple[list[str], list[list[str]]]:
    """Run cells in a process of their own, without a network; header and rows of the submission that they write."""
    with (kaggle / "input" / "my-competition" / "sample_submission.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *((name, *"0" * (len(header) - 1)) for name in IDS)])
    (kaggle / "sitecustomize.py").write_text(NO_NETWORK)
    code = "\n".join(shown).replace("/kaggle/", f"{kaggle}/")
    code += "\nimport sys; assert not {'trainer', 'search'} & set(sys.modules), 'Retable is not needed'"
    environment = {**os.environ, "PYTHONPATH": str(kaggle), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=kaggle / "working", env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with (kaggle / "working" / "submission.csv").open(newline="") as file:
        first, *rows = csv.reader(file)
    return first, rows


@pytest.mark.slow
def test_the_connections_of_these_processes_are_refused(kaggle: Path) -> None:
    attempt = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')"
    with pytest.raises(AssertionError, match="this notebook has none"):
        submission(kaggle, ("id", "label"), attempt)


@pytest.mark.slow
def test_the_cells_write_labels(kaggle: Path) -> None:
    begin, labels, _ = cells()
    header, rows = submission(kaggle, ("id", "label"), begin, labels)

    expected = predict_folder(kaggle / "input/my-model/model", [kaggle / "input/my-competition/test"])
    by_id = {Path(name).stem: CLASSES[label] for name, label in zip(expected.ids, expected.labels, strict=True)}
    assert len(set(by_id.values())) > 1
    assert header == ["id", "label"]
    assert rows == [[name, by_id[name]] for name in IDS]


@pytest.mark.slow
def test_the_cells_write_probabilities(kaggle: Path) -> None:
    begin, _, probabilities = cells()
    classes = ("scab", "healthy", "rust")  # the order of the competition
    header, rows = submission(kaggle, ("image", *classes), begin, probabilities)

    expected = predict_folder(kaggle / "input/my-model/model", [kaggle / "input/my-competition/test"])
    columns = [CLASSES.index(name) for name in classes]
    by_id = {Path(name).stem: proba[columns] for name, proba in zip(expected.ids, expected.proba, strict=True)}
    assert header == ["image", *classes]
    assert [row[0] for row in rows] == list(IDS)
    np.testing.assert_allclose([[float(cell) for cell in row[1:]] for row in rows], [by_id[name] for name in IDS])
