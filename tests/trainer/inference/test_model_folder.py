"""An exported model predicts without Retable what Retable predicts, and refuses a changed model folder."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from trainer.inference.blend import Blend
from trainer.inference.errors import ImageError, ModelError
from trainer.inference.images import read_image, resize_image
from trainer.inference.model_folder import load_model_folder
from trainer.inference.networks.torch_networks import predict_member
from trainer.inference.networks.views import TTA
from trainer.inference.predict import predict_folder
from trainer.inference.resources import PASSIVE_WAITING
from trainer.networks.backbones import preprocessing_of
from trainer.networks.build import create_backbone
from trainer.networks.view_averaging import predict_proba
from trainer.recipe.recipe import Recipe
from trainer.training.write_model_folder import FolderMember, write_model_folder

CLASSES = ("cat", "dog, small", "Vögel")
SIZE = 32
RECIPE = Recipe.from_flat({"backbone": "test_vit", "init": "scratch", "image_size": SIZE, "resize": "pad", "drop": 0.5})
VIEWS = ("identity", "hflip")


SECOND = Recipe.from_flat({"backbone": "test_resnet", "init": "scratch", "image_size": 48, "resize": "crop"})
BLEND = Blend(weights=(0.75, 0.25), temperature=0.5, offsets=(0.0, 2.0, -2.0))


def networks(recipe: Recipe = RECIPE) -> dict[str, torch.nn.Module]:
    made = {}
    for fold in range(2):
        torch.manual_seed(fold)
        network = create_backbone(recipe, len(CLASSES), weights_dir=None)
        for parameter in network.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)  # so that predictions are far from uniform
        made[f"{recipe.backbone}-fold{fold}"] = network
    return made


def folder_member(recipe: Recipe, views: Sequence[str]) -> FolderMember:
    return FolderMember(
        recipe=recipe,
        preprocessing=preprocessing_of(recipe.backbone),
        views=views,
        state_dicts={name: network.state_dict() for name, network in networks(recipe).items()},
    )


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "model"
    write_model_folder(
        folder,
        class_names=CLASSES,
        members=[folder_member(RECIPE, VIEWS)],
        blend=Blend(weights=(1.0,)),
        data_fingerprint="f" * 64,
    )
    return folder


@pytest.fixture(scope="module")
def ensemble_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two members that share nothing: backbone, size, resize policy, views."""
    folder = tmp_path_factory.mktemp("export") / "ensemble"
    write_model_folder(
        folder,
        class_names=CLASSES,
        members=[folder_member(RECIPE, VIEWS), folder_member(SECOND, ("identity", "zoom"))],
        blend=BLEND,
        data_fingerprint="f" * 64,
    )
    return folder


@pytest.fixture(scope="module")
def images_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    (folder / "more").mkdir()
    for number in range(5):
        height, width = rng.integers(20, 60, 2)
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / ("more" if number == 4 else "") / f"{number}.png")
    (folder / "notes.txt").write_text("not an image")
    (folder / "._0.png").write_bytes(b"what macOS leaves behind")
    return folder


def in_process(folder: Path, views: Sequence[str] = VIEWS, recipe: Recipe = RECIPE) -> npt.NDArray[np.float64]:
    """Mean over networks and views of what the training code predicts."""
    files = [folder / f"{number}.png" for number in range(4)] + [folder / "more" / "4.png"]
    preprocessing = preprocessing_of(recipe.backbone)
    size, policy = recipe.image_size, recipe.resize
    pixels = np.stack([resize_image(read_image(f), size, policy, preprocessing.interpolation) for f in files])
    by_view = [
        proba
        for network in networks(recipe).values()
        for proba in predict_proba(network, pixels, preprocessing=preprocessing, views=views, batch_size=2).values()
    ]
    return np.mean(by_view, axis=0, dtype=np.float64)


