"""What is wrong with a file of weights: one short clause for each kind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from trainer.common.errors import BackboneError
from trainer.formats.weights.problems import misfit_because, unreadable_because
from trainer.networks.pretrained.create import create_pretrained
from trainer.networks.pretrained.load_weights import read_state_dict

LONGEST = 400  # characters of a message about one file


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("weights") / "whole.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=10).state_dict(), file)
    return file.read_bytes()


def problem_of(file: Path, content: bytes) -> str:
    file.write_bytes(content)
    with pytest.raises(BackboneError) as caught:
        read_state_dict(file)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < LONGEST + len(str(file))
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html>\n<html><body>404</body></html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n", "Git LFS"),
        (b"PK\x03\x04" + bytes(100), r"format of PyTorch: name it weights\.pth"),
        (b"no weights at all, but a line of text", "not in the format of safetensors"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    assert re.search(problem, problem_of(tmp_path / "weights.safetensors", content))


@pytest.mark.parametrize("left", [9, 100, 5000, -1])
def test_a_truncated_file_is_called_so(tmp_path: Path, whole: bytes, left: int) -> None:
    message = problem_of(tmp_path / "weights.safetensors", whole[:left])
    assert "truncated" in message or left == 9
    if left in (5000, -1) and len(whole[:left]) > 8 + int.from_bytes(whole[:8], "little"):
        assert f"of {len(whole):,} bytes" in message


def test_files_of_pytorch(tmp_path: Path, whole: bytes) -> None:
    file = tmp_path / "weights.pth"
    assert "name it weights.safetensors" in problem_of(file, whole)
    torch.save({"a": torch.zeros(1000)}, file)
    assert "truncated" in problem_of(file, file.read_bytes()[:-500])
    message = problem_of(file, b"no weights at all, but a line of text")
    assert "not in the format of PyTorch" in message and "weights_only" not in message


@given(content=st.binary(max_size=200))
def test_any_bytes_have_a_problem_in_one_line(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.mktemp("bytes") / "weights.safetensors"
    file.write_bytes(content)
    shown = unreadable_because(file, ValueError("unknown"))
    assert shown and "\n" not in shown and len(shown) < LONGEST


def test_the_weights_of_another_network_are_counted() -> None:
    state = timm.create_model("test_resnet", num_classes=10).state_dict()
    with pytest.raises(BackboneError) as caught:
        create_pretrained("test_efficientnet", state, 10, {})
    message = str(caught.value)
    assert "another network" in message and "missing, such as" in message and "unknown, such as" in message
    assert "\n" not in message and len(message) < LONGEST


def test_other_shapes_are_counted_and_other_errors_kept() -> None:
    first, second = torch.nn.Linear(3, 2), torch.nn.Linear(4, 2)
    with pytest.raises(RuntimeError) as caught:
        first.load_state_dict(second.state_dict())
    assert misfit_because(caught.value) == "tensors: 1 of another shape, such as weight: [2, 4] instead of [2, 3]"
    assert misfit_because(KeyError("conv1")) == (
        "timm stopped at the tensor conv1 while it converted them; they seem to be those of another network"
    )
    assert misfit_because(KeyError())
