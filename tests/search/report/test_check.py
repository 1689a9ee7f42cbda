"""``search check`` by the features of a backbone: altered copies, suspicious labels, their table, and the cache."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from search.report.checks.check import CheckRequest, NothingToWrite, check
from search.report.checks.look_alikes import find_look_alikes
from search.report.checks.suspects import COLUMNS, label_lines, suspicious_labels, write_suspects
from search.runtime.home import Home
from search.runtime.output_files import FileNotOurs
from search.study_setup.backbone_features import BackboneFeatures
from search.study_setup.data_folder import Competition, inspect
from search.worker.study_context import training_data
from studies.settings import DataSettings
from trainer.common.errors import BackboneError
from trainer.data.image_set import DataOptions
from trainer.data.inspection import Progress
from trainer.data.read import read_images
from trainer.evaluation.label_errors.one_label import LabelErrors
from trainer.formats.label_tables import CORRECTIONS_FILE, Correction, write_corrections
from trainer.probing import features as features_module
from trainer.probing.judge_labels import JudgedLabels
from trainer.recipe.recipe import Recipe
from trainer.training.cross_validation import cross_validate
from trainer.training.results import Verdict

NAME = "test_resnet.r160_in1k"
CLASSES = ("[red]", "=gr\u202een", "blue")
WRONG = {4: 2, 31: 0}
"""Class that each of these training images is labelled as by mistake."""


def silent(step: str) -> Progress:
    return lambda done, total: None


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 training images in three colours, two of them with a wrong label, and 6 test images."""
    folder = tmp_path_factory.mktemp("check") / "competition"
    rng = np.random.default_rng(0)
    for part, count in (("train", 90), ("test", 6)):
        (folder / part).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 120, (24, 24, 3))
            pixels[..., i % 3] += 100
            Image.fromarray(pixels.astype(np.uint8)).save(folder / part / f"{part}{i:02}.bmp")
    rows = [[f"train{i:02}", CLASSES[WRONG.get(i, i % 3)]] for i in range(90)]
    for name, table in (("train", rows), ("sample_submission", [[f"test{i:02}", CLASSES[0]] for i in range(6)])):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["id", "label"], *table])
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    save_file(timm.create_model(NAME, pretrained=False).state_dict(), folder / f"{NAME}.safetensors")
    return folder


@pytest.fixture
def checked(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., str]:
    """The printed check of the folder, without the hub and without cached weights."""
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "no cache"))

    def run(
        home: Path = tmp_path / "home", folder: Path = data, settings: DataSettings | None = None, **options: Any
    ) -> str:
        request = CheckRequest(home=Home(root=home), **options)
        capsys.readouterr()
        check(folder, settings=settings or DataSettings(), n_folds=5, request=request)
        return capsys.readouterr().out

    return run


