"""`search import`: storing, listing and removing predictions, doubts about them, and refused files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from search.report.status import show_status
from search.study_state.study import Study
from search.study_state.study_targets import read_folds
from search.worker.study_context import StudyContext
from search.workflow.import_predictions import (
    ImportMistake,
    ImportRequest,
    import_predictions,
    list_imports,
    remove_import,
)
from storage.stores import Stores
from tests.search.instant_training import pretending
from tests.search.small_study import work_on
from trainer.common.errors import DataError
from trainer.formats.delimited import write_table

Import = Callable[..., str]


def write(path: Path, ids: tuple[str, ...], proba: NDArray[np.float64], folds: NDArray[np.int64] | None = None) -> Path:
    """A table in the format of an export's, without seeds."""
    extra = ["fold"] * (folds is not None)
    rows = [["image_id", *extra, "p_blue", "p_green", "p_red"]]
    for i, (name, row) in enumerate(zip(ids, proba, strict=True)):
        fold = [] if folds is None else [str(folds[i])]
        rows.append([name, *fold, *(f"{value:.8g}" for value in row)])
    write_table(path, rows)
    return path


@pytest.fixture
def searched(context: StudyContext) -> StudyContext:
    work_on(pretending(context, lambda task: 0.7))
    return context


@pytest.fixture
def bring(
    searched: StudyContext,
    stores: Stores,
    stored: Study,
    url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Import:
    """Writes files, imports them, and returns the output on one line."""
    dataset = stores.datasets.get(stored.fingerprint)

    def run(right: float, label: str | None = None, folds: NDArray[np.int64] | None = None, seed: int = 0) -> str:
        draws = np.random.default_rng(seed)
        guess = np.where(draws.random(len(dataset.y)) < right, dataset.y, (dataset.y + 1) % 3)
        oof = write(tmp_path / "theirs.csv", dataset.train_ids, 0.7 * np.eye(3)[guess] + 0.1, folds)
        test = write(tmp_path / "their_test.csv", dataset.test_ids, np.full((len(dataset.test_ids), 3), 1 / 3))
        import_predictions(ImportRequest(study=None, storage_url=url, oof=oof, test=test, label=label))
        return " ".join(capsys.readouterr().out.split())

    return run


def test_predictions_are_stored_listed_and_removed(
    bring: Import, stores: Stores, stored: Study, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = bring(0.8)
    (record,) = stores.imports.all(stored.id)
    assert record.label == "theirs" and record.value is not None and record.notes["doubts"] == []
    assert f"Imported 'theirs' into study colours: out-of-fold accuracy {record.value:.4f} ±" in said
    assert "really held out" in said and "doubtful" not in said
    assert "these predictions already, as 'theirs': nothing changed" in bring(0.8, "again")
    with pytest.raises(ImportMistake, match=r"other predictions called 'theirs'.*--remove theirs"):
        bring(0.8, "theirs", seed=1)
    bring(0.7, "second", seed=2)
    list_imports("colours", url)
    show_status("colours", url, tmp_path / "home")
    out = capsys.readouterr().out
    assert out.count("theirs") >= 3 and "imported second: out-of-fold accuracy" in " ".join(out.split())
    with pytest.raises(ImportMistake, match="called 'third'; there is: 'theirs', 'second'"):
        remove_import(None, url, "third")
    remove_import(None, url, "theirs")
    assert [left.label for left in stores.imports.all(stored.id)] == ["second"]


def test_doubts_are_printed_and_stored(bring: Import, stores: Stores, stored: Study) -> None:
    ours = read_folds(stores, stored, 0)
    assert "folds" not in bring(0.8, "same", 1 - ours)
    said = bring(1.0, "leak", np.arange(len(ours)) % 2)
    assert "doubtful: it is nearly always right" in said and "note: its folds are not the study's" in said
    assert "That would spoil the final model" in said
    doubts = stores.imports.all(stored.id)[-1].notes["doubts"]
    assert "nearly always right" in " ".join(doubts) and "its folds" in doubts[-1]


def test_problems_of_both_files_are_listed_together_and_nothing_is_stored(
    bring: Import, stores: Stores, stored: Study, url: str, tmp_path: Path
) -> None:
    dataset = stores.datasets.get(stored.fingerprint)
    bad = np.full((len(dataset.y), 3), 1 / 3)
    bad[4] = 0.5, 0.5, 0.5
    oof = write(tmp_path / "bad.csv", dataset.train_ids, bad)
    test = write(tmp_path / "short.csv", dataset.test_ids[:-1], np.full((len(dataset.test_ids) - 1, 3), 1 / 3))
    with pytest.raises(DataError) as caught:
        import_predictions(ImportRequest(study=None, storage_url=url, oof=oof, test=test, label=None))
    assert "bad.csv row 6" in str(caught.value) and "add up to 1.5" in str(caught.value)
    assert f"short.csv has no row for 1 of {len(dataset.test_ids)} test images" in str(caught.value)
    for test_file, label, message in ((None, None, "--test FILE gives"), (test, "../up", "cannot be called '../up'")):
        with pytest.raises(ImportMistake, match=message):
            import_predictions(ImportRequest(study=None, storage_url=url, oof=oof, test=test_file, label=label))
    assert stores.imports.all(stored.id) == []
