"""A model folder is complete or absent, holds what was trained, and never replaces something else."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from trainer import inference
from trainer.inference.blend import Blend
from trainer.inference.errors import ModelError
from trainer.inference.model_folder import load_model_folder
from trainer.inference.networks.torch_networks import read_weights
from trainer.networks.backbones import preprocessing_of
from trainer.networks.build import create_backbone
from trainer.recipe.recipe import Recipe
from trainer.training.write_model_folder import FolderMember, save_weights, write_model_folder

RECIPE = Recipe.from_flat({"backbone": "test_convnext", "init": "scratch", "image_size": 48, "augment.hflip": 0.25})


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return create_backbone(RECIPE, 2, weights_dir=None).state_dict()


def member(
    states: Mapping[str, Mapping[str, torch.Tensor]], views: Sequence[str] = ("identity",), recipe: Recipe = RECIPE
) -> FolderMember:
    return FolderMember(recipe=recipe, preprocessing=preprocessing_of(recipe.backbone), views=views, state_dicts=states)


def write(folder: Path, *members: FolderMember, **changes: Any) -> None:
    settings: dict[str, Any] = {
        "class_names": ["a", "b"],
        "blend": Blend(weights=(1.0 / max(1, len(members)),) * len(members)),
        "data_fingerprint": "abc",
        "extra": {"score": 0.5},
    }
    write_model_folder(folder, members=members, **{**settings, **changes})


def weights_of(folder: Path) -> list[str]:
    return [path.name for member in load_model_folder(folder).members for path in member.weights]


def test_a_model_folder_holds_what_was_trained(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    folder = tmp_path / "deep" / "model"
    write(folder, member({"seed0-fold1": state}))
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    source = Path(inference.__file__).parent
    modules = sorted(source.rglob("*.py"))
    copies = [f"inference/{module.relative_to(source)}" for module in modules]
    assert files == ["config.json", *copies, "predict.py", "weights/seed0-fold1.safetensors"]
    assert list(folder.parent.iterdir()) == [folder]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (kept,) = config["members"]
    assert Recipe.from_flat(kept["recipe"]) == RECIPE
    assert kept["preprocessing"]["size"] == 48
    assert config["data_fingerprint"] == "abc"
    assert config["extra"] == {"score": 0.5}
    assert {"torch", "timm", "numpy", "python"} <= set(config["versions"])
    assert [(folder / copy).read_bytes() for copy in copies] == [module.read_bytes() for module in modules]
    stored = folder / kept["weights"][0]["file"]
    assert kept["weights"][0]["sha256"] == hashlib.sha256(stored.read_bytes()).hexdigest()
    written = load_file(stored)
    assert set(written) == set(state)
    assert all(torch.equal(written[key], value) for key, value in state.items())
    assert load_model_folder(folder).members[0].weights == (stored.resolve(),)


def test_a_newer_model_replaces_an_older_one(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    write(tmp_path / "model", member({"old": state}))
    write(tmp_path / "model", member({"new": state}))
    assert weights_of(tmp_path / "model") == ["new.safetensors"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_something_else_is_never_replaced(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").touch()
    (tmp_path / "file").touch()
    for name in ("photos", "file"):
        with pytest.raises(ModelError, match="left alone"):
            write(tmp_path / name, member({"fold0": state}))
    assert (tmp_path / "photos" / "holiday.jpg").exists()
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty", member({"fold0": state}))


class Breaking(dict[str, dict[str, torch.Tensor]]):
    """States of which the second cannot be loaded."""

    def items(self) -> Any:
        yield next(iter(super().items()))
        raise OSError("disk gone")


def test_a_failure_leaves_the_older_model_and_nothing_half_written(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    write(tmp_path / "model", member({"old": state}))
    with pytest.raises(OSError, match="disk gone"):
        write(tmp_path / "model", member(Breaking(new=state, other=state)))
    with pytest.raises(ModelError, match="views"):
        write(tmp_path / "model", member({"new": state}, views=("rot90",)))
    with pytest.raises(ModelError, match="same name"):
        write(tmp_path / "model", member({"new": state}), member({"new": state}))
    with pytest.raises(ModelError, match="weights are not 1"):
        write(tmp_path / "model", member({"new": state}), blend=Blend(weights=(0.5, 0.5)))
    with pytest.raises(ValueError, match="JSON"):
        write(tmp_path / "model", member({"new": state}), extra={"score": float("nan")})
    assert weights_of(tmp_path / "model") == ["old.safetensors"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", "a b"])
def test_names_that_would_leave_the_folder_are_refused(
    tmp_path: Path, state: dict[str, torch.Tensor], name: str
) -> None:
    with pytest.raises(ModelError, match="name of a weights file"):
        write(tmp_path / "model", member({name: state}))
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_weights_is_refused(tmp_path: Path) -> None:
    for members in ((), (member({}),)):
        with pytest.raises(ModelError, match="at least one"):
            write(tmp_path / "model", *members)


def test_shared_and_strided_tensors_are_saved_as_values(tmp_path: Path) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    path = tmp_path / "new" / "fold0.safetensors"
    save_weights(path, {"a": shared, "b": shared, "c": shared.T, "n": torch.tensor(3)})
    written = load_file(path)
    assert torch.equal(written["b"], shared)
    assert torch.equal(written["c"], shared.T)
    assert written["n"].item() == 3
    assert [file.name for file in path.parent.iterdir()] == ["fold0.safetensors"]


def write_half(monkeypatch: pytest.MonkeyPatch, message: str) -> None:
    """Let safetensors write some bytes and then fail with ``message``."""

    def save_half(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise SafetensorError(message)

    monkeypatch.setattr(safetensors.torch, "save_file", save_half)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EACCES])
def test_weights_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    path = tmp_path / "fold0.safetensors"
    save_weights(path, {"a": torch.ones(2)})
    whole = path.read_bytes()
    write_half(monkeypatch, f"Error while serializing: I/O error: in Rust's words (os error {code})")
    for name in ("fold0.safetensors", "fold1.safetensors"):
        with pytest.raises(OSError, match=name) as caught:
            save_weights(tmp_path / name, {"a": torch.zeros(2)})
        assert caught.value.errno == code
    assert [file.name for file in tmp_path.iterdir()] == ["fold0.safetensors"]
    assert path.read_bytes() == whole


def test_what_safetensors_itself_refuses_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_half(monkeypatch, "Error while serializing: something else")
    with pytest.raises(SafetensorError, match="something else"):
        save_weights(tmp_path / "fold0.safetensors", {"a": torch.zeros(2)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_weights_have_the_mode_that_the_umask_gives(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        save_weights(tmp_path / "fold0.safetensors", {"a": torch.ones(2)})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "fold0.safetensors").stat().st_mode) == mode


def test_weights_are_read_from_a_folder_whose_name_is_not_utf8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode("コンペ".encode("shift_jis"))
    save_weights(folder / "fold0.safetensors", {"a": torch.ones(2)})
    assert torch.equal(read_weights(folder / "fold0.safetensors")["a"], torch.ones(2))
