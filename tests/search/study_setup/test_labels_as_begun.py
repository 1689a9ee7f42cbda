"""A study goes on with the labels and in the folder with which it was begun, whatever is corrected later."""

from __future__ import annotations

import dataclasses
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from sqlalchemy import update

from search.engines.plan import Workers
from search.study_setup.create_study import StudyPlan, create_study, resume
from search.study_setup.data_folder import Competition, DataMismatch, known_folder, known_folders
from search.study_setup.open_images import BY_INDEX, RELABELLED, open_for_training, pretraining_images
from search.study_setup.prepare import StartRequest, prepare
from search.study_state.study import Study, read_study
from search.workflow.apply_review import apply_review
from storage.database import tables
from storage.stores import Stores
from tests.databases import DIALECTS
from tests.search.small_study import study_plan
from trainer.data.duplicates import find_duplicates
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.read import read_images
from trainer.formats.label_tables import CORRECTIONS_FILE, Correction, write_corrections

AT_FIRST = (("p000", "blue", "red"), ("p001", "green", "blue"), ("p002", "red", None))
LATER = (("p003", "blue", "green"), ("p004", "green", None), ("p000", "blue", "green"))
"""Two more corrections, and another decision about the first image."""
Prepared = Callable[..., tuple[StudyPlan, str]]


def correct(folder: Path, *decisions: tuple[str, str, str | None]) -> None:
    """Write corrections; the last one about an image counts."""
    source = read_images(folder, DataOptions(corrections=False), verify=False).label_source
    last = {
        each[0]: Correction(id=each[0], given=each[1], label=each[2], fingerprint="", label_source=source)
        for each in decisions
    }
    write_corrections(folder / CORRECTIONS_FILE, last.values())


def labels(images: ImageSet) -> dict[str, str]:
    return {identifier: images.label_of(row) for row, identifier in enumerate(images.train_ids)}


@pytest.fixture
def data(tmp_path: Path, competition_folder: Path) -> Path:
    folder = Path(shutil.copytree(competition_folder, tmp_path / "data"))
    correct(folder, *AT_FIRST)
    return folder


@pytest.fixture
def study(stores: Stores, study_file: Path, data: Path) -> Study:
    return create_study(stores, study_plan(study_file, data))


@pytest.fixture
def prepared(url: str, study_file: Path, tmp_path: Path) -> Prepared:
    """Prepares ``search start``; returns the plan and the printed text."""

    def run(data: Path | None, **changes: object) -> tuple[StudyPlan, str]:
        values = dict.fromkeys(StartRequest.__dataclass_fields__) | {
            "study": str(study_file),
            "data": data,
            "storage_url": url,
            "overrides": (),
            "memory": False,
            "workers": Workers(workers=0, home=tmp_path / "home"),
        }
        console = Console(file=io.StringIO(), width=400, highlight=False)
        plan = prepare(StartRequest(**(values | changes)), console)  # type: ignore[arg-type]
        assert isinstance(console.file, io.StringIO)
        return plan, console.file.getvalue()

    return run


def forget(stores: Stores) -> None:
    """Leave what an earlier release would have stored."""
    with stores.database.writing() as connection:
        connection.execute(update(tables.Study).values(corrections=None, data_dir=None))


def remove(data: Path) -> None:
    (data / CORRECTIONS_FILE).unlink()


def damage(data: Path) -> None:
    (data / CORRECTIONS_FILE).write_text("damaged")


