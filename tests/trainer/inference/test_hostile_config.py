"""A config.json from anywhere ends in a `ModelError` with a message, whatever it holds."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from trainer.inference.errors import ImageError, ModelError
from trainer.inference.model_folder import load_model_folder
from trainer.inference.predict import predict_folder

DEEP = "[" * 100_000 + "]" * 100_000
FORMS: dict[str, bytes] = {
    "empty": b"",
    "no object": b"[1, 2]",
    "a number": b"3",
    "null": b"null",
    "a string": b'"model"',
    "cut off": b'{"format": 3, "class_names": ["a"',
    "two documents": b"{} {}",
    "not UTF-8": b'{"format": "\x8e\xca"}',
    "UTF-16": '{"format": 3}'.encode("utf-16"),
    "a picture": b"\x89PNG\r\n\x1a\n",
    "nested": DEEP.encode(),
    "nested objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "a key twice": b'{"format": 3, "format": 2}',
    "a constant": b'{"format": NaN}',
    "a huge number": b'{"format": 1' + b"0" * 5000 + b"}",
    "a later format": b'{"format": 99}',
    "a negative format": b'{"format": -1}',
    "a format of 1.0": b'{"format": 1.0}',
    "a format that is true": b'{"format": true}',
    "a null character": b'{"format": "\\u0000"}',
}


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_is_no_config(form: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(FORMS[form])
    with pytest.raises(ModelError) as caught:
        load_model_folder(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert len(str(caught.value)) < 1000


def load_changed(model: Path, folder: Path, path: tuple[Any, ...], value: object) -> None:
    """Load a copy of the model in which the setting at ``path`` is ``value``."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    place = config
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    shutil.copytree(model, folder, dirs_exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    load_model_folder(folder)


MEMBER = ("members", 0)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("class_names",), ["a", "\ud800"]),
        (("class_names",), ["a", "b\x1b[31m"]),
        (("class_names",), ["a", "a"]),
        (("class_names",), ["a", ""]),
        (("class_names",), ["a"] * 200_000),
        (("class_names",), {"a": 1, "b": 2}),
        (("members",), {"0": {}}),
        (("versions",), []),
        (("versions",), None),
        (("value_ranges",), [0, 1]),
        (("value_ranges",), {"integer": [1, 0]}),
        (("value_ranges",), {"integer": [0, 10**400]}),
        (("value_ranges",), {"integer": {"low": 0}}),
        ((*MEMBER, "preprocessing"), [1, 2]),
        ((*MEMBER, "preprocessing", "mean"), "123"),
        ((*MEMBER, "preprocessing", "mean"), [0, 0, 10**400]),
        ((*MEMBER, "preprocessing", "mean"), ["0", "0", "0"]),
        ((*MEMBER, "preprocessing", "std"), [True, True, True]),
        ((*MEMBER, "preprocessing", "std"), 5),
        ((*MEMBER, "preprocessing", "size"), 32.0),
        ((*MEMBER, "preprocessing", "size"), "32"),
        ((*MEMBER, "preprocessing", "resize"), {"a": 1}),
        ((*MEMBER, "preprocessing", "interpolation"), {"a": 1}),
        ((*MEMBER, "model_args"), {"img_size": 10**30}),
        ((*MEMBER, "model_args"), []),
        ((*MEMBER, "backbone"), "../../etc"),
        ((*MEMBER, "backbone"), ["test_resnet"]),
        ((*MEMBER, "backbone"), "resnet" * 2000),
        ((*MEMBER, "preprocessing", "resize"), "x" * 9000),
        ((*MEMBER, "views"), [{"a": 1}]),
        ((*MEMBER, "views"), "identity"),
        ((*MEMBER, "weights"), ["only.safetensors"]),
        ((*MEMBER, "weights"), {"file": "x", "sha256": "y"}),
        ((*MEMBER, "weights", 0, "file"), "../only.safetensors"),
        ((*MEMBER, "weights", 0, "file"), "weights/../../only.safetensors"),
        ((*MEMBER, "weights", 0, "file"), "/dev/zero"),
        ((*MEMBER, "weights", 0, "file"), "C:\\x.safetensors"),
        ((*MEMBER, "weights", 0, "file"), "a\x00.safetensors"),
        ((*MEMBER, "weights", 0, "file"), "\ud800.safetensors"),
        ((*MEMBER, "weights", 0, "file"), "x" * 5000 + ".safetensors"),
        ((*MEMBER, "weights", 0, "file"), ["a"]),
        ((*MEMBER, "weights", 0, "sha256"), None),
        (("blend", "coefficients"), 5),
        (("blend", "coefficients"), [[10**400]]),
        (("blend", "temperature"), "1"),
        (("blend", "temperature"), 10**400),
        (("blend", "temperature"), True),
        (("blend", "offsets"), ["0", "0"]),
        (("blend", "cuts"), {"a": 1}),
        (("blend", "weights"), [True]),
    ],
)
def test_a_setting_of_a_wrong_form(path: tuple[Any, ...], value: object, small_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json") as caught:
        load_changed(small_model, tmp_path / "copy", path, value)
    str(caught.value).encode()
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value).removeprefix(str(tmp_path))) < 1000


