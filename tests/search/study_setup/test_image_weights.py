"""Validation weighted toward the test images, from the creation of a study to its export."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from sqlalchemy import text

from search.engines.plan import Workers
from search.export.candidates.comparable import StudiesDiffer
from search.export.candidates.pool import read_pool
from search.export.files import write_export
from search.export.final_model import gather_refits
from search.export.plan import plan_export, queue_refits
from search.report.checks.check import shift_lines
from search.runtime.home import Home
from search.study_setup.create_study import StudyChanged, StudyPlan, create_study, resume
from search.study_setup.data_folder import Competition, inspect
from search.study_setup.image_weights import CannotWeight, Weighting, estimate_image_weights, weights_line, why_not
from search.study_setup.prepare import StartRequest, prepare
from search.study_state.study_targets import read_weights
from search.worker.study_context import StudyContext
from search.workflow.replay import ReplayRequest, replay
from storage.errors import StorageError
from storage.records.study_rows import ImageWeights
from storage.stores import Stores
from storage.values import WorkKind
from tests.search.small_study import COLOURS, make_context, study_plan, work_on
from trainer.data.image_set import DataOptions
from trainer.data.inspection import Progress
from trainer.evaluation.metrics import score, standard_error
from trainer.evaluation.targets import Targets, effective_images, mean_over
from trainer.shift.adversarial import Shift

TEST_LIKE = "protocol.weighting=test_like"
DARK = 0.8
"""Share of the test images with the dark style."""


def write(folder: Path, train_dark: float = 1 / 3, test_dark: float = DARK, tests: int = 50) -> Path:
    """Write images of three colours, 90 of them for training, in two styles, bright and dark."""
    rng = np.random.default_rng(0)

    def draw(path: Path, colour: tuple[int, int, int], dark: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.clip(np.array(colour) + rng.normal(0, 50, (32, 32, 3)), 0, 255) * (0.4 if dark else 1.0)
        Image.fromarray(pixels.astype(np.uint8)).save(path)

    names = list(COLOURS)
    for part, count, share in (("train", 90, train_dark), ("test", tests, test_dark)):
        table = [["id", "label"]]
        for i in range(count):
            draw(folder / part / f"{part}{i:03}.png", COLOURS[names[i % 3]], dark=i // 3 % 10 < round(10 * share))
            table.append([f"{part}{i:03}", names[i % 3]])
        name = "train.csv" if part == "train" else "sample_submission.csv"
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows(table)
    return folder


def silent(step: str) -> Progress:
    return lambda done, total: None


def is_dark(competition: Competition) -> np.ndarray:
    images = competition.images.train_images
    return np.array([images.read(i).mean() < 60 for i in range(len(images))])


@pytest.fixture(autouse=True)
def no_backbone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide pre-trained backbones of this machine. Descriptors separate these styles."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "no cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("styles"))


@pytest.fixture(scope="module")
def competition(folder: Path) -> Competition:
    return inspect(folder, DataOptions())


@pytest.fixture(scope="module")
def weighting(competition: Competition) -> Weighting:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.probing.extractors.available_extractors", lambda weights: [])
        return estimate_image_weights(competition, weights=None, home=Home(), say=silent)


@pytest.fixture
def weighted(folder: Path, study_file: Path, weighting: Weighting) -> StudyPlan:
    return replace(study_plan(study_file, folder, TEST_LIKE, name="weighted", budget=2), weighting=weighting.stored)


def test_a_weighted_score_is_closer_to_the_test_score(competition: Competition, weighting: Weighting) -> None:
    """Scores of models with accuracy 0.9 on bright images and 0.5 on dark ones."""
    hits = np.where(is_dark(competition), 0.5, 0.9)
    test = DARK * 0.5 + (1 - DARK) * 0.9
    plain, nearer = mean_over(hits) - test, mean_over(hits, weighting.values) - test
    assert plain > 0.15 and abs(nearer) < plain / 3
    assert weighting.values.mean() == pytest.approx(1.0)
    assert 0.3 * 90 < effective_images(weighting.values) < 70


def test_check_names_the_setting_for_weighting(competition: Competition) -> None:
    lines = shift_lines(competition, None, silent)
    assert "`search start --study NAME --set protocol.weighting=test_like`" in lines[-1]


def test_too_few_or_too_different_test_images_are_refused(tmp_path: Path) -> None:
    cases = {"few": {"tests": 8}, "apart": {"train_dark": 0.0, "test_dark": 1.0}}
    said = {}
    for name, styles in cases.items():
        different = inspect(write(tmp_path / name, **styles), DataOptions())  # type: ignore[arg-type]
        with pytest.raises(CannotWeight) as refused:
            estimate_image_weights(different, weights=None, home=Home(), say=silent)
        said[name] = str(refused.value)
    assert "90 training and 8 test images; at least 20" in said["few"]
    assert "hardly any training image" in said["apart"] and "by descriptors of the pixels" in said["apart"]
    assert all("without it all training images count the same" in message for message in said.values())


def test_a_small_effective_sample_size_is_refused() -> None:
    few, many = (np.where(np.arange(500) < count, 0.9, 0.1) for count in (20, 250))
    few_alike, many_alike = (
        Shift(auc=0.8, standard_error=0.02, train=train, test=np.full(500, 0.5)) for train in (few, many)
    )
    assert "500 training images have the effective sample size 74" in why_not(few_alike)
    assert why_not(many_alike) == ""
    assert why_not(replace(many_alike, auc=0.95)).startswith("hardly any")


@pytest.mark.slow
def test_weights_are_estimated_once_when_a_study_is_created(
    folder: Path, study_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stores: Stores
) -> None:
    given = {
        "study": str(study_file),
        "data": folder,
        "storage_url": stores.database.url.render_as_string(hide_password=False),
        "trials": 2,
        "overrides": (TEST_LIKE,),
        "memory": False,
        "workers": Workers(home=tmp_path / "home"),
    }
    request = StartRequest(**{**{field.name: None for field in fields(StartRequest)}, **given})  # type: ignore[arg-type]
    plan = prepare(request, Console(quiet=True))
    assert plan.weighting is not None and str(plan.weighting.about["features"]).startswith("descriptors")
    stored = create_study(stores, plan)
    frozen = read_weights(stores, stored)
    assert frozen is not None and frozen.tobytes() == plan.weighting.values.tobytes()
    # Resuming, with or without the setting, estimates no weights again.
    monkeypatch.setattr("search.study_setup.prepare.estimate_image_weights", None)
    for overrides in ((), (TEST_LIKE,), ("search.trials=4",)):
        again = prepare(replace(request, overrides=overrides), Console(quiet=True))
        assert again.weighting is None
        assert read_weights(stores, resume(stores, stored, again)) is not None
    with pytest.raises(StudyChanged, match=r"protocol\.weighting: test_like -> none"):
        resume(stores, stored, prepare(replace(request, overrides=("protocol.weighting=none",)), Console(quiet=True)))


def test_without_test_images_weighting_is_refused(study_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "no test"
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for i in range(8):
            pixels = np.random.default_rng(i).integers(0, 200, (8, 8, 3)).astype(np.uint8) + np.uint8(colour[0] // 5)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    with pytest.raises(CannotWeight, match="needs test images"):
        estimate_image_weights(inspect(folder, DataOptions()), weights=None, home=Home(), say=silent)


def test_a_study_that_asks_for_weights_is_not_created_without(stores: Stores, weighted: StudyPlan) -> None:
    with pytest.raises(ValueError, match="test_like"):
        create_study(stores, replace(weighted, weighting=None))
    assert stores.studies.find("weighted") is None


@pytest.fixture
def searched(stores: Stores, weighted: StudyPlan, folder: Path, tmp_path: Path) -> Iterator[StudyContext]:
    context = make_context(stores, create_study(stores, weighted), folder, tmp_path / "home")
    work_on(context)
    yield context
    context.loader.close()


@pytest.mark.slow
def test_every_score_of_the_study_is_weighted(
    searched: StudyContext, stores: Stores, weighting: Weighting, tmp_path: Path
) -> None:
    study, y, weights = searched.study, searched.images.y, weighting.values
    record = stores.trials.records(study.id, kind=WorkKind.SEARCH)[0]
    oof = stores.trials.prediction(record.id, "oof")
    assert record.value == score("accuracy", Targets(y, weights), oof)
    assert record.value_se == standard_error("accuracy", Targets(y, weights), oof)
    curve = stores.trials.curves(record.id)[-1]
    assert curve.metric == record.value
    assert record.mean_true_probability == pytest.approx(mean_over(curve.true_class, weights), abs=1e-3)
    url = stores.database.url.render_as_string(hide_password=False)
    assert replay(ReplayRequest(study="weighted", trial=0, data=None, storage_url=url, home=tmp_path, weights=None))

    plan = plan_export(stores, study, seeds=None, full_data=False)
    ids = queue_refits(stores, plan, searched.home)
    work_on(searched)
    refits = gather_refits(stores, plan, ids)
    assert refits.fitted is not None
    judged = refits.fitted.cross_fitted.scored_output(refits.mean_oof(), "accuracy")
    assert refits.fitted.score == score("accuracy", Targets(y, weights), judged)
    assert refits.fitted.error == standard_error("accuracy", Targets(y, weights), judged)
    export = write_export(stores, plan, refits, searched.images, searched.home, tmp_path / "out", None)
    card = (export.folder / "MODEL_CARD.md").read_text()
    effective = f"the 90 images count as {effective_images(weights):.0f} equal ones"
    assert f"- Scores are weighted toward the test images: {effective}" in card
    assert "separated by descriptors of the pixels, AUC 0." in card


def test_studies_with_different_weights_are_not_blended(
    stores: Stores, weighted: StudyPlan, weighting: Weighting, study_file: Path, folder: Path
) -> None:
    one = create_study(stores, weighted)
    plain = create_study(stores, study_plan(study_file, folder, name="plain"))
    other = create_study(
        stores, replace(weighted, name="other", weighting=replace(weighting, values=weighting.values[::-1]).stored)
    )
    with pytest.raises(StudiesDiffer, match=r"protocol\.weighting = none, weighted has test_like"):
        read_pool(stores, [one, plain])
    with pytest.raises(StudiesDiffer, match="different features, other by"):
        read_pool(stores, [one, other])


def test_lost_weights_are_an_error(stores: Stores, weighted: StudyPlan) -> None:
    stored = create_study(stores, weighted)
    with stores.database.writing() as connection:
        connection.execute(text("DELETE FROM retable_study_weights"))
    with pytest.raises(StorageError, match="weighted"):
        read_weights(stores, stored)


def test_weights_without_a_recorded_origin_are_described() -> None:
    line = weights_line(ImageWeights(values=np.array([1.0, 1.0, 2.0]), about={}))
    assert "3 images count as 3 equal ones" in line and "not recorded" in line
