"""Converted models predict what the exported ones predict, for batches of any length, and without torch."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from search.cli.app import app
from search.cli.commands.model import FormatName
from tests.trainer.images import fill_disk
from tests.trainer.inference.test_model_folder import BLEND, CLASSES, RECIPE, SECOND, folder_member, read_table
from tests.trainer.inference.test_model_folder import images_dir as images_dir
from trainer.conversion import convert as module
from trainer.conversion.convert import BATCHES, TOLERANCE, ConversionError, convert
from trainer.conversion.files import SCRATCH
from trainer.conversion.formats import FORMATS, Onnx
from trainer.conversion.portable import PortableNetwork
from trainer.inference.blend import Blend
from trainer.inference.errors import ImageError, ModelError
from trainer.inference.model_folder import load_model_folder
from trainer.inference.networks.onnx_networks import load_onnx
from trainer.inference.networks.torch_networks import predict_member
from trainer.inference.predict import predict_folder
from trainer.training.write_model_folder import FolderMember, write_model_folder

pytest.importorskip("onnxruntime", reason="ONNX needs pip install -e '.[onnx]'")
pytest.importorskip("onnxscript", reason="ONNX needs pip install -e '.[onnx]'")
pytestmark = pytest.mark.slow


def write_folder(folder: Path, *members: FolderMember, blend: Blend) -> Path:
    """A model folder whose members have one network each: conversion takes seconds for each network."""
    single = [replace(member, state_dicts=dict(list(member.state_dicts.items())[:1])) for member in members]
    write_model_folder(folder, class_names=CLASSES, members=single, blend=blend, data_fingerprint="f" * 64)
    return folder


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of one convolutional network."""
    folder = tmp_path_factory.mktemp("export") / "model"
    return write_folder(folder, folder_member(SECOND, ("identity", "zoom")), blend=Blend(weights=(1.0,)))


