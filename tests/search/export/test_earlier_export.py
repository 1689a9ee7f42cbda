"""An export with more networks is not replaced by a smaller one without a word."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.export.earlier_export import EarlierExportStays
from search.export.files import write_export
from search.export.final_model import gather_refits
from search.export.output.export import Export
from search.export.plan import plan_export, queue_refits
from search.study_setup.create_study import create_study
from search.worker.study_context import StudyContext
from storage.stores import open_stores
from tests.search.small_study import STUDY, make_context, study_plan, work_on

FINAL = '\n[final]\nensemble = "none"\n'


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory, competition_folder: Path) -> Iterator[StudyContext]:
    """A study with a finished trial."""
    folder = tmp_path_factory.mktemp("searched")
    (folder / "colours.toml").write_text(STUDY + FINAL)
    stores = open_stores(f"sqlite:///{folder / 'retable.db'}", create=True)
    study = create_study(
        stores, study_plan(folder / "colours.toml", competition_folder, "recipe.epochs=1", "search.trials=1", budget=1)
    )
    context = make_context(stores, study, competition_folder, folder / "home")
    work_on(context)
    yield context
    context.loader.close()
    stores.database.close()


def export(
    context: StudyContext,
    folder: Path,
    *,
    seeds: int,
    expected: float | None = None,
    keep_better: bool = True,
    keep_same: bool = False,
    full_data: bool = False,
) -> Export:
    plan = plan_export(context.stores, context.study, seeds=seeds, full_data=full_data)
    ids = queue_refits(context.stores, plan, context.home)
    work_on(context)
    refits = gather_refits(context.stores, plan, ids)
    forecast = None if expected is None else FORECAST | {"expected": expected}
    return write_export(
        context.stores,
        plan,
        refits,
        context.images,
        context.home,
        folder,
        None,
        forecast=forecast,
        keep_better=keep_better,
        keep_same=keep_same,
    )


FORECAST = {
    "expected": 0.7,
    "low": 0.6,
    "high": 0.8,
    "level": 0.9,
    "error": 0.05,
    "test_images": 6,
    "single": 0.7,
    "averaging": 0.0,
    "chances": {},
}


def networks_in(folder: Path) -> int:
    config = json.loads((folder / "model" / "config.json").read_text())
    return sum(len(member["weights"]) for member in config["members"])


def set_recipe(context: StudyContext, **changes: object) -> None:
    """Change the recipe of the latest export in the database, as if another recipe had led."""
    with context.stores.database.writing() as connection:
        record = context.stores.exports.all(context.study.id)[-1]
        connection.exec_driver_sql(
            "UPDATE retable_export SET recipe = ? WHERE id = ?", (json.dumps(record.recipe | changes), record.id)
        )


def test_the_same_recipe_with_fewer_networks_does_not_replace_the_export(context: StudyContext, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert export(context, folder, seeds=2).networks == 4
    count = len(context.stores.exports.all(context.study.id))
    with pytest.raises(EarlierExportStays) as stays:
        export(context, folder, seeds=1)
    for part in (str(folder), "4 networks", "now 2", "search export-best --study colours --seeds 2", "--output"):
        assert part in str(stays.value)
    assert networks_in(folder) == 4
    assert len(context.stores.exports.all(context.study.id)) == count
    assert export(context, tmp_path / "other", seeds=1).networks == 2
    assert export(context, folder, seeds=2).networks == 4, "one of the same size replaces it"


def test_an_export_on_request_replaces_it_and_says_so(context: StudyContext, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    export(context, folder, seeds=2)
    smaller = export(context, folder, seeds=1, keep_better=False)
    assert networks_in(folder) == 2
    (warning,) = [line for line in smaller.warnings if "fewer networks" in line]
    assert "4 networks" in warning and "--seeds 2" in warning
    assert not any("fewer networks" in line for line in export(context, folder, seeds=2).warnings)


@pytest.mark.parametrize(("before", "now", "replaced"), [(0.7, 0.8, True), (0.7, 0.6, False), (None, 0.6, True)])
def test_another_recipe_replaces_it_if_it_is_expected_to_score_better(
    context: StudyContext, tmp_path: Path, before: float | None, now: float, replaced: bool
) -> None:
    folder = tmp_path / "out"
    export(context, folder, seeds=2, expected=before)
    set_recipe(context, epochs=7)
    if replaced:
        smaller = export(context, folder, seeds=1, expected=now)
        assert any("fewer networks" in line for line in smaller.warnings) and networks_in(folder) == 2
    else:
        with pytest.raises(EarlierExportStays, match=r"expected accuracy 0\.7000 and 0\.6000"):
            export(context, folder, seeds=1, expected=now)
        assert networks_in(folder) == 4


def test_an_export_that_is_gone_is_no_obstacle(context: StudyContext, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    export(context, folder, seeds=2)
    folder.rename(tmp_path / "elsewhere")
    assert export(context, folder, seeds=1).networks == 2


def test_networks_of_all_images_are_not_counted_against_those_of_folds(context: StudyContext, tmp_path: Path) -> None:
    export(context, tmp_path / "out", seeds=1)
    assert export(context, tmp_path / "out", seeds=1, full_data=True).networks == 1


@pytest.mark.parametrize(("before", "now", "named"), [(0.8, 0.7, True), (0.7, 0.8, False), (0.7, 0.6998, False)])
def test_a_lower_expectation_than_that_of_the_replaced_export_is_named(
    context: StudyContext, tmp_path: Path, before: float, now: float, named: bool
) -> None:
    export(context, tmp_path / "out", seeds=1, expected=before)
    again = export(context, tmp_path / "out", seeds=1, expected=now)
    found = [line for line in again.warnings if f"expected to score {before:.4f}, and this one {now:.4f}" in line]
    assert bool(found) is named


def test_one_that_is_the_same_stays_where_its_report_could_not_be_written_again(
    context: StudyContext, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    export(context, folder, seeds=1)
    submission = (folder / "submission.csv").stat()
    with pytest.raises(EarlierExportStays, match="averages the same networks and predicts the same") as stays:
        export(context, folder, seeds=1, keep_same=True)
    assert "`search report --study colours`" in str(stays.value)
    assert (folder / "submission.csv").stat() == submission
    assert export(context, folder, seeds=2, keep_same=True).networks == 4, "other networks replace it"
    (folder / "oof.csv").unlink()
    export(context, folder, seeds=2, keep_same=True)
    assert (folder / "oof.csv").is_file(), "an export that lacks a file is written again"
