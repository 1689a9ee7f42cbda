"""The images that trained a network, in the header of its safetensors file."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from trainer.common.errors import BackboneError
from trainer.formats.weights.origin import ENTRY, origin_entry, origin_of_all, read_origin
from trainer.formats.weights.trained_on import MOST_SETS, TrainedOn, contents_of
from trainer.training.write_model_folder import save_weights

STATE = {"weight": torch.arange(6.0).reshape(2, 3)}
OWN = TrainedOn(folder="paintings", fingerprint="a" * 64, images=3, classes=2, contents=contents_of([b"\1" * 32]))
ART = TrainedOn(folder="wikiart", fingerprint="b" * 64, images=9, classes=0, test_images=4, license_note="CC BY")


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


def header_of(path: Path, header: bytes) -> Path:
    """A file with a header and no tensors."""
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    return path


def entry(path: Path, text: object) -> Path:
    return header_of(path, json.dumps({"__metadata__": {ENTRY: text}}).encode())


SETS = st.builds(
    TrainedOn,
    folder=st.text(st.characters(exclude_categories=("C",)), max_size=20),
    fingerprint=st.text("0123456789abcdef", min_size=64, max_size=64),
    images=st.integers(1, 10**6),
    classes=st.integers(0, 10**4),
    test_images=st.integers(0, 10**6),
    several_labels=st.booleans(),
    contents=st.lists(st.binary(min_size=32, max_size=32), max_size=3).map(contents_of),
)


@given(sets=st.lists(SETS, min_size=1, max_size=MOST_SETS + 3))
def test_a_file_names_the_images_that_trained_it(
    tmp_path_factory: pytest.TempPathFactory, sets: list[TrainedOn]
) -> None:
    file = tmp_path_factory.getbasetemp() / "network.safetensors"
    save_weights(file, STATE, sets)
    assert read_origin(file) == tuple(sets[-MOST_SETS:])
    assert torch.equal(load_file(file)["weight"], STATE["weight"])


def test_the_entry_is_one_that_the_library_reads(folder: Path) -> None:
    save_weights(folder / "own.safetensors", STATE, [ART, OWN])
    with safe_open(folder / "own.safetensors", "pt") as opened:
        assert opened.metadata() == origin_entry([ART, OWN])
    assert read_origin(folder / "own.safetensors") == (ART, OWN)


def test_equal_networks_of_the_same_images_are_equal_files(folder: Path) -> None:
    for name in ("first", "second"):
        save_weights(folder / name, STATE, [ART, OWN])
    assert (folder / "first").read_bytes() == (folder / "second").read_bytes()


def test_other_files_have_no_entry(folder: Path) -> None:
    save_weights(folder / "plain.safetensors", STATE)
    save_file(STATE, folder / "other.safetensors", {"format": "pt"})
    torch.save(STATE, folder / "torch.pth")
    (folder / "empty").touch()
    (folder / "short").write_bytes(b"\1\0\0")
    header_of(folder / "list", b"[1, 2]")
    header_of(folder / "odd", b'{"__metadata__": 3}')
    (folder / "truncated").write_bytes((folder / "other.safetensors").read_bytes()[:20])
    assert [read_origin(file) for file in folder.iterdir()] == [None] * 8


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "[3]", 7, "[" * 100_000, json.dumps([{"folder": "a"}]), json.dumps([vars(OWN) | {"images": -1}])],
)
def test_a_damaged_entry_is_an_error(folder: Path, text: object) -> None:
    with pytest.raises(BackboneError, match="are damaged: their entry"):
        read_origin(entry(folder / "damaged.safetensors", text))


def test_a_missing_file_is_an_error(folder: Path) -> None:
    with pytest.raises(BackboneError, match="cannot be read: No such file"):
        read_origin(folder / "missing.safetensors")


def test_of_several_networks_each_set_counts_once_and_an_unknown_one_hides_the_others(folder: Path) -> None:
    files = [folder / name for name in "abc"]
    save_weights(files[0], STATE, [ART, OWN])
    save_weights(files[1], STATE, [OWN])
    save_weights(files[2], STATE)
    assert origin_of_all(files[:2]) == (ART, OWN)
    assert origin_of_all(files) == ()