@pytest.fixture(scope="module")
def converted(images_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of a transformer and a convolutional network, with its ONNX files."""
    folder = tmp_path_factory.mktemp("converted") / "model"
    members = folder_member(RECIPE, ("identity", "hflip")), folder_member(SECOND, ("identity", "zoom"))
    write_folder(folder, *members, blend=BLEND)
    found = convert(folder, FORMATS["onnx"], [images_dir])
    assert found.networks == 2 and found.images == 5
    assert 0.0 <= found.difference < 1e-5
    assert found.size == sum(path.stat().st_size for path in (folder / "onnx").iterdir())
    return folder


def test_onnx_predicts_what_torch_predicts(converted: Path, images_dir: Path) -> None:
    original = predict_folder(converted, [images_dir])
    for batch_size in (1, 2, 64):
        found = predict_folder(converted, [images_dir], batch_size=batch_size, onnx=True)
        np.testing.assert_allclose(found.proba, original.proba, rtol=0.0, atol=1e-5)
        assert found.ids == original.ids and (found.labels == original.labels).all()


def test_no_torch_is_needed(converted: Path, images_dir: Path, tmp_path: Path) -> None:
    moved = tmp_path / "model"
    shutil.copytree(converted, moved)
    names = ("torch", "timm", "safetensors", "onnx", "trainer")
    blocked = f"import sys\nfor name in {names}:\n    sys.modules[name] = None\n"
    program = (moved / "predict.py").read_text(encoding="utf-8")
    (moved / "predict.py").write_text(program.replace("import sys\n", blocked, 1), encoding="utf-8")
    command = [sys.executable, "-I", str(moved / "predict.py"), "--onnx", str(images_dir)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    _, _, proba = read_table(tmp_path / "predictions.csv")
    np.testing.assert_allclose(proba, predict_folder(converted, [images_dir]).proba, rtol=0.0, atol=1e-5)


def test_a_program_of_torch_export_predicts_the_same(model_dir: Path, images_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_dir, folder)
    found = convert(folder, FORMATS["torch-export"], [images_dir])
    assert found.difference < 1e-5
    model = load_model_folder(folder)
    (member,) = model.members
    for n in (1, 3, 33):
        images = np.random.default_rng(n).integers(0, 256, (n, member.size, member.size, 3), np.uint8)
        programs = [torch.export.load(path).module() for path in found.folder.glob("*.pt2")]
        parts = [program(torch.from_numpy(images)) for program in programs]
        mean = torch.stack(parts).mean(dim=0).numpy()
        np.testing.assert_allclose(mean, predict_member(model, member, images), rtol=0.0, atol=1e-5)


def test_a_second_conversion_replaces_the_first(model_dir: Path, images_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_dir, folder)
    for _ in range(2):
        convert(folder, FORMATS["torch-export"], [images_dir])
        assert len(list((folder / "torch_export").iterdir())) == 2
        (folder / "torch_export" / "left-over.pt2").write_bytes(b"")
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_folder_of_the_user_is_left_alone(model_dir: Path, images_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_dir, folder)
    (folder / "torch_export").mkdir()
    (folder / "torch_export" / "notes.txt").write_text("mine")
    with pytest.raises(ConversionError, match="left alone"):
        convert(folder, FORMATS["torch-export"], [images_dir])
    assert [path.name for path in (folder / "torch_export").iterdir()] == ["notes.txt"]


def test_a_file_in_place_of_the_folder_is_left_alone(model_dir: Path, images_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_dir, folder)
    (folder / "torch_export").write_text("mine")
    with pytest.raises(ConversionError, match="left alone"):
        convert(folder, FORMATS["torch-export"], [images_dir])
    assert (folder / "torch_export").read_text() == "mine"


def test_an_image_that_cannot_be_read_is_named(model_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(ImageError, match=r"^a\.png: "):
        convert(model_dir, FORMATS["onnx"], [tmp_path / "a.png"])


def test_what_a_killed_conversion_left_is_removed(model_dir: Path, images_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_dir, folder)
    (folder / f"{SCRATCH}x1" / "new").mkdir(parents=True)
    convert(folder, FORMATS["torch-export"], [images_dir])
    assert not list(folder.glob(f"{SCRATCH}*"))


def test_a_folder_that_cannot_be_written_to_is_an_error_in_words(
    model_dir: Path, images_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("trainer.conversion.convert.tempfile.mkdtemp", refuse)
    with pytest.raises(ConversionError, match="cannot be written: Read-only file system"):
        convert(model_dir, FORMATS["torch-export"], [images_dir])


def test_a_full_disk_does_not_end_the_process(
    model_dir: Path, images_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_dir, folder)
    fill_disk(monkeypatch, errno.ENOSPC, room=1000)
    with pytest.raises(ConversionError, match="No space left"):
        convert(folder, FORMATS["torch-export"], [images_dir])
    assert not (folder / "torch_export").exists()


@pytest.mark.parametrize("harm", ["changed", "missing", "outside", "other weights", "no index", "no JSON", "no table"])
def test_damaged_onnx_files_are_refused(harm: str, converted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(converted, folder)
    index = folder / "onnx" / "index.json"
    content = json.loads(index.read_text(encoding="utf-8"))
    first = folder / "onnx" / content["networks"][0]["file"]
    if harm == "changed":
        first.write_bytes(first.read_bytes()[:-1])
    elif harm == "missing":
        first.unlink()
    elif harm == "outside":
        shutil.move(first, tmp_path / "elsewhere.onnx")
        content["networks"][0]["file"] = "../../elsewhere.onnx"
    elif harm == "other weights":
        content["networks"][0]["weights_sha256"] = "0" * 64
    if harm == "no index":
        index.unlink()
    elif harm == "no JSON":
        index.write_text("{", encoding="utf-8")
    else:
        index.write_text(json.dumps([] if harm == "no table" else content), encoding="utf-8")
    with pytest.raises(ModelError, match="search convert"):
        load_onnx(folder, load_model_folder(folder))


class Wrong(Onnx):
    """Writes a network whose first class is a little more probable."""

    def write(self, network: PortableNetwork, size: int, path: Path) -> None:
        super().write(torch.nn.Sequential(network, _Shift()), size, path)  # type: ignore[arg-type]


class _Shift(torch.nn.Module):
    def forward(self, proba: torch.Tensor) -> torch.Tensor:
        return proba + 2.0 * TOLERANCE


def test_a_network_that_differs_is_not_kept(model_dir: Path, images_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_dir, folder)
    before = sorted(folder.rglob("*"))
    with pytest.raises(ConversionError, match=r"test_resnet as onnx differs from the original by up to 0\.0002"):
        convert(folder, Wrong(), [images_dir])
    assert sorted(folder.rglob("*")) == before


def test_every_format_can_be_asked_for() -> None:
    assert {one.value for one in FormatName} == set(FORMATS)
    assert sum(BATCHES) == 40


def test_the_command_converts_to_what_works(
    model_dir: Path, images_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_dir, folder)

    def fail(self: Onnx, network: PortableNetwork, size: int, path: Path) -> None:
        raise RuntimeError("operator 'aten::odd' is unknown")

    monkeypatch.setattr(Onnx, "write", fail)
    done = CliRunner().invoke(app, ["convert", str(folder), str(images_dir)])
    assert done.exit_code == 0, done.output
    assert "torch-export: 1 network " in " ".join(done.output.split())
    assert "test_resnet cannot be converted to onnx: operator 'aten::odd' is unknown" in caplog.text
    assert not (folder / "onnx").exists()
    alone = CliRunner().invoke(app, ["convert", str(folder), str(images_dir), "--to", "onnx"])
    assert "converted to no format" in str(alone.exception)


def test_missing_packages_are_named(model_dir: Path, images_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConversionError, match="pip install onnx onnxscript onnxruntime"):
        convert(model_dir, FORMATS["onnx"], [images_dir])
