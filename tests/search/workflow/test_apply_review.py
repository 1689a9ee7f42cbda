"""`search labels --apply`: from a filled-in review to corrected data, and to studies before and after."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from search.page.facts import read_facts
from search.page.labels.command import review_labels
from search.page.sections.data import data as data_section
from search.study_setup.create_study import create_study, resume
from search.study_setup.data_folder import CORRECTIONS, DataMismatch, NoData
from search.study_setup.open_images import open_for_training
from search.study_state.study import Study
from search.workflow.apply_review import CorrectionsNotWritable, apply_review
from storage.stores import Stores
from tests.search.page.labels.test_candidates import FLIPPED, several, sure_of
from tests.search.page.made_up import end_trials, lay_study
from tests.search.small_study import study_plan
from tests.trainer.images import save
from trainer.common.errors import DataError
from trainer.data.names.own_files import REVIEW_TABLE
from trainer.formats.label_tables import CORRECTIONS_FILE, read_corrections, read_review, write_review

HEADER = "id,given,proposed,confidence,decision"


@pytest.fixture
def data(tmp_path: Path, competition_folder: Path) -> Path:
    """A copy of the competition: p000 to p029, in turn blue, green and red."""
    return Path(shutil.copytree(competition_folder, tmp_path / "data"))


@pytest.fixture
def study(stores: Stores, study_file: Path, data: Path) -> Study:
    return create_study(stores, study_plan(study_file, data))


def review(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "review.csv"
    path.write_text("\n".join([HEADER, *rows, ""]), encoding="utf-8")
    return path


def test_decisions_are_written_beside_the_images(
    study: Study, url: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ("p000,blue,red,0.9,red", "p001,green,red,0.8,keep", "p002,red,blue,0.7,drop", "p003,blue,red,0.6,")
    apply_review(None, url, None, review(tmp_path, *rows))
    found = {each.id: each.label for each in read_corrections(data / CORRECTIONS_FILE)}
    assert found == {"p000": "red", "p001": "green", "p002": None}
    printed = " ".join(capsys.readouterr().out.split())
    assert "3 decisions are written from" in printed and "1 further rows are not decided yet" in printed
    assert f"1 label corrected, 1 image dropped by the corrections in {CORRECTIONS_FILE}" in printed
    apply_review(study.name, url, data, review(tmp_path, "p003,blue,red,0.6,red", "p002,red,blue,0.7,keep"))
    found = {each.id: each.label for each in read_corrections(data / CORRECTIONS_FILE)}
    assert found == {"p000": "red", "p001": "green", "p002": "red", "p003": "red"}


@pytest.mark.parametrize(
    "rows",
    [
        ("p000,blue,red,0.9,red", "p099,blue,red,0.9,red"),
        ("p000,blue,red,0.9,red", "p001,green,red,0.9,rde"),
        tuple(f"p{i:03},blue,red,0.9,drop" for i in range(0, 30, 3)),
    ],
    ids=["unknown image", "unknown class", "a class without images"],
)
def test_a_mistake_changes_nothing(study: Study, url: str, data: Path, tmp_path: Path, rows: tuple[str, ...]) -> None:
    apply_review(None, url, None, review(tmp_path, "p004,green,red,0.9,red"))
    before = (data / CORRECTIONS_FILE).read_bytes()
    with pytest.raises(DataError) as caught:
        apply_review(None, url, None, review(tmp_path, *rows))
    assert len(caught.value.problems) == 1 and "Nothing was changed" in caught.value.advice
    assert (data / CORRECTIONS_FILE).read_bytes() == before
    assert {path.name for path in data.iterdir() if path.name.startswith(".")} == set(), "nothing temporary is left"


def test_a_study_before_the_corrections_keeps_its_labels(
    study: Study, stores: Stores, study_file: Path, url: str, data: Path, tmp_path: Path
) -> None:
    apply_review(None, url, None, review(tmp_path, "p000,blue,red,0.9,red", "p002,red,blue,0.7,drop"))
    opened = open_for_training(data, study, stores)
    assert opened.fingerprint == study.fingerprint and opened.class_names[opened.y[0]] == "blue"
    with pytest.raises(DataMismatch, match="was begun on other images"):
        resume(stores, study, study_plan(study_file, data))
    raw = resume(stores, study, study_plan(study_file, data, "data.corrections=false"))
    assert raw.fingerprint == study.fingerprint


def test_a_study_after_the_corrections_is_on_corrected_labels(
    study: Study, stores: Stores, study_file: Path, url: str, data: Path, tmp_path: Path
) -> None:
    apply_review(None, url, None, review(tmp_path, "p000,blue,red,0.9,red"))
    later = create_study(stores, study_plan(study_file, data, name="later"))
    assert later.fingerprint != study.fingerprint
    dataset = stores.datasets.get(later.fingerprint)
    assert dataset.class_names[dataset.y[0]] == "red"
    assert (
        dataset.summary[CORRECTIONS] == f"1 label corrected, 0 images dropped by the corrections in {CORRECTIONS_FILE}"
    )
    assert open_for_training(data, later, stores).fingerprint == later.fingerprint
    assert any("1 label corrected" in line for line in data_section(read_facts(stores, "later")).lines)
    (data / CORRECTIONS_FILE).unlink()
    assert open_for_training(data, later, stores).fingerprint == later.fingerprint, "as it was begun"


def test_a_review_of_the_corrected_data_lists_what_is_open(
    study: Study, stores: Stores, url: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = (0, 1, 2)
    end_trials(stores, study, 1, lambda number, _: sure_of(wrong, n=30))
    apply_review(None, url, None, review(tmp_path, "p000,blue,green,0.9,keep", "p001,green,red,0.8,red"))
    capsys.readouterr()
    review_labels(None, url, tmp_path / "home", None, tmp_path / "out")
    assert [row.id for row in read_review(tmp_path / "out" / REVIEW_TABLE)] == ["p002"]
    printed = " ".join(capsys.readouterr().out.split())
    assert f"2 further candidates are left out, decided in {CORRECTIONS_FILE} already" in printed


def test_a_review_of_one_column_decides_nothing_about_another(
    stores: Stores, study_file: Path, url: str, data: Path, tmp_path: Path
) -> None:
    """Two studies of the same images with the same classes; the later one is of the other column."""
    table = data / "train.csv"
    header, *lines = table.read_text().splitlines()
    table.write_text("\n".join([f"{header},second", *(f"{line},{line.rpartition(',')[2]}" for line in lines), ""]))
    column = header.rpartition(",")[2]
    first = create_study(stores, study_plan(study_file, data, f"data.label_column={column}"))
    create_study(stores, study_plan(study_file, data, "data.label_column=second", name="later"))
    end_trials(stores, first, 1, lambda number, _: sure_of((0, 1, 2), n=30))
    review_labels(first.name, url, tmp_path / "home", None, tmp_path / "out")
    filled = tmp_path / "out" / REVIEW_TABLE
    rows = read_review(filled)
    assert len(rows) == 3 and {row.label_source for row in rows} == {f"train.csv: {column}"}
    write_review(filled, [replace(row, decision=row.proposed) for row in rows])
    with pytest.raises(DataError, match=rf"labels of 'train.csv: {column}', but the study reads .*second'"):
        apply_review("later", url, None, filled)
    assert not (data / CORRECTIONS_FILE).exists()
    apply_review(first.name, url, None, filled)
    assert {each.label_source for each in read_corrections(data / CORRECTIONS_FILE)} == {f"train.csv: {column}"}
    review_labels(first.name, url, tmp_path / "home", None, tmp_path / "again")
    assert read_review(tmp_path / "again" / REVIEW_TABLE) == [], "all are decided"


def test_an_empty_review_writes_nothing(
    study: Study, url: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    apply_review(None, url, None, review(tmp_path, "p000,blue,red,0.9,", "p001,green,red,0.9, "))
    assert "holds no decision yet" in " ".join(capsys.readouterr().out.split())
    assert not (data / CORRECTIONS_FILE).exists()


def test_decisions_that_keep_every_label_change_no_study(
    study: Study, stores: Stores, study_file: Path, url: str, data: Path, tmp_path: Path
) -> None:
    apply_review(None, url, None, review(tmp_path, "p000,blue,red,0.9,keep"))
    assert resume(stores, study, study_plan(study_file, data)).fingerprint == study.fingerprint


def test_a_folder_of_others_is_named(
    study: Study, url: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.workflow import apply_review as module

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module, "write_corrections", refuse)
    with pytest.raises(CorrectionsNotWritable, match=r"Permission denied.*copy the folder"):
        apply_review(None, url, None, review(tmp_path, "p000,blue,red,0.9,red"))


def test_lists_of_labels_are_corrected_from_the_review_to_the_next_study(
    stores: Stores, study_file: Path, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Predictions contradict four entries of the matrix of labels; every proposal is taken, but for one image."""
    y, proba = several(30)
    truth = (proba > 0.5).astype(int)
    for i in range(30):
        save(tmp_path / "data" / "train" / f"{i}.png", i, 8)
    lines = ["image,red,green,blue", *(f"{i}.png,{','.join(map(str, own))}" for i, own in enumerate(y))]
    (tmp_path / "data" / "train.csv").write_text("\n".join([*lines, ""]))
    settings = ("protocol.metric=mean_f1", "data.several_labels=yes")
    study = create_study(stores, study_plan(study_file, tmp_path / "data", *settings))
    by_name = [("red", "green", "blue").index(name) for name in stores.datasets.get(study.fingerprint).class_names]
    end_trials(stores, study, 1, lambda number, _: proba[:, by_name])
    review_labels(None, url, tmp_path / "home", None, tmp_path / "out")
    rows = read_review(tmp_path / "out" / REVIEW_TABLE)
    assert {row.id for row in rows} == {f"{i}.png" for i in FLIPPED}
    filled = review(tmp_path, *(f"{row.id},{row.given},,,{row.proposed}" for row in rows if row.id != "4.png"))
    apply_review(None, url, None, filled)
    assert "the labels of 3 images corrected, 0 images dropped" in " ".join(capsys.readouterr().out.split())
    truth[4] = y[4]
    later = create_study(stores, study_plan(study_file, tmp_path / "data", *settings, name="later"))
    assert stores.datasets.get(later.fingerprint).y.tolist() == truth[:, by_name].tolist()
    assert open_for_training(tmp_path / "data", study, stores).y.tolist() == y[:, by_name].tolist()
    review_labels(study.name, url, tmp_path / "home", None, tmp_path / "again")
    assert [row.id for row in read_review(tmp_path / "again" / REVIEW_TABLE)] == ["4.png"]
    before = (tmp_path / "data" / CORRECTIONS_FILE).read_bytes()
    for decision in ("red green", "red|pink", "|"):
        with pytest.raises(DataError, match="Nothing was changed"):
            apply_review(None, url, None, review(tmp_path, "5.png,red,,,keep", f"4.png,blue|green,,,{decision}"))
    assert (tmp_path / "data" / CORRECTIONS_FILE).read_bytes() == before


def test_what_is_missing_is_named(stores: Stores, url: str, tmp_path: Path) -> None:
    lay_study(stores, tmp_path)
    with pytest.raises(NoData):
        apply_review("made_up", url, None, review(tmp_path, "a,b,c,0.9,d"))
    with pytest.raises(DataError, match="there is no file"):
        apply_review("made_up", url, tmp_path, tmp_path / "none.csv")
