"""`search preview`: its rows, example images and picture."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.export.output.outside_data import OutputInData
from search.report.preview.command import NothingToPreview, PreviewNotWritable, PreviewRequest, preview
from search.report.preview.rows import Row, Subject, examples, rows_of
from search.study_setup.data_folder import NoData
from studies.errors import StudyError
from studies.load_study import load_study
from studies.spec import StudySpec
from trainer.recipe.augmentation_table import AUGMENTATIONS

STUDY = """
title = "Colours and policies"
[recipe]
backbone = "test_resnet"
init = "scratch"
image_size = 32
"augment.vflip" = 0.25
[space]
"augment.hue" = { low = 0.1, high = 0.4, off = 0.0 }
"augment.crop" = [
    { low = 0.0, high = 0.3, when = { "optimizer.name" = "adamw" } },
    { low = 0.2, high = 0.6, when = { "optimizer.name" = "sgd" } },
]
"augment.erase" = [0.0, 0.25, 0.5]
"optimizer.name" = ["adamw", "sgd"]
"augment.policy" = ["none", "randaugment", "trivialaugment"]
"augment.policy_magnitude" = { low = 0.1, high = 0.9, when = { "augment.policy" = "randaugment" } }
"augment.mix" = ["none", "cutmix"]
"augment.mix_alpha" = { low = 0.2, high = 1.0, when = { "augment.mix" = "cutmix" } }
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "colours.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for number in range(6):
        file = tmp_path / "data" / "train" / ("cat" if number % 2 else "dog") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(generator.integers(0, 256, (5, 4, 3), dtype=np.uint8))
        coarse.resize((48, 60), Image.Resampling.BICUBIC).save(file)
    return tmp_path / "data"


def request(tmp_path: Path, study: str | Path, data: Path | None = None, **changes: object) -> PreviewRequest:
    settings: dict[str, object] = {
        "study": str(study),
        "data": data,
        "storage_url": f"sqlite:///{tmp_path / 'none.db'}",
        "home": tmp_path / "home",
        "output": tmp_path / "preview.png",
        "images": 2,
    }
    return PreviewRequest(**(settings | changes))


def subject(seed: int) -> Subject:
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8))
    whole, larger = (np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)) for side in (32, 40))
    return Subject(whole=whole, larger=larger)


def row(rows: list[Row], name: str) -> Row:
    return next(row for row in rows if row.name == name)


def test_each_augmentation_policy_and_blend_is_a_row_from_low_to_high(study: Path) -> None:
    rows = rows_of(load_study(str(study)))
    assert {row.name: [setting.caption for setting in row.settings] for row in rows} == {
        "crop": ["low: 0 (off)", "high: 0.6"],
        "randaugment": [
            "low: magnitude 0.1, 2 operations, 100% of the images",
            "high: magnitude 0.9, 2 operations, 100% of the images",
        ],
        "trivialaugment": ["fixed: 100% of the images"],
        "vflip": ["fixed: 0.25 (25% of the images)"],
        "hue": ["low: 0.1", "high: 0.4"],
        "erase": ["low: 0 (off)", "high: 0.5 (50% of the images)"],
        "cutmix": ["low: alpha 0.2", "high: alpha 1"],
    }
    assert [row.name for row in rows][:3] == ["crop", "randaugment", "trivialaugment"]  # the order of their application
    assert row(rows, "hue").doc == AUGMENTATIONS["hue"].doc


def test_examples_show_one_augmentation_alone_and_more_of_it_at_the_high_end(study: Path) -> None:
    rows = rows_of(load_study(str(study)))
    pictures = [subject(seed) for seed in range(3)]

    def shown(name: str, end: int) -> list[np.ndarray]:
        return examples(row(rows, name), row(rows, name).settings[end], pictures[0], pictures[1:], 3)

    whole = pictures[0].whole.astype(int)
    for name in ("crop", "randaugment", "hue", "erase"):
        low, high = ([float(np.abs(image - whole).mean()) for image in shown(name, end)] for end in (0, -1))
        assert sum(low) < sum(high), name
        assert high[0] == max(high)
    assert all(np.array_equal(image, pictures[0].whole) for image in shown("erase", 0))
    flipped, _, unflipped = shown("vflip", 0)  # of a quarter of the images
    assert np.array_equal(flipped, pictures[0].whole[::-1])
    assert np.array_equal(unflipped, pictures[0].whole)
    blend, *_ = shown("cutmix", 1)
    sources = [np.isclose(blend, other.whole, atol=1).all(axis=-1) for other in pictures]
    assert np.logical_or.reduce(sources).all() and (sources[1].any() or sources[2].any())
    assert all(
        np.array_equal(a, b) for a, b in zip(shown("trivialaugment", 0), shown("trivialaugment", 0), strict=True)
    )