def read_table(path: Path) -> tuple[list[str], list[str], npt.NDArray[np.float64]]:
    """Header, labels and probabilities of a table of predictions."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return header, [row[1] for row in rows], np.array([[float(cell) for cell in row[2:]] for row in rows])


def run_alone(model_dir: Path, cwd: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | {"OMP_NUM_THREADS": "1"}
    environment = {k: v for k, v in environment.items() if k not in PASSIVE_WAITING} | variables
    command = [sys.executable, "-I", str(model_dir / "predict.py"), *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_a_copied_folder_predicts_alone_what_was_predicted_here(
    model_dir: Path, images_dir: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere" / "renamed"
    shutil.copytree(model_dir, moved)
    # The copy cannot import anything of this repository.
    blocked = "import sys\nfor name in ('trainer', 'search', 'studies', 'storage'):\n    sys.modules[name] = None\n"
    (moved / "predict.py").write_text(
        (moved / "predict.py").read_text(encoding="utf-8").replace("import sys\n", blocked, 1),
        encoding="utf-8",
    )
    done = run_alone(moved, tmp_path, str(images_dir), "--output", "out.csv", OMP_DISPLAY_ENV="VERBOSE")
    assert done.returncode == 0, done.stderr
    assert set(re.findall("GOMP_SPINCOUNT = .*", done.stderr)) == {"GOMP_SPINCOUNT = '0'"}, "its threads sleep"
    header, labels, alone = read_table(tmp_path / "out.csv")
    assert header == ["image_id", "y_pred", "p_cat", "p_dog, small", "p_Vögel"]
    expected = in_process(images_dir)
    assert labels == [CLASSES[best] for best in expected.argmax(axis=1)]
    np.testing.assert_allclose(alone, expected, atol=1e-5)
    np.testing.assert_allclose(alone.sum(axis=1), 1.0, atol=1e-5)
    assert np.ptp(expected, axis=0).min() > 0.01  # a constant answer would not have tested anything
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "out.csv"]


@pytest.mark.slow
def test_all_bad_images_are_named_at_once_and_nothing_is_written(
    model_dir: Path, images_dir: Path, tmp_path: Path
) -> None:
    good, broken, empty = images_dir / "0.png", tmp_path / "broken.png", tmp_path / "empty.png"
    broken.write_bytes(good.read_bytes()[:200])
    empty.touch()
    missing = str(tmp_path / "missing.png")
    arguments = [*map(str, (broken, good, empty)), missing]
    done = run_alone(model_dir, tmp_path, *arguments, "--output", "out.csv")
    assert done.returncode == 1
    *lines, advice = done.stderr.strip().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["broken.png", "empty.png", missing]
    assert "--skip-bad leaves out these 3 images" in advice
    assert not (tmp_path / "out.csv").exists()


def test_views_and_weights_are_averaged_as_probabilities(model_dir: Path, images_dir: Path) -> None:
    predicted = predict_folder(model_dir, [images_dir])
    assert predicted.class_names == CLASSES
    assert predicted.ids == ("0.png", "1.png", "2.png", "3.png", "more/4.png")
    np.testing.assert_allclose(predicted.proba, in_process(images_dir), atol=1e-6)


@pytest.mark.slow
def test_members_of_other_sizes_and_backbones_are_blended_as_the_folder_says(
    ensemble_dir: Path, images_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [in_process(images_dir), in_process(images_dir, ("identity", "zoom"), SECOND)]
    mean = 0.75 * members[0] + 0.25 * members[1]
    expected = mean**2 / (mean**2).sum(axis=1, keepdims=True)
    labels = (np.log(expected) + np.array(BLEND.offsets)).argmax(axis=1)
    assert (labels != expected.argmax(axis=1)).any(), "else the rule would not be seen"
    monkeypatch.setattr("trainer.inference.predict.CHUNK_BYTES", 2 * 3 * (32**2 + 48**2))
    here = predict_folder(ensemble_dir, [images_dir])
    np.testing.assert_allclose(here.proba, expected, atol=1e-5)
    np.testing.assert_array_equal(here.labels, labels)
    done = run_alone(ensemble_dir, tmp_path, str(images_dir), "--output", "out.csv")
    assert done.returncode == 0, done.stderr
    _, named, alone = read_table(tmp_path / "out.csv")
    np.testing.assert_allclose(alone, expected, atol=1e-5)
    assert named == [CLASSES[label] for label in labels]


def test_a_second_stage_shares_the_probability_of_its_group(
    ensemble_dir: Path, images_dir: Path, tmp_path: Path
) -> None:
    def stage(config: dict[str, Any]) -> None:
        config["blend"] = {"weights": [1.0, 0.0], "second_stage": [[0, 2]]}

    folder = edited(ensemble_dir, tmp_path, stage)
    first, second = in_process(images_dir), in_process(images_dir, ("identity", "zoom"), SECOND)
    share = second[:, 0] / (second[:, 0] + second[:, 2])
    group = first[:, 0] + first[:, 2]
    expected = np.stack([group * share, first[:, 1], group * (1.0 - share)], axis=1)
    np.testing.assert_allclose(predict_folder(folder, [images_dir]).proba, expected, atol=1e-5)
    done = run_alone(folder, tmp_path, str(images_dir), "--output", "out.csv")
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(read_table(tmp_path / "out.csv")[2], expected, atol=1e-5)


@pytest.mark.parametrize(
    "blend",
    [
        {"weights": [0.5, 0.5], "second_stage": [[0, 1]]},
        {"weights": [0.0, 1.0], "second_stage": [[0, 1]]},
        {"weights": [1.0, 0.0], "second_stage": [[0, 1]], "several_labels": True},
    ],
)
def test_a_second_stage_is_the_last_member_and_has_no_weight(
    ensemble_dir: Path, tmp_path: Path, blend: dict[str, object]
) -> None:
    def stage(config: dict[str, Any]) -> None:
        config["blend"] = blend

    with pytest.raises(ModelError, match="second_stage is no member of weight 0"):
        load_model_folder(edited(ensemble_dir, tmp_path, stage))


def test_a_folder_of_the_first_format_is_read_as_one_member(model_dir: Path, images_dir: Path, tmp_path: Path) -> None:
    def flatten(config: dict[str, Any]) -> None:
        (member,) = config.pop("members")
        del config["blend"]
        config.update(member, format=1)

    old = edited(model_dir, tmp_path, flatten)
    assert "members" not in json.loads((old / "config.json").read_text(encoding="utf-8"))
    np.testing.assert_array_equal(
        predict_folder(old, [images_dir]).proba, predict_folder(model_dir, [images_dir]).proba
    )


@pytest.mark.slow
def test_flips_and_zooms_of_a_recipe_travel_with_the_model(model_dir: Path, images_dir: Path, tmp_path: Path) -> None:
    views = TTA["hflip_zoom"]
    folder = edited(model_dir, tmp_path, lambda config: config["members"][0].update(views=list(views)))
    assert load_model_folder(folder).members[0].views == views
    done = run_alone(folder, tmp_path, str(images_dir), "--output", "out.csv")
    assert done.returncode == 0, done.stderr
    _, _, alone = read_table(tmp_path / "out.csv")
    np.testing.assert_allclose(alone, in_process(images_dir, views), atol=1e-5)
    assert np.abs(alone - in_process(images_dir)).max() > 1e-4, "with the views of the folder as it was"


def test_chunks_and_batches_do_not_change_the_answer(
    model_dir: Path, images_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = predict_folder(model_dir, [images_dir]).proba
    monkeypatch.setattr("trainer.inference.predict.CHUNK_BYTES", 2 * SIZE**2 * 3)
    np.testing.assert_allclose(predict_folder(model_dir, [images_dir], batch_size=1).proba, whole, atol=1e-6)


def test_an_npz_and_the_same_images_as_files_agree(model_dir: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 40, 30, 3), np.uint8)
    np.savez(tmp_path / "images.npz", pixels)
    np.savez(tmp_path / "floats.npz", pixels.astype(np.float32))
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for file, image in zip(files, pixels, strict=True):
        Image.fromarray(image).save(file)
    from_files = predict_folder(model_dir, files)
    assert from_files.ids == ("0.png", "1.png", "2.png")
    for archive in ("images.npz", "floats.npz"):
        from_npz = predict_folder(model_dir, [tmp_path / archive])
        assert from_npz.ids == ("0", "1", "2")
        np.testing.assert_array_equal(from_npz.proba, from_files.proba)


def test_an_npz_with_pickled_objects_is_refused(model_dir: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", np.array([{"a": 1}], dtype=object))
    np.savez(tmp_path / "other.npz", images=np.zeros((1, 8, 8, 3), np.uint8))
    (tmp_path / "text.npz").write_text("hello")
    for name in ("evil.npz", "other.npz", "text.npz", "missing.npz"):
        with pytest.raises(ModelError, match="arr_0"):
            predict_folder(model_dir, [tmp_path / name])


def test_npz_rows_that_are_no_images_are_named(model_dir: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", np.full((2, 8, 8, 3), -1.0))
    with pytest.raises(ImageError, match=r"^0: .*\n1: "):
        predict_folder(model_dir, [tmp_path / "images.npz"])


def test_a_folder_without_images_is_an_error(model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no image"):
        predict_folder(model_dir, [tmp_path])


def edited(model_dir: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    copy = tmp_path / "copy"
    shutil.copytree(model_dir, copy)
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    change(config)
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return copy


FIRST = ("members", 0)
"""Where the first member lies in config.json."""


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ((*FIRST, "weights", 0, "file"), "../outside.safetensors", "inside the folder"),
        ((*FIRST, "weights", 0, "file"), "/etc/passwd", "inside the folder"),
        ((*FIRST, "weights", 0, "file"), "predict.py", "safetensors"),
        ((*FIRST, "weights", 0, "file"), 3, "config.json"),
        ((*FIRST, "weights", 0, "sha256"), "0" * 64, "sha256 differs"),
        ((*FIRST, "weights"), [], "weights is empty"),
        ((*FIRST, "backbone"), "hf-hub:someone/something", "timm name"),
        ((*FIRST, "backbone"), "local-dir:/tmp", "timm name"),
        ((*FIRST, "backbone"), None, "timm name"),
        ((*FIRST, "model_args"), {"checkpoint_path": "x"}, "img_size"),
        ((*FIRST, "model_args"), {"img_size": True}, "img_size"),
        (("class_names",), "ab", "class_names"),
        (("class_names",), ["a", 3], "strings"),
        ((*FIRST, "views"), ["rot90"], "views"),
        ((*FIRST, "views"), [], "views"),
        ((*FIRST, "views"), [["zoom"]], "config.json"),
        ((*FIRST, "views"), ["identity", "zoom", "identity"], "twice"),
        (("format",), 5, "format"),
        (("members",), [], "members is empty"),
        (("members",), ["model"], "a member is not a table"),
        (("blend",), [1.0], "blend is not a table"),
        (("blend", "weights"), [0.5, 0.5], "weights are not 1 numbers"),
        (("blend", "weights"), [0.9], "of sum 1"),
        (("blend", "weights"), "1", "list of numbers"),
        (("blend", "weights"), [float("nan")], "not finite"),
        (("blend", "weights"), [], "weights are not 1 numbers"),
        (("blend", "coefficients"), [[0.0] * 3] * 2, "coefficients"),
        (("blend", "intercepts"), [0.0] * 3, "coefficients"),
        (("blend", "temperature"), 0, "temperature"),
        (("blend", "temperature"), float("nan"), "not finite"),
        (("blend", "offsets"), [0.0], "offsets are not 3"),
        (("blend", "cuts"), [1.5, 0.5], "ascend"),
        (("blend", "cuts"), [0.5], "cuts are not 2"),
        (("blend", "second_stage"), [[0, 1]], "second_stage is no member of weight 0"),
        (("blend", "second_stage"), "01", "groups of two classes"),
        (("blend", "second_stage"), [[0]], "groups of two classes"),
        (("blend", "second_stage"), [[0, 3]], "classes 0 to 2"),
        (("blend", "second_stage"), [[0, True]], "classes 0 to 2"),
        (("blend", "second_stage"), [[0, -1]], "classes 0 to 2"),
        (("blend", "second_stage"), [[0, [1]]], "classes 0 to 2"),
        (("blend", "second_stage"), [[0, 1, 0]], "twice"),
        ((*FIRST, "preprocessing", "std"), [0, 1, 1], "mean or std"),
        ((*FIRST, "preprocessing", "mean"), [0.5, float("nan"), 0.5], "not finite"),
        ((*FIRST, "preprocessing", "size"), 10**6, "size"),
        ((*FIRST, "preprocessing", "resize"), "stretch", "resize"),
        ((*FIRST, "preprocessing", "interpolation"), ["bicubic"], "config.json"),
    ],
)
def test_an_impossible_config_is_refused(
    model_dir: Path, tmp_path: Path, path: tuple[Any, ...], value: object, complaint: str
) -> None:
    def change(config: Any) -> None:
        *parents, last = path
        for key in parents:
            config = config[key]
        config[last] = value

    with pytest.raises(ModelError, match=complaint):
        load_model_folder(edited(model_dir, tmp_path, change))


def test_every_setting_that_is_used_must_be_there(model_dir: Path, tmp_path: Path) -> None:
    config = json.loads((model_dir / "config.json").read_text(encoding="utf-8"))
    for number, key in enumerate(
        ["format", "class_names", "members", "blend", "backbone", "model_args", "preprocessing", "views", "weights"]
    ):
        (tmp_path / str(number)).mkdir()
        folder = edited(
            model_dir,
            tmp_path / str(number),
            lambda config, key=key: (config if key in config else config["members"][0]).pop(key),
        )
        with pytest.raises(ModelError, match=f"'{key}' is missing"):
            load_model_folder(folder)
    assert len(config["members"][0]["weights"]) == 2


def test_weights_behind_a_link_out_of_the_folder_are_refused(model_dir: Path, tmp_path: Path) -> None:
    copy = edited(model_dir, tmp_path, lambda config: None)
    outside = tmp_path / "outside.safetensors"
    (copy / "weights" / "test_vit-fold0.safetensors").rename(outside)
    (copy / "weights" / "test_vit-fold0.safetensors").symlink_to(outside)
    with pytest.raises(ModelError, match="inside the folder"):
        load_model_folder(copy)


def test_changed_weights_are_refused(model_dir: Path, tmp_path: Path) -> None:
    copy = edited(model_dir, tmp_path, lambda config: None)
    weights = copy / "weights" / "test_vit-fold0.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ModelError, match="sha256 differs"):
        load_model_folder(copy)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 1}'])
def test_a_folder_that_is_no_model_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        load_model_folder(tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError, match=r"config\.json"):
        load_model_folder(tmp_path)


def test_weights_of_another_backbone_are_an_error_that_names_the_versions(model_dir: Path, tmp_path: Path) -> None:
    copy = edited(model_dir, tmp_path, lambda config: config["members"][0].update(backbone="test_vit2"))
    with pytest.raises(ModelError, match="exported with timm"):
        model = load_model_folder(copy)
        predict_member(model, model.members[0], np.zeros((1, SIZE, SIZE, 3), np.uint8))


@pytest.mark.slow
def test_a_device_that_is_not_there_is_an_error_in_words(model_dir: Path, images_dir: Path, tmp_path: Path) -> None:
    done = run_alone(model_dir, tmp_path, str(images_dir / "0.png"), "--device", "nonsense")
    assert done.returncode == 1
    assert "nonsense" in done.stderr
    assert "Traceback" not in done.stderr