CHANGES: dict[str, Callable[[Path], None]] = {
    "none": lambda data: None,
    "further": lambda data: correct(data, *AT_FIRST, *LATER),
    "fewer": lambda data: correct(data, *AT_FIRST[:1]),
    "removed": remove,
    "damaged": damage,
}


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
@pytest.mark.parametrize("release", ["this", "earlier"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_study_begun_with_corrections_keeps_its_labels(
    stores: Stores, study: Study, prepared: Prepared, data: Path, change: str, release: str
) -> None:
    before = open_for_training(data, study, stores)
    assert (labels(before)["p000"], labels(before)["p001"], "p002" in labels(before)) == ("red", "blue", False)
    CHANGES[change](data)
    if release == "earlier":
        forget(stores)
    opened = open_for_training(data, study, stores)
    assert (opened.fingerprint, labels(opened)) == (study.fingerprint, labels(before))
    assert opened.corrections == before.corrections or release == "earlier"
    for overrides in ((), ("data.corrections=false",)):
        plan, printed = prepared(None, overrides=overrides)
        assert plan.competition.images.fingerprint == study.fingerprint
        assert plan.competition.images.inspected is not None
        assert ("keeps the labels" in printed) == (change != "none" or bool(overrides)), printed
        continued = resume(stores, read_study(stores, study.name), plan)
        assert (continued.fingerprint, continued.spec.data.corrections) == (study.fingerprint, True)


@pytest.mark.parametrize("release", ["this", "earlier"])
def test_a_new_study_reads_the_new_corrections(
    stores: Stores, study: Study, prepared: Prepared, data: Path, release: str
) -> None:
    correct(data, *AT_FIRST, *LATER)
    if release == "earlier":
        forget(stores)
    plan, printed = prepared(data, name="later")
    found = labels(plan.competition.images)
    assert (found["p000"], found["p003"], "p004" in found, "keeps" in printed) == ("green", "green", False, False)
    later = create_study(stores, plan)
    remove(data)
    assert labels(open_for_training(data, later, stores)) == found
    assert len(open_for_training(data, study, stores).train_ids) == 29


@pytest.mark.parametrize(
    ("release", "row"), [("this", "p000,blue"), ("this", "p005,red"), ("earlier", "p005,red")], ids=str
)
def test_labels_that_change_in_the_data_are_other_images(
    stores: Stores, study: Study, prepared: Prepared, data: Path, release: str, row: str
) -> None:
    table = data / "train.csv"
    table.write_text(table.read_text().replace(row, f"{row.partition(',')[0]},green"))
    remove(data)
    if release == "earlier":
        forget(stores)
    with pytest.raises(DataMismatch, match="Point --data at the original folder") as caught:
        open_for_training(data, study, stores)
    assert "--no-corrections" not in str(caught.value)
    plan, printed = prepared(data)
    with pytest.raises(DataMismatch, match="Give the original folder, or choose another --name"):
        resume(stores, study, plan)
    assert "keeps" not in printed


def test_data_that_have_the_decided_labels_by_now_are_the_same_images(stores: Stores, study: Study, data: Path) -> None:
    table = data / "train.csv"
    text = table.read_text()
    for identifier, given, label in AT_FIRST:
        row = f"{identifier},{given}\n"
        assert row in text
        text = text.replace(row, "" if label is None else f"{identifier},{label}\n")
    table.write_text(text)
    (data / "train" / "p002.png").unlink()
    remove(data)
    assert open_for_training(data, study, stores).fingerprint == study.fingerprint


@pytest.mark.parametrize("kind", [RELABELLED, BY_INDEX])
def test_a_pre_training_keeps_its_images(stores: Stores, study_file: Path, data: Path, kind: str) -> None:
    plan = study_plan(study_file, data, name="pre")
    source = plan.competition.images
    classes = {"blue": "cold", "green": "", "red": "warm"}
    by_index = {"with_test": True, "most": 20, "repeats": 3}
    images = source.by_index(**by_index) if kind == BY_INDEX else pretraining_images(source, classes)  # type: ignore[arg-type]
    competition = Competition(images=images, duplicates=find_duplicates(images))
    changed = dataclasses.replace(
        plan,
        competition=competition,
        held_out=np.arange(len(images.y)) < 3,
        summary={kind: by_index if kind == BY_INDEX else classes},
    )
    study = create_study(stores, changed)
    correct(data, *AT_FIRST, *LATER)
    assert read_images(data, verify=False).train_ids != source.train_ids
    opened = open_for_training(data, study, stores)
    assert opened.fingerprint == study.fingerprint and opened.y.tolist() == images.y.tolist()


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_each_study_knows_its_own_copy_of_the_images(
    stores: Stores, study: Study, prepared: Prepared, study_file: Path, url: str, data: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(data, tmp_path / "copy"))
    plan, _ = prepared(copy, name="second")
    second = create_study(stores, plan)
    assert second.fingerprint == study.fingerprint
    assert [known_folder(stores, each.stored) for each in (study, second)] == [data, copy]
    before = (data / CORRECTIONS_FILE).read_bytes()
    review = tmp_path / "review.csv"
    review.write_text("id,given,decision\np005,red,blue\n")
    apply_review("second", url, None, review)
    assert (data / CORRECTIONS_FILE).read_bytes() == before != (copy / CORRECTIONS_FILE).read_bytes()
    assert labels(open_for_training(copy, second, stores))["p005"] == "red"

    moved = Path(shutil.copytree(data, tmp_path / "moved"))
    plan, _ = prepared(moved, name="second")
    second = resume(stores, second, plan)
    assert known_folders(stores, second.stored) == [moved, data]
    shutil.rmtree(moved)
    assert known_folder(stores, second.stored) == data, "which holds the same images"
    forget(stores)
    assert known_folder(stores, read_study(stores, "second").stored) == data
