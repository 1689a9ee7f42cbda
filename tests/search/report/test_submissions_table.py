"""The ledger of submissions, on a real database; refits are stored as workers would store them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from search.export.submitted_labels import UnusablePredictions, read_test_proba, submitted_labels
from search.report.status import show_status
from search.report.submissions import (
    ImpossibleScore,
    NoExport,
    ScoreRequest,
    as_scored,
    submissions,
    what_it_is,
)
from search.study_setup.create_study import found
from storage.errors import StorageError, UnknownStudyError
from storage.records.studies import StoredStudy
from storage.stores import Ledger
from storage.values import TrialOutcome, TrialStatus, WorkKind
from studies.spec import StudySpec
from tests.databases import DIALECTS
from tests.search.colours import founding
from trainer.formats.delimited import write_table

RECIPE = {"backbone": "test_resnet", "tta": "none"}
NOTES = {"trial": 2, "seeds": 2, "full_data": False, "views": ["identity", "hflip"]}
Tell = Callable[..., str]


@pytest.fixture
def tell(ledger: Ledger, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tell:
    """`search submissions` with these options: what it prints."""
    monkeypatch.setenv("COLUMNS", "400")

    def run(study: str | None = None, **said: float) -> str:
        capsys.readouterr()
        submissions(study, url, ScoreRequest(**said))  # type: ignore[arg-type]
        return capsys.readouterr().out

    return run


def row(out: str, number: int) -> list[str]:
    """The cells of an export: its number, out-of-fold score, forecast, public and private score, and the rest."""
    (line,) = (line for line in out.splitlines() if line.split()[:1] == [str(number)])
    return re.split(r" {2,}", line.strip())


def add(ledger: Ledger, stored: StoredStudy, folder: Path | str, **changes: object) -> int:
    values = {"recipe": RECIPE, "score": 0.8, "score_se": 0.073, "notes": NOTES, **changes}
    return ledger.runs.add_export(stored.id, folder=str(folder), **values)  # type: ignore[arg-type]


def proba(seed: int) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).random((6, 3)).astype(np.float32)
    return rows / rows.sum(axis=1, keepdims=True)


def store_refit(
    ledger: Ledger,
    stored: StoredStudy,
    seed: int,
    tests: dict[str, NDArray[np.float32]],
    recipe: Mapping[str, object] = RECIPE,
) -> None:
    ledger.queue.add(stored.id, WorkKind.REFIT, split=0, seed=seed, recipe=recipe)
    item = ledger.queue.take(stored.id, "w", 60)
    assert item is not None
    ledger.queue.store(item, TrialOutcome(status=TrialStatus.FINISHED, value=0.8, predictions=tests))


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_scores_are_recorded_replaced_and_shown(
    ledger: Ledger, stored: StoredStudy, tell: Tell, tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Nothing has been exported yet" in tell()
    with pytest.raises(NoExport, match="nothing has been exported yet"):
        tell(public=0.5)
    first = add(ledger, stored, tmp_path / "a")
    forecast = {"expected": 0.7, "low": 0.6, "high": 0.8, "level": 0.9, "test_images": 6, "metric": "accuracy"}
    second = add(ledger, stored, tmp_path / "b[red]", forecast=forecast)
    out = tell()
    assert "accuracy on 30 training and 6 test images" in out
    assert "colours: trial 2, 2 seeds, views identity+hflip" in out
    assert row(out, first)[1:5] == ["0.8000 ± 0.0730", "-", "-", "-"]
    assert row(out, second)[1:5] == ["0.8000 ± 0.0730", "0.7000 (0.6000 to 0.8000)", "-", "-"]
    assert "b[red]" in out, "names are no markup"
    assert "search submissions --public SCORE" in out

    out = tell(public=0.5, public_images=4)
    assert f"the public score of export {second} is 0.5000." in out, "the latest"
    assert "4 of them public" in out
    out = tell(export=first, public=0.75, private=0.5)
    assert row(out, first)[3:5] == ["0.7500", "0.5000"]
    out = tell(public=0.25)
    assert f"the public score of export {second} is 0.2500, in place of 0.5000." in out
    assert f"Export {first} against {second}: +50.0 points public" in out, "what --public-images said is remembered"
    show_status("colours", url, tmp_path / "home")
    assert "  0.7500   0.5000" in capsys.readouterr().out


def test_wrong_words_record_nothing(ledger: Ledger, stored: StoredStudy, tell: Tell, tmp_path: Path) -> None:
    number = add(ledger, stored, tmp_path)
    with pytest.raises(NoExport, match=rf"no export {number + 1} here; there are: {number}"):
        tell(public=0.5, export=number + 1)
    with pytest.raises(ImpossibleScore, match=r"accuracy cannot be 65.6: it is from 0 to 1; 65.6 percent is 0.656"):
        tell(public=65.6, public_images=4)
    for wrong in (float("nan"), float("inf"), -0.1):
        with pytest.raises(ImpossibleScore):
            tell(public=0.5, private=wrong, public_images=4)
    for images in (0, 7):
        with pytest.raises(StorageError, match="some or all of the 6 test images"):
            tell(public=0.5, public_images=images)
    with pytest.raises(UnknownStudyError):
        tell("nonesuch", public=0.5)
    (export,) = ledger.runs.exports(stored.id)
    assert (export.public_score, export.private_score) == (None, None)
    assert ledger.datasets.get(stored.fingerprint).public_images is None


def test_a_log_loss_counts_as_studies_count_it() -> None:
    assert as_scored("log_loss", 0.85) == as_scored("log_loss", -0.85) == -0.85
    assert as_scored("qwk", -0.2) == -0.2
    with pytest.raises(ImpossibleScore, match="any number from 0 on"):
        as_scored("log_loss", float("nan"))


def test_the_exports_of_all_studies_or_of_one(
    ledger: Ledger, stored: StoredStudy, study_file: Path, competition_folder: Path, tell: Tell, tmp_path: Path
) -> None:
    other = found(ledger, founding(study_file, competition_folder, "protocol.metric=macro_f1", name="other"))
    first, second = add(ledger, stored, tmp_path / "a"), add(ledger, other, tmp_path / "b")
    out = tell()
    assert out.index("accuracy on 30") < out.index("colours:") < out.index("macro_f1 on 30") < out.index("other:")
    assert "colours:" not in tell("other")
    assert f"export {first} " in tell("colours", public=0.5), "the latest of that study"
    with pytest.raises(NoExport, match=f"there are: {second}"):
        tell("other", public=0.5, export=first)


def test_what_an_export_is_made_of() -> None:
    members = {"members": [{"trial": 3, "weight": 0.5}, {"trial": 8, "weight": 0.25}, "junk"], "seeds": 1}
    assert what_it_is(members) == "trials 3 x 0.5, 8 x 0.25, 1 seed"
    assert what_it_is({"trial": 0, "full_data": True}) == "trial 0, trained on all images"
    assert what_it_is({}) == "trial ?"


class TestLabels:
    """What the test images were labelled, wherever it is found."""

    @pytest.fixture
    def labels(self, ledger: Ledger, stored: StoredStudy) -> Callable[..., list[int] | None]:
        """Of the latest export."""

        def read(*, overwritten: bool = True) -> list[int] | None:
            export, dataset = ledger.runs.exports(stored.id)[-1], ledger.datasets.get(stored.fingerprint)
            found = submitted_labels(ledger, stored, export, dataset, overwritten=overwritten)
            return None if found is None else found.tolist()

        return read

    def test_of_refits_averaged_as_the_export_did(
        self, ledger: Ledger, stored: StoredStudy, tmp_path: Path, labels: Callable[..., list[int] | None]
    ) -> None:
        add(ledger, stored, tmp_path)
        store_refit(ledger, stored, 0, {"test.identity": proba(1), "test.hflip": proba(2), "test.vflip": proba(9)})
        assert labels() is None, "one of two seeds is missing"
        store_refit(ledger, stored, 1, {"test.identity": proba(3), "test.hflip": proba(4)})
        mean = np.mean([proba(seed) for seed in (1, 2, 3, 4)], axis=0)
        assert labels() == mean.argmax(axis=1).tolist()
        add(ledger, stored, tmp_path, notes={**NOTES, "temperature": 2.0, "offsets": [0.0, 5.0, 0.0], "cuts": []})
        assert labels() == [1] * 6, "as the export decided, not by the largest probability"
        add(ledger, stored, tmp_path, notes={**NOTES, "temperature": 1.0, "offsets": [], "cuts": [0.1, 1.9]})
        assert labels() == [1] * 6
        for broken in ({"offsets": [1.0]}, {"cuts": "ab"}, {"temperature": 0}, {"offsets": [None] * 3}, {"views": []}):
            add(ledger, stored, tmp_path, notes={**NOTES, **broken})
            assert labels() is None, broken

    def test_of_the_members_of_an_ensemble(
        self, ledger: Ledger, stored: StoredStudy, tmp_path: Path, labels: Callable[..., list[int] | None]
    ) -> None:
        item = ledger.queue.take(stored.id, "w", 60)
        assert item is not None
        recipe = StudySpec.from_dict(stored.spec).default_recipe()
        named = ledger.queue.name_trial(item, 0, recipe)
        assert named is not None
        ledger.queue.store(named, TrialOutcome(status=TrialStatus.FINISHED, value=0.8))
        members = [{"trial": 0, "weight": 0.75, "views": ["identity"]}]
        add(ledger, stored, tmp_path, notes={"seeds": 1, "members": members})
        assert labels() is None, "not refitted"
        store_refit(ledger, stored, 0, {"test.identity": proba(6)}, recipe=recipe)
        assert labels() == proba(6).argmax(axis=1).tolist()
        for member in ({"trial": 5, "weight": 0.25}, {"trial": 0, "weight": None, "views": ["identity"]}, "junk"):
            add(ledger, stored, tmp_path, notes={"seeds": 1, "members": [*members, member]})
            assert labels() is None, member

    def test_of_the_file_that_was_written(
        self, ledger: Ledger, stored: StoredStudy, tmp_path: Path, labels: Callable[..., list[int] | None]
    ) -> None:
        add(ledger, stored, tmp_path)
        assert labels(overwritten=False) is None, "no file"
        write(tmp_path, ledger.datasets.get(stored.fingerprint).test_ids)
        assert labels(overwritten=False) == proba(5).argmax(axis=1).tolist()
        assert labels(overwritten=True) is None, "it is of a later export"

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda rows: rows[:-1], "other test images"),
            (lambda rows: [rows[0], *rows[:0:-1]], "another order"),
            (lambda rows: [["image_id", "p_a", "p_b", "p_c"], *rows[1:]], "other columns"),
            (lambda rows: [*rows[:-1], [rows[-1][0], "nan", "0", "1"]], "no probabilities"),
            (lambda rows: [*rows[:-1], [rows[-1][0], "-0.1", "0", "1"]], "no probabilities"),
            (lambda rows: [*rows[:-1], [rows[-1][0], "=cmd", "0", "1"]], "could not convert"),
            (lambda rows: [*rows[:-1], rows[-1][:2]], "has 2 fields"),
        ],
    )
    def test_a_damaged_file_is_left_out_and_said(
        self,
        ledger: Ledger,
        stored: StoredStudy,
        tell: Tell,
        tmp_path: Path,
        change: Callable[[list[list[str]]], list[list[str]]],
        reason: str,
    ) -> None:
        number = add(ledger, stored, tmp_path)
        dataset = ledger.datasets.get(stored.fingerprint)
        rows = write(tmp_path, dataset.test_ids)
        read_test_proba(tmp_path / "test_proba.csv", dataset)
        write_table(tmp_path / "test_proba.csv", change(rows))
        with pytest.raises(UnusablePredictions, match=reason):
            read_test_proba(tmp_path / "test_proba.csv", dataset)
        assert f"note: the predictions of export {number} are left out" in tell(public=0.5, public_images=4)


def write(folder: Path, ids: tuple[str, ...]) -> list[list[str]]:
    rows = [["image_id", "p_blue", "p_green", "p_red"]]
    rows += [[name, *(f"{value:.8g}" for value in row)] for name, row in zip(ids, proba(5), strict=True)]
    write_table(folder / "test_proba.csv", rows)
    return rows


def test_two_exports_are_compared_by_what_they_predict(
    ledger: Ledger, stored: StoredStudy, tell: Tell, tmp_path: Path
) -> None:
    store_refit(ledger, stored, 0, {"test.identity": np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]})
    one = {"trial": 2, "seeds": 1, "full_data": False, "views": ["identity"]}
    first = add(ledger, stored, tmp_path / "same", notes=one)
    ids = ledger.datasets.get(stored.fingerprint).test_ids
    (tmp_path / "other").mkdir()
    write_table(
        tmp_path / "other" / "test_proba.csv",
        [["image_id", "p_blue", "p_green", "p_red"], *([name, "0.8", "0.1", "0.1"] for name in ids)],
    )
    second = add(ledger, stored, tmp_path / "other", notes={"members": [{"trial": 1, "weight": 1.0}]})
    tell(export=first, public=1.0, public_images=4)
    out = tell(export=second, public=0.25)
    assert f"Export {first} against {second}: +75.0 points public (± 40.8 points, they differ on 67%" in out
    assert f"To hand in, by estimate and public score together: export {first} (" in out
