"""JSON of any form that names images which are not to be used, or divides them deeper than is read."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.common.errors import DataError
from trainer.data.read import read_images

NAMES = tuple(f"{name}{number}.png" for name in ("cat", "dog") for number in range(6))
LABELS = [name[:3] for name in NAMES]
SOME = NAMES[::3]
TRAIN = [name for name in NAMES if name not in SOME]


def animals(root: Path, content: Any, file: str, *, folders: bool) -> Path:
    """Six images of two classes, in class folders or beside a table, and a file of JSON."""
    for seed, (name, label) in enumerate(zip(NAMES, LABELS, strict=True)):
        save(root / (label if folders else "images") / name, seed, 8)
    if not folders:
        rows = [f"{name},{label}" for name, label in zip(NAMES, LABELS, strict=True)]
        (root / "labels.csv").write_text("\n".join(("image,label", *rows)))
    (root / file).write_text(json.dumps(content))
    return root


@pytest.mark.parametrize("folders", [False, True])
@pytest.mark.parametrize("file", ["exclude.json", "blacklist.json", "corrupted.json", "bad_images.json"])
@pytest.mark.parametrize(
    "content",
    [
        SOME,
        [name[:-4] for name in SOME],
        {"images": SOME},
        {"reason": "unsharp", "version": 1, "images": [{"file": name} for name in SOME]},
        {"blurry": SOME[:2], "twice": SOME[2:]},
        {name: {"why": "blurry"} for name in SOME},
    ],
)
def test_images_that_are_not_to_be_used_are_a_question(tmp_path: Path, content: Any, file: str, folders: bool) -> None:
    message = problems_of(animals(tmp_path, content, file, folders=folders))
    assert f"{file} lists 4 images" in message and "these are not to be used" in message
    (tmp_path / file).unlink()
    assert labels_of(read_images(tmp_path, verify=False)) == LABELS


@pytest.mark.parametrize("folders", [False, True])
@pytest.mark.parametrize("content", [["node_modules", "dist"], {"files": [], "version": "1"}, {"exclude": ["*.tmp"]}])
def test_a_list_of_other_things_is_none(tmp_path: Path, content: Any, folders: bool) -> None:
    found = read_images(animals(tmp_path, content, "exclude.json", folders=folders), verify=False)
    assert labels_of(found) == LABELS


@pytest.mark.parametrize("folders", [False, True])
@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("split.json", [{"train": TRAIN, "test": SOME}]),
        ("folds.json", {"train_files": TRAIN, "test_files": SOME}),
        ("split.json", {"default": {"train": TRAIN, "val": SOME}}),
        ("folds.json", {"fold_0": {"train": TRAIN, "test": SOME}}),
        ("cv.json", [{"fold": fold, "train": TRAIN[fold:], "test": SOME} for fold in range(2)]),
        ("data.json", {"data": {"parts": {"Training": {"cat": TRAIN[:4], "dog": TRAIN[4:]}, "Test": {"cat": SOME}}}}),
        ("info.json", {name: {p: [x for x in part if name in x] for p, part in (("train", TRAIN), ("test", SOME))}
                       for name in ("cat", "dog")}),
    ],
)  # fmt: skip
def test_parts_that_lie_deeper_are_a_question(tmp_path: Path, file: str, content: Any, folders: bool) -> None:
    message = problems_of(animals(tmp_path, content, file, folders=folders))
    assert f"{file} seems to divide the images into parts" in message and "4 images, such as" in message
    (tmp_path / file).unlink()
    (tmp_path / "split.json").write_text(json.dumps({"train": TRAIN, "test": SOME}))  # as the message says
    assert len(read_images(tmp_path, verify=False).train_ids) == len(TRAIN)


@pytest.mark.parametrize("folders", [False, True])
def test_a_cross_validation_holds_no_image_back(tmp_path: Path, folders: bool) -> None:
    folds = [set(NAMES[fold::3]) for fold in range(3)]
    content = {
        str(number): {"train": sorted({*NAMES} - fold), "val": sorted(fold)} for number, fold in enumerate(folds)
    }
    found = read_images(animals(tmp_path, content, "folds.json", folders=folders), verify=False)
    assert labels_of(found) == LABELS


@pytest.mark.parametrize("folders", [False, True])
def test_numbers_of_each_part_divide_nothing(tmp_path: Path, folders: bool) -> None:
    content = {"cat": {"train": [3, 1], "test": [2]}, "history": [{"train": {"loss": 0.1}, "val": {"loss": 0.2}}]}
    found = read_images(animals(tmp_path, content, "statistics.json", folders=folders), verify=False)
    assert labels_of(found) == LABELS


@pytest.mark.parametrize("folders", [False, True])
@pytest.mark.parametrize("content", [SOME, {"images": SOME}, {"blurry": SOME[:2], "dark": SOME[2:]}])
def test_lists_of_doubtful_images_are_a_warning(tmp_path: Path, content: Any, folders: bool) -> None:
    found = read_images(animals(tmp_path, content, "unsure.json", folders=folders), verify=False)
    assert labels_of(found) == LABELS
    assert any("not used: unsure.json, which names 4 training images" in warning for warning in found.warnings)


DOCUMENTS: dict[str, Any] = {
    "dataset-metadata.json": {"title": "Animals", "id": "user/animals", "licenses": [{"name": "CC0-1.0"}]},
    "croissant.json": {"@type": "sc:Dataset", "distribution": [{"name": "a.zip"}, {"includes": "*.jpg"}]},
    "metadata.json": {"metadata": {"title": "Animals", "image": "cover.png"}, "files": [{"key": "images.zip"}]},
    "trainer_state.json": {"epoch": 3.0, "log_history": [{"loss": 0.1, "step": 1}], "train_batch_size": 8},
    "package.json": {"name": "x", "version": "1.0.0"},
    "train_config.json": {"id2label": {"0": "cat", "1": "dog"}, "label2id": {"cat": 0, "dog": 1}},
    "dataset_info.json": {"splits": {"train": {"num_examples": 12}}, "features": {"label": {"names": ["cat", "dog"]}}},
}


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_json_that_names_no_image_labels_none(tmp_path: Path, name: str, wrapped: bool) -> None:
    for seed, (image, label) in enumerate(zip(NAMES, LABELS, strict=True)):
        save(tmp_path / ("animals/train" if wrapped else ".") / label / image, seed, 8)
        save(tmp_path / ("animals/test" if wrapped else "test") / f"9{image}", 50 + seed, 8)
    (tmp_path / name).write_text(json.dumps(DOCUMENTS[name]))
    found = read_images(tmp_path, verify=False)
    assert labels_of(found) == LABELS and len(found.test_ids) == 12 and found.reader == "folders"
    assert not [warning for warning in found.warnings if "save it" in warning]


@pytest.mark.parametrize(
    "content",
    [
        {"annotations": [{"file": name, "is": "ab"[number % 2]} for number, name in enumerate(NAMES)]},
        {"annotations": [{"file_upload": f"0a1b-{name}", "is": "ab"[number % 2]} for number, name in enumerate(NAMES)]},
        {"a": [f"https://example.org/{name}" for name in NAMES[::2]], "b": [name[:-4] for name in NAMES[1::2]]},
        {"cat": {"diagnosis": "healthy"}, "hare": {"diagnosis": "ill"}},
        {"cat": 0},
        {"labels": ["a", "b"] * 6},
        {"train_idx": [0, 1, 2, 3], "test_idx": [4, 5]},
    ],
)
@pytest.mark.parametrize("name", ["metadata.json", "labels.json", "train.json"])
def test_json_that_may_label_images_or_folders_is_a_question(tmp_path: Path, name: str, content: Any) -> None:
    message = problems_of(animals(tmp_path, content, name, folders=True))
    assert f"{name} is not read, though it may hold the labels" in message


def test_numbers_of_images_are_names(tmp_path: Path) -> None:
    for seed in range(12):
        save(tmp_path / ("cat", "dog")[seed % 2] / f"{seed}.png", seed, 8)
    file = tmp_path / "annotations.json"
    file.write_text(json.dumps({"all": [{"image_id": number, "is": {"a": number % 3}} for number in range(12)]}))
    assert "annotations.json is not read, though" in problems_of(tmp_path)
    file.write_text(json.dumps({"all": [{"step": number, "is": {"a": number % 3}} for number in range(8)]}))
    assert len(read_images(tmp_path, verify=False).train_ids) == 12


@pytest.mark.parametrize("file", ["info.json", "labels.json", "exclude.json", "split.json", "unsure.json"])
@pytest.mark.parametrize("depth", [90, 450, 900, 5000])
@pytest.mark.parametrize("folders", [True, False])
def test_deeply_nested_json_is_read_or_refused(tmp_path: Path, file: str, depth: int, folders: bool) -> None:
    animals(tmp_path, [], file, folders=folders)
    for content in ("[" * depth + '"z"' + "]" * depth, '{"a":' * depth + '["z"]' + "}" * depth):
        (tmp_path / file).write_text(content)
        with suppress(DataError):
            assert labels_of(read_images(tmp_path, verify=False)) == LABELS
