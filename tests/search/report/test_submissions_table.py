"""`search submissions` on a real database: recording scores, the table, and the conclusions."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search.export.notes import ExportNotes, ImportNotes, RecipeNotes
from search.report.exports.export_members import describe_export
from search.report.exports.submissions import ImpossibleScore, NoExport, ScoreRequest, as_scored, submissions
from search.report.status import show_status
from search.study_setup.create_study import create_study
from search.study_state.study import Study
from storage.errors import StorageError, UnknownStudyError
from storage.stores import Stores
from tests.databases import DIALECTS
from tests.search.small_study import study_plan

RECIPE = {"backbone": "test_resnet", "tta": "none"}
NOTES = ExportNotes(
    trial=2,
    seeds=2,
    trainings=((0, 0), (0, 1)),
    full_data=False,
    views=("identity", "hflip"),
    temperature=1.0,
    offsets=(),
    cuts=(),
)
Run = Callable[..., str]


@pytest.fixture
def run(stores: Stores, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `search submissions` with the given options and returns its output."""
    monkeypatch.setenv("COLUMNS", "400")

    def run_submissions(study: str | None = None, **options: float) -> str:
        capsys.readouterr()
        submissions(study, url, ScoreRequest(**options))  # type: ignore[arg-type]
        return capsys.readouterr().out

    return run_submissions


def row(out: str, number: int) -> list[str]:
    """The cells of an export: its number, out-of-fold score, forecast, public and private score, and the rest."""
    (line,) = (line for line in out.splitlines() if line.split()[:1] == [str(number)])
    return re.split(r" {2,}", line.strip())


