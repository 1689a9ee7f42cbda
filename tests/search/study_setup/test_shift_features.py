"""``search check`` on train/test shift: it names the shifts in synthetic images, and none without a shift."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from search.report.checks.check import CheckRequest, check
from search.runtime.home import Home
from search.study_setup.data_folder import inspect
from search.study_setup.shift_features import shift_groups
from studies.settings import DataSettings
from trainer.common.errors import BackboneError
from trainer.data.image_set import DataOptions

CLASSES = ("a[b]", "c")


def paint(seed: int, changed: bool = False) -> NDArray[np.uint8]:
    """Patches of random colours, half as bright if ``changed``."""
    patches = np.random.default_rng(seed).integers(0, 256, (5, 5, 3)).astype(np.uint8)
    pixels = np.asarray(Image.fromarray(patches).resize((32, 32), Image.Resampling.BICUBIC))
    return pixels // 2 if changed else pixels


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Writes a competition of 100 training and 70 test images."""

    def write(
        test: Callable[[int], NDArray[np.uint8]], train: Callable[[int], NDArray[np.uint8]] = paint, tests: int = 70
    ) -> Path:
        folder = tmp_path / "competition"
        for name, count, draw, first in (("train", 100, train, 0), ("test", tests, test, 1000)):
            (folder / name).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(draw(first + i)).save(folder / name / f"{name}{i:03}.bmp")
        rows = [f"train{i:03},{CLASSES[i % 2]}" for i in range(100)]
        (folder / "train.csv").write_text("\n".join(["id,label", *rows]) + "\n")
        rows = [f"test{i:03},c" for i in range(tests)]
        (folder / "sample_submission.csv").write_text("\n".join(["id,label", *rows]) + "\n")
        return folder

    return write


@pytest.fixture
def checked(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """The printed check of a folder, without the hub and without cached weights."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "no cache"))

    def run(folder: Path, **options: Any) -> str:
        request = CheckRequest(labels=False, home=Home(root=tmp_path / "home"), **options)
        capsys.readouterr()
        check(folder, settings=DataSettings(), n_folds=5, request=request)
        return capsys.readouterr().out

    return run


def test_images_of_one_kind_look_alike(make: Callable[..., Path], checked: Callable[..., str]) -> None:
    out = checked(make(paint))
    assert "by descriptors of the pixels (no pre-trained backbone is at hand): AUC 0." in out
    assert "training and test images look alike" in out
    assert "most like" not in out and "weighted" not in out and "alone tells" not in out


def test_darker_test_images_are_called_darker(make: Callable[..., Path], checked: Callable[..., str]) -> None:
    """A few training images of one class are darker too; they are listed."""
    dark = range(0, 30, 2)
    folder = make(lambda i: paint(i, changed=i % 4 > 0), lambda i: paint(i, changed=i in dark))
    out = checked(folder)
    assert "they differ" in out
    assert "  test images are darker (brightness alone: 0." in out
    listed = out.split("training images most like test images:\n")[1].splitlines()[:5]
    assert all(line.strip().startswith("train0") and "(a[b]): 0." in line for line in listed), "names are not markup"
    assert {int(line.split()[0].removeprefix("train")) for line in listed} <= set(dark)
    assert "  in the third of the training images that is most like test images:\n    a[b]: " in out
    assert "100 training images have the effective sample size " in out
    quiet = checked(folder, shift=False)
    assert "shift" not in quiet and "test images: 70" in quiet


@pytest.mark.slow
def test_image_sides_are_reported_first_and_separately_from_image_content(
    make: Callable[..., Path], checked: Callable[..., str]
) -> None:
    out = checked(make(lambda i: np.ascontiguousarray(np.kron(paint(i), np.ones((2, 2, 1), np.uint8)))))
    lines = [line for line in out.splitlines() if line.startswith("train/test shift")]
    assert lines[0].startswith("train/test shift: image sides alone") and "AUC 1.00 ± 0.00: a leak" in lines[0]
    assert lines[1].startswith("train/test shift: file size alone")
    assert lines[2].startswith("train/test shift by descriptors")


def test_few_test_images_are_not_compared(make: Callable[..., Path], checked: Callable[..., str]) -> None:
    assert "not measured: 100 training and 5 test images; at least 20" in checked(make(paint, tests=5))


@pytest.mark.slow
def test_comparison_by_a_given_backbone(make: Callable[..., Path], checked: Callable[..., str], tmp_path: Path) -> None:
    folder = make(lambda i: paint(i, changed=True))
    with pytest.raises(BackboneError, match="no backbone 'resnet_18'"):
        checked(tmp_path / "nowhere", backbone="resnet_18")
    with pytest.raises(BackboneError, match="not at hand"):
        checked(folder, backbone="test_resnet.r160_in1k", weights=folder)
    torch.manual_seed(0)
    state = timm.create_model("test_resnet.r160_in1k", pretrained=False).state_dict()
    save_file(state, folder / "test_resnet.r160_in1k.safetensors")
    out = checked(folder, backbone="test_resnet.r160_in1k", weights=folder)
    assert "shift by frozen features of test_resnet.r160_in1k: AUC " in out and "they differ" in out
    assert "darker" not in out


def test_near_duplicates_of_training_and_test_images_share_a_group(make: Callable[..., Path]) -> None:
    """Test image 3 equals training images 2 and 8; test image 6 equals test image 5."""
    folder = make(
        lambda i: paint({1003: 2, 1006: 1005}.get(i, i)),
        lambda i: paint(2 if i == 8 else i),
    )
    groups = shift_groups(inspect(folder, DataOptions()))
    assert groups.shape == (170,)
    assert groups[2] == groups[8] == groups[103]
    assert groups[105] == groups[106]
    assert len(np.unique(groups)) == 170 - 3