@pytest.mark.parametrize("backbone", ["resnet18", "x" * 100])
def test_the_message_of_a_wrong_backbone_is_short(backbone: str, small_model: Path, tmp_path: Path) -> None:
    """PyTorch would list every tensor that is missing, ten thousand characters of them."""
    load_changed(small_model, tmp_path / "copy", (*MEMBER, "backbone"), backbone)
    Image.new("RGB", (32, 32)).save(tmp_path / "0.png")
    with pytest.raises(ModelError, match=backbone) as caught:
        predict_folder(tmp_path / "copy", [tmp_path / "0.png"])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_thousand_unreadable_images_are_counted(small_model: Path, tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"{number}.png").write_bytes(b"no picture")
    with pytest.raises(ImageError) as caught:
        predict_folder(small_model, [tmp_path])
    lines = str(caught.value).splitlines()
    assert len(lines) == 21 and "980" in lines[-1]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PLACES: list[tuple[Any, ...]] = [
    *((key,) for key in ("format", "class_names", "members", "blend", "versions", "value_ranges")),
    *((*MEMBER, key) for key in ("backbone", "model_args", "preprocessing", "views", "weights")),
    *((*MEMBER, "preprocessing", key) for key in ("mean", "std", "size", "resize", "interpolation")),
    *((*MEMBER, "weights", 0, key) for key in ("file", "sha256")),
    *(("blend", key) for key in ("weights", "coefficients", "intercepts", "temperature", "offsets", "cuts")),
]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PLACES), JSON)
def test_any_value_anywhere_loads_or_is_refused(
    small_model: Path, tmp_path: Path, path: tuple[Any, ...], value: object
) -> None:
    try:
        load_changed(small_model, tmp_path / "copy", path, value)
    except ModelError as error:
        str(error).encode()


def test_nothing_outside_of_the_folder_is_read(small_model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small_model, copy)
    (copy / "config.json").rename(tmp_path / "config.json")
    (copy / "config.json").symlink_to(tmp_path / "config.json")
    with pytest.raises(ModelError, match="leaves the folder"):
        load_model_folder(copy)
    (copy / "config.json").unlink()
    os.mkfifo(copy / "config.json")  # reading it would wait for ever
    with pytest.raises(ModelError, match="no such file"):
        load_model_folder(copy)


def test_weights_that_are_no_file_are_refused(small_model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small_model, copy)
    weights = copy / "weights" / "only.safetensors"
    weights.unlink()
    os.mkfifo(weights)
    with pytest.raises(ModelError, match="no file"):
        load_model_folder(copy)


def test_settings_that_the_backbone_does_not_take(small_model: Path, tmp_path: Path) -> None:
    load_changed(small_model, tmp_path / "copy", (*MEMBER, "model_args"), {"img_size": 32})
    with pytest.raises(ModelError, match="cannot predict"):
        predict_folder(tmp_path / "copy", [_picture(tmp_path)])


def _picture(folder: Path) -> Path:
    from tests.trainer.images import save

    return save(folder / "1.png", 1)