@pytest.mark.parametrize("name", ["train/dog/p.png", "p.png"])
def test_no_picture_is_drawn_into_the_data(study: Path, data: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputInData, match="outside of the data"):
        preview(request(tmp_path, study, data, output=data / name))
    assert not (data / name).exists()


@pytest.mark.slow
def test_the_picture_is_deterministic_and_has_a_row_for_each_augmentation(
    study: Path, data: Path, tmp_path: Path
) -> None:
    preview(request(tmp_path, study, data))
    with Image.open(tmp_path / "preview.png") as image:
        width, height = image.size
        first = image.tobytes()
    preview(request(tmp_path, study, data))
    with Image.open(tmp_path / "preview.png") as image:
        assert image.tobytes() == first
    overrides = ["recipe.augment.erase=0"]
    preview(request(tmp_path, study, data, overrides=overrides, output=tmp_path / "less.png"))
    with Image.open(tmp_path / "less.png") as image:
        assert image.width == width and image.height < height


@pytest.mark.slow
def test_a_sample_study_brings_its_images(tmp_path: Path) -> None:
    preview(request(tmp_path, "quickstart", overrides=["recipe.image_size=16"]))
    with Image.open(tmp_path / "preview.png") as image:
        assert image.width > 1000
    assert (tmp_path / "home" / "data" / "digits" / "train.csv").is_file()


def test_without_augmentations_the_error_suggests_some(study: Path, data: Path, tmp_path: Path) -> None:
    study.write_text(STUDY.partition('"augment.vflip"')[0] + "[space]\ndrop = { low = 0.0, high = 0.5 }\n")
    with pytest.raises(NothingToPreview, match=r"neither samples nor fixes.*recipe\.augment\.hflip=0\.5.*aug_tuning"):
        preview(request(tmp_path, study, data))
    preview(request(tmp_path, study, data, overrides=["recipe.augment.hflip=0.5"]))  # as suggested
    assert (tmp_path / "preview.png").is_file()


def test_invalid_requests_are_explained(study: Path, data: Path, tmp_path: Path) -> None:
    for changes, error, words in (
        ({"study": "quickstrt"}, StudyError, "quickstart"),
        ({"data": None}, NoData, "--data"),
        ({"output": tmp_path / "preview.bmp"}, PreviewNotWritable, r"\.png, \.pdf, \.svg"),
        ({"output": tmp_path / "nowhere" / "preview.png"}, PreviewNotWritable, "there is no folder"),
        ({"output": study / "preview.png"}, PreviewNotWritable, "colours.toml is a file, not a folder"),
    ):
        with pytest.raises(error, match=words):
            preview(request(tmp_path, **{"study": study, "data": data, **changes}))
    assert not list(tmp_path.glob("preview*"))


def test_a_folder_without_permission_is_refused_before_anything_is_drawn(
    study: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path)
    monkeypatch.setattr("search.report.preview.command.read_images", pytest.fail)
    with pytest.raises(PreviewNotWritable, match="cannot write to the folder"):
        preview(request(tmp_path, study, data))


@pytest.mark.slow
def test_a_stored_study_is_drawn_with_its_settings(study: Path, data: Path, tmp_path: Path) -> None:
    """And with its own images, unless others are given."""
    from search.study_setup.create_study import StudyPlan, create_study
    from search.study_setup.data_folder import inspect
    from storage.stores import open_stores

    url = f"sqlite:///{tmp_path / 'retable.db'}"
    file_spec, overrides = load_study(str(study)), ["recipe.augment.hue=0.2"]
    spec: StudySpec = load_study(str(study), overrides)
    competition = inspect(data, spec.data.options)
    study_plan = StudyPlan(
        name="mine", spec=spec, file_spec=file_spec, overrides=tuple(overrides), competition=competition, folder=data
    )
    create_study(open_stores(url, create=True), study_plan)
    preview(request(tmp_path, "mine", storage_url=url))
    more = ["recipe.augment.erase=0"]  # the study has another name than its file
    preview(request(tmp_path, "mine", storage_url=url, overrides=more, output=tmp_path / "changed.png"))
    preview(request(tmp_path, study, data, overrides=[*overrides, *more], output=tmp_path / "changed_file.png"))
    with pytest.raises(StudyError, match=r"recipe\.nothing"):
        preview(request(tmp_path, "mine", storage_url=url, overrides=["recipe.nothing=1"]))
    preview(request(tmp_path, study, data, overrides=overrides, output=tmp_path / "file.png"))
    stored, file = (np.asarray(Image.open(tmp_path / name).convert("L")) for name in ("preview.png", "file.png"))
    names = ("changed.png", "changed_file.png")
    changed, changed_file = (np.asarray(Image.open(tmp_path / name).convert("L")) for name in names)
    for one, other in ((stored, file), (changed, changed_file)):
        assert one.shape == other.shape
        assert np.array_equal(one[110:], other[110:])  # below the title, which names the study
    assert changed.shape[0] <= stored.shape[0]