def add(stores: Stores, stored: Study, folder: Path | str, notes: ExportNotes = NOTES, **changes: object) -> int:
    values = {"recipe": RECIPE, "score": 0.8, "score_se": 0.073, "notes": notes.to_json(), **changes}
    return stores.exports.add(stored.id, folder=str(folder), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_scores_are_recorded_replaced_and_shown(
    stores: Stores, stored: Study, run: Run, tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Nothing has been exported yet" in run()
    with pytest.raises(NoExport, match="nothing has been exported yet"):
        run(public=0.5)
    first = add(stores, stored, tmp_path / "a")
    forecast = {"expected": 0.7, "low": 0.6, "high": 0.8, "level": 0.9, "test_images": 6, "metric": "accuracy"}
    second = add(stores, stored, tmp_path / "b[red]", forecast=forecast)
    out = run()
    assert "accuracy on 30 training and 6 test images" in out
    assert "colours: trial 2, 2 seeds, views identity+hflip" in out
    assert row(out, first)[1:5] == ["0.8000 ± 0.0730", "-", "-", "-"]
    assert row(out, second)[1:5] == ["0.8000 ± 0.0730", "0.7000 (0.6000 to 0.8000)", "-", "-"]
    assert "b[red]" in out, "names are no markup"
    assert "search submissions --study " in out and "--public SCORE" in out

    out = run(public=0.5, public_images=4)
    assert f"the public score of export {second} is 0.5000." in out, "the latest"
    assert "4 of them public" in out
    out = run(export=first, public=0.75, private=0.5)
    assert row(out, first)[3:5] == ["0.7500", "0.5000"]
    out = run(public=0.25)
    assert f"the public score of export {second} is 0.2500, in place of 0.5000." in out
    assert f"Export {first} against {second}: +50.0 points public" in out, "--public-images is stored"
    show_status("colours", url, tmp_path / "home")
    assert "  0.7500   0.5000" in capsys.readouterr().out


def test_an_export_that_a_later_one_overwrote_is_marked(
    stores: Stores, stored: Study, run: Run, tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("a", "a", "b"):
        add(stores, stored, tmp_path / folder)
    assert run().count("(overwritten by a later export)") == 1
    show_status("colours", url, tmp_path / "home")
    assert capsys.readouterr().out.count("(overwritten by a later export)") == 1


def test_invalid_values_record_nothing(stores: Stores, stored: Study, run: Run, tmp_path: Path) -> None:
    number = add(stores, stored, tmp_path)
    with pytest.raises(NoExport, match=rf"no export {number + 1} here; there are: {number}"):
        run(public=0.5, export=number + 1)
    with pytest.raises(ImpossibleScore, match=r"accuracy cannot be 65.6: it is from 0 to 1; 65.6 percent is 0.656"):
        run(public=65.6, public_images=4)
    for wrong in (float("nan"), float("inf"), -0.1):
        with pytest.raises(ImpossibleScore):
            run(public=0.5, private=wrong, public_images=4)
    for images in (0, 7):
        with pytest.raises(StorageError, match="give 1 to 6, the number of test images"):
            run(public=0.5, public_images=images)
    with pytest.raises(UnknownStudyError):
        run("nonesuch", public=0.5)
    (export,) = stores.exports.all(stored.id)
    assert (export.public_score, export.private_score) == (None, None)
    assert stores.datasets.get(stored.fingerprint).public_images is None


def test_a_log_loss_is_negated() -> None:
    assert as_scored("log_loss", 0.85) == as_scored("log_loss", -0.85) == -0.85
    assert as_scored("qwk", -0.2) == -0.2
    with pytest.raises(ImpossibleScore, match="any number from 0 on"):
        as_scored("log_loss", float("nan"))


def test_the_exports_of_all_studies_or_of_one(
    stores: Stores, stored: Study, study_file: Path, competition_folder: Path, run: Run, tmp_path: Path
) -> None:
    other = create_study(stores, study_plan(study_file, competition_folder, "protocol.metric=macro_f1", name="other"))
    first, second = add(stores, stored, tmp_path / "a"), add(stores, other, tmp_path / "b")
    out = run()
    assert out.index("accuracy on 30") < out.index("colours:") < out.index("macro_f1 on 30") < out.index("other:")
    assert "colours:" not in run("other")
    assert f"export {first} " in run("colours", public=0.5), "the latest of that study"
    with pytest.raises(NoExport, match=f"there are: {second}"):
        run("other", public=0.5, export=first)


def test_what_an_export_is_made_of() -> None:
    first = RecipeNotes(trial=3, backbone="test_vit", views=("identity",), trainings=((0, 0),), weight=0.5)
    members = (first, replace(first, trial=8, weight=0.25, study="other"))
    ensemble = replace(NOTES, seeds=1, views=(), members=members)
    assert describe_export(ensemble) == "trials 3 x 0.5, other:8 x 0.25, 1 seed"
    imported = ImportNotes(label="big", digest="0" * 64, weight=None)
    stacked = replace(ensemble, members=(replace(first, weight=None), imported))
    assert describe_export(stacked) == "trial 3, imported big, 1 seed"
    assert describe_export(replace(NOTES, trial=0, full_data=True)) == (
        "trial 0, 2 seeds, trained on all images, views identity+hflip"
    )
    assert describe_export(replace(NOTES, study="other", views=())) == "trial other:2, 2 seeds"
    probes = replace(ensemble, members=(first, replace(first, trial=4, is_probe=True)))
    assert describe_export(ExportNotes.from_json(probes.to_json())) == "trial 3 x 0.5, probe 4 x 0.5, 1 seed"
    assert describe_export(replace(NOTES, is_probe=True, views=())) == "probe 2, 2 seeds"


def test_two_exports_are_compared_by_their_labels(stores: Stores, stored: Study, run: Run, tmp_path: Path) -> None:
    first = add(stores, stored, tmp_path / "same", notes=replace(NOTES, labels=np.array([0, 1, 2, 0, 1, 2])))
    second = add(stores, stored, tmp_path / "other", notes=replace(NOTES, labels=np.zeros(6, np.int64)))
    run(export=first, public=1.0, public_images=4)
    out = run(export=second, public=0.25)
    assert f"Export {first} against {second}: +75.0 points public (± 40.8 points, they differ on 67%" in out
    assert f"To hand in, by estimate and public score together: export {first} (" in out
    assert "note:" not in out and "the same labels" not in out
    third = add(stores, stored, tmp_path / "third", notes=replace(NOTES, labels=np.zeros(6, np.int64)))
    out = run()
    assert f"the same labels as export {second}" in " ".join(row(out, third)) and out.count("the same labels") == 1
    assert (row(out, second)[3], row(out, third)[3]) == ("0.2500", f"0.2500 (export {second})")
    assert f"and export {second} (" in out and f"export {third} (0" not in out, "the competition has export 2"


def test_an_export_without_stored_labels_is_named_in_a_comparison(
    stores: Stores, stored: Study, run: Run, tmp_path: Path
) -> None:
    first = add(stores, stored, tmp_path / "a")
    assert "note:" not in run(public=0.5, public_images=4)
    second = add(stores, stored, tmp_path / "b", notes=replace(NOTES, labels=np.zeros(6, np.int64)))
    out = run(export=second, public=0.25)
    note = "note: the labels of export {} cannot be compared"
    assert note.format(first) in out and note.format(second) not in out
    assert f"Export {first} against {second}: +25.0 points public (± " in out and "they differ" not in out