@pytest.mark.slow
def test_wrong_labels_are_listed_and_written_and_the_data_stay(
    checked: Callable[..., str], data: Path, weights: Path, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    output = tmp_path / "suspects.csv"
    out = checked(weights=weights, output=output)
    said = re.search(
        rf"labels: look at these (\d) images, .*a linear probe on features of {NAME} predicts 9\d% of 90 ", out
    )
    assert said and 2 <= int(said[1]) <= 4
    assert "Expected share of wrong labels: about " in out
    # Marks of the writing direction are escaped, and brackets are no markup.
    assert "train/train04.bmp (train.csv row 6): blue <1%, rather =gr\\u202een " in out
    assert "train/train31.bmp (train.csv row 33): [red] " in out
    with output.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert len(rows) == int(said[1])
    assert {(row[0], row[2], row[3]) for row in rows[:2]} == {
        ("train04", "blue", CLASSES[1]),
        ("train31", CLASSES[0], CLASSES[1]),
    }
    assert all(0 <= float(row[4]) < float(row[5]) <= 1 for row in rows)
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before
    output.write_text("mine")
    with pytest.raises(FileNotOurs, match="left alone"):
        checked(weights=weights, output=output)
    assert output.read_text() == "mine"


@pytest.mark.slow
def test_labels_that_were_decided_are_no_candidates_again(
    checked: Callable[..., str], data: Path, weights: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(data, tmp_path / "data"))
    found = read_images(folder, verify=False)
    kept = Correction(
        id="train04", given="blue", label="blue", fingerprint=found.fingerprint, label_source=found.label_source
    )
    write_corrections(folder / CORRECTIONS_FILE, [kept])

    out = checked(folder=folder, weights=weights)

    assert "train/train31.bmp" in out and "train/train04.bmp" not in out
    assert f"1 further image is left out, decided in {CORRECTIONS_FILE} already" in out
    raw = checked(folder=folder, settings=DataSettings(corrections=False), weights=weights)
    assert "train/train04.bmp" in raw and "left out, decided" not in raw


@pytest.mark.slow
def test_a_second_check_reads_the_features_of_the_first(
    checked: Callable[..., str], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = checked(weights=weights)
    assert list(Home(root=tmp_path / "home").features.glob("*-identity.npy"))
    monkeypatch.setattr(features_module, "_compute", lambda *_: pytest.fail("computed again"))
    assert checked(weights=weights) == first


@pytest.mark.slow
def test_a_linear_probe_of_a_study_reads_the_features_of_a_check(
    checked: Callable[..., str], data: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked(weights=weights)
    monkeypatch.setattr(features_module, "_compute", lambda *_: pytest.fail("computed again"))
    home = Home(root=tmp_path / "home")
    recipe = Recipe(backbone=NAME, image_size=160, method="linear_probe")
    images = read_images(data, DataOptions())
    found = cross_validate(
        recipe,
        replace(training_data(images, recipe, np.arange(90) % 3, home.pixels), features=home.features),
        metric="accuracy",
        seed=0,
        device="cpu",
        on_epoch=lambda report: Verdict.CONTINUE,
        checkpoint=None,
        weights_dir=weights,
    )
    assert found.oof.shape == (90, 3)


@pytest.mark.slow
def test_a_home_that_cannot_be_written_to_is_no_obstacle(
    checked: Callable[..., str], weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    assert "labels: look at these " in checked(home=tmp_path / "file", weights=weights)
    assert (tmp_path / "file").read_text() == "no folder" and not caplog.records


def test_without_weights_one_line_says_what_they_would_add(checked: Callable[..., str], tmp_path: Path) -> None:
    plain = checked(labels=False)
    assert "features" not in plain and "labels" not in plain.split("test images")[1]
    out = checked()
    added = [line for line in out.splitlines() if line not in plain.splitlines()]
    assert len(added) == 1 and added[0].startswith("altered copies and suspicious labels: not searched")
    assert "--weights FOLDER" in added[0]
    assert not (tmp_path / "home").exists()


def test_a_folder_without_weights_is_named_with_the_file_that_it_lacks(
    checked: Callable[..., str], tmp_path: Path
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    lacking = f"{folder} holds no pre-trained weights that can be used"
    said = " ".join(checked(weights=folder).split())
    assert f"altered copies and suspicious labels: not searched, because {lacking}" in said
    assert "such as resnet18.a1_in1k.safetensors" in said and "--weights" not in said
    (folder / "my_network.safetensors").touch()
    with pytest.raises(NothingToWrite, match=re.escape(lacking)):
        checked(weights=folder, output=tmp_path / "suspects.csv")


def test_a_table_that_cannot_come_is_refused_before_the_images_are_read(
    checked: Callable[..., str], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.report.checks.check.inspect_with_progress", lambda *_: pytest.fail("images were read"))
    output = tmp_path / "suspects.csv"
    with pytest.raises(NothingToWrite, match=r"no pre-trained weights are at hand\. --weights FOLDER"):
        checked(output=output)
    with pytest.raises(NothingToWrite, match="--no-labels"):
        checked(output=output, labels=False, weights=weights)
    with pytest.raises(NothingToWrite, match="there is no folder"):
        checked(output=tmp_path / "nowhere" / "a.csv", weights=weights)
    (tmp_path / "file").touch()
    with pytest.raises(NothingToWrite, match="file is a file, not a folder"):
        checked(output=tmp_path / "file" / "a.csv", weights=weights)
    with pytest.raises(BackboneError, match="does not exist"):
        checked(output=output, weights=tmp_path / "nowhere")


def test_missing_weights_are_answered_by_what_a_check_accepts(checked: Callable[..., str], weights: Path) -> None:
    with pytest.raises(BackboneError, match="not at hand") as refused:
        checked(backbone="resnet18", weights=weights)
    assert f"({NAME}): --backbone {NAME}" in str(refused.value)
    assert "--set" not in str(refused.value)  # a check takes settings of [data] alone


@pytest.fixture(scope="module")
def competition(data: Path) -> Competition:
    return inspect(data, DataOptions())


def test_copies_in_the_test_part_come_first_then_those_with_two_labels(competition: Competition) -> None:
    vectors = np.random.default_rng(0).normal(size=(96, 40)).astype(np.float32)
    for i, j in ((3, 9), (10, 11), (0, 95), (94, 95)):
        vectors[j] = vectors[i]
    found = find_look_alikes(competition, BackboneFeatures(name="net", train=vectors[:90], test=vectors[90:]), silent)
    assert found.lines[0].endswith("by features of net (cosine from 0.9), missed by the hash: 2 pairs")
    vectors[95] = vectors[0]
    found = find_look_alikes(competition, BackboneFeatures(name="net", train=vectors[:90], test=vectors[90:]), silent)
    assert [line.strip() for line in found.lines[1:7]] == [
        "in both train and test: 1",
        "train00 ([red]) and test05",
        "with two labels: 1",
        "train10 (=gr\u202een) and train11 (blue)",
        "with one label: 1",
        "train03 ([red]) and train09 ([red])",
    ]
    assert "--group-column" in found.lines[7]
    assert found.groups[3] == found.groups[9] and found.groups[10] == found.groups[11]
    assert len(np.unique(found.groups)) == 88
    none = find_look_alikes(
        competition, BackboneFeatures(name="net", train=np.eye(96)[:90], test=np.eye(96)[90:]), silent
    )
    assert none.lines == ["near-duplicates by features of net (cosine from 0.9), missed by the hash: none"]


def test_images_that_are_alike_by_nature_are_no_pairs(competition: Competition) -> None:
    kinds = np.eye(3, dtype=np.float32)[competition.images.y]
    found = find_look_alikes(competition, BackboneFeatures(name="net", train=kinds, test=kinds[:6]), silent)
    assert len(found.lines) == 1 and "not listed, because 90 of 90 training images are in pairs" in found.lines[0]
    assert len(np.unique(found.groups)) == 90, "folds as without features"


def test_many_suspicious_labels_are_counted(competition: Competition) -> None:
    rows = np.arange(20)
    errors = LabelErrors(
        rows=rows,
        suggested=(competition.images.y[rows] + 1) % 3,
        label_proba=np.linspace(0.0, 0.3, 20),
        suggested_proba=np.full(20, 0.7),
        expected_share=0.123,
        judged=88,
    )
    found = JudgedLabels(errors=errors, accuracy=0.75, unjudged=2)
    lines = list(label_lines(competition.images, "net", found, None))
    assert len(lines) == 1 + 12 + 2 and "these 20 images" in lines[0] and "about 12.3%" in lines[0]
    assert lines[13] == "  and 8 more; --output FILE writes all into a table"
    assert lines[14] == "  not judged: 2 images of classes that occur in one fold only"
    assert list(label_lines(competition.images, "net", found, Path("a.csv")))[13] == "  and 8 more"


def test_labels_that_images_have_or_lack_are_listed_and_written(competition: Competition, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (90, 3))
    truth[[4, 31]] = [[1, 1, 0], [0, 0, 1]]
    y = truth.copy()
    y[4, 0], y[31, 2], y[:, 2] = 0, 0, rng.integers(0, 2, 90)
    y[31, :2] = [0, 1]
    several = replace(competition, images=replace(competition.images, y=y))
    vectors = np.concatenate([truth, 1 - truth], axis=1) + rng.normal(0, 0.05, (90, 6))
    features = BackboneFeatures(name="net", train=vectors.astype(np.float32), test=vectors[:6].astype(np.float32))
    found = suspicious_labels(several, features, np.arange(90), 5, silent)
    assert not isinstance(found, str)
    names = several.images.class_names
    lines = list(label_lines(several.images, "net", found, None))
    assert re.match(
        r"labels: look at these 2 images, .* predict 9\d% of the labels that images have and 1% of", lines[0]
    )
    assert re.search(r"Expected number of wrong labels: about [1-4] of 2 labels of 90 images", lines[0])
    assert lines[-1].endswith(f"know no more of them than their frequency: {names[2]!r}") and len(lines) == 4
    (first,) = [line for line in lines if "train04" in line]
    assert re.search(
        rf": {re.escape(names[1])} 9\d%.*, rather {re.escape(names[0])} 9\d% \+ {re.escape(names[1])} 9\d%", first
    )
    assert any(line.endswith("rather (none)") for line in lines)
    write_suspects(tmp_path / "suspects.csv", several.images, found)
    with (tmp_path / "suspects.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    listed = {row[0]: (row[2], row[3]) for row in rows}
    last = f"|{names[2]}" if y[4, 2] else ""
    assert tuple(header) == COLUMNS
    assert listed == {"train04": (f"{names[1]}{last}", f"{names[0]}|{names[1]}{last}"), "train31": (names[1], "[]")}
    assert all(float(row[4]) == pytest.approx(1 - float(row[5]), abs=2e-4) for row in rows)
    nothing = replace(features, train=rng.normal(size=(90, 6)).astype(np.float32))
    assert "no label is predicted better" in str(suspicious_labels(several, nothing, np.arange(90), 5, silent))
