"""A second stage as a second study: its groups, the nested comparison, the export of both stages or its refusal."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console
from typer.testing import CliRunner

from search.cli.app import app
from search.export.candidates.comparable import StudiesDiffer
from search.export.plan import plan_export
from search.page.command import write_report
from search.page.labels.candidates import NothingToJudge, find_candidates
from search.report.status import show_status
from search.study_setup.second_study import NotAdopted, compare_with_first, finished_by_seed
from search.study_state.study import NotASearch, read_study, require_search
from search.study_state.study_targets import read_class_groups, read_folds
from search.workflow.second_study.command import start_second_study
from search.workflow.second_study.method import CannotTrainAgain
from search.workflow.second_study.prepare import SecondRequest, prepare_second_study
from search.workflow.second_study.two_stage import IN_TWO_STAGES, NoGroups, find_groups
from search.workflow.single.command import SingleRequest, TwoStages, single_network
from search.workflow.single.exported_ensemble import NoExport
from storage.errors import StorageError
from storage.values import SEARCH_SPLIT
from tests.search.workflow.second_study.first_study import FOLDS, SEEDS, FirstStudy, adopt
from trainer.evaluation.confusion import confusable_groups as groups_module
from trainer.evaluation.confusion.confusable_groups import Groups
from trainer.formats.label_tables import CORRECTIONS_FILE, Correction, write_corrections
from trainer.inference.blend import shared_within
from trainer.inference.model_folder import load_model_folder
from trainer.inference.predict import predict_folder

pytestmark = pytest.mark.slow

OPTION = "--two-stage-from"
PAIR: Groups = ((0, 2),)
IN_PAIR = (0, 2)


def request(first: FirstStudy, study: str, of: str = "colours") -> SecondRequest:
    return first.request(study, of, OPTION)


@pytest.fixture
def confused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first study confuses the first and the last class, in whichever images it is looked at."""
    found: list[NDArray[np.int64]] = []

    def groups_of(counts: NDArray[np.int64], **limits: float) -> Groups:
        found.append(counts)
        return PAIR

    monkeypatch.setattr("search.workflow.second_study.two_stage.confusable_groups", groups_of)
    monkeypatch.setattr(groups_module, "confusable_groups", groups_of)


def test_without_a_gain_the_first_export_stays(
    first: FirstStudy,
    work_here: None,
    confused: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    adopt(monkeypatch, always=False)
    start_second_study(request(first, "one_stage"))
    said = " ".join(capsys.readouterr().out.split())
    assert "Groups of confusable classes, which a second stage tells apart: blue / red." in said
    assert "trains on the 20 images of these 2 classes alone" in said
    assert "With a second stage for confusable classes the recipe scores log_loss" in said
    assert "not adopted" in said and "export of colours stays" in said
    study = read_study(first.stores, "one_stage")
    assert not first.stores.exports.all(study.id) and not (first.home.root / "one_stage").exists()
    with pytest.raises(NotAdopted, match="stays"):
        plan_export(first.stores, study, seeds=None, full_data=False, home=first.home)
    show_status("one_stage", first.url, first.home.root)
    said = " ".join(capsys.readouterr().out.split())
    assert "The export of colours stays." in said and "So its own score, which counts all images, is low." in said
    start_second_study(request(first, "one_stage", str(first.home.root / "colours")))
    assert "continues" in capsys.readouterr().out
    write_report(first.stores, "one_stage", first.root / "one_stage.html")
    page = (first.root / "one_stage.html").read_text(encoding="utf-8")
    assert "not adopted" in page and "search report --study colours" in page and "Where does it err" not in page
    with pytest.raises(NothingToJudge, match="search labels --study colours"):
        find_candidates(first.stores, study)


def test_with_a_gain_both_stages_are_exported(
    first: FirstStudy,
    work_here: None,
    confused: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    adopt(monkeypatch, always=True)
    stores = first.stores
    start_second_study(request(first, "staged"))
    study = read_study(stores, "staged")
    assert study.spec.class_groups == PAIR and study.spec.begun_from == "colours:0" and study.is_second_stage
    own, plain = (finished_by_seed(stores, each, study.spec.recipe) for each in (study, first.study))
    assert set(own) == {0, 1} and all(record.machine["left_out"] == 10 * (FOLDS - 1) / FOLDS for record in own.values())

    def mean(records: Sequence[int], name: str) -> NDArray[np.float32]:
        return np.mean([stores.trials.prediction(record, name) for record in records], axis=0)

    oof = [mean([record.id for record in of.values()], "oof") for of in (plain, own)]
    assert oof[1][:, 1].mean() < oof[0][:, 1].mean(), "green was never seen"
    found = compare_with_first(stores, study)
    assert found is not None and found.adopted and (found.seeds, found.images) == (SEEDS, 30)
    y = stores.datasets.get(study.fingerprint).y
    expected = shared_within(oof[0], oof[1], PAIR)
    assert found.score == pytest.approx(np.log(expected[np.arange(30), y]).mean(), abs=1e-5)
    assert found.without == pytest.approx(np.log(oof[0][np.arange(30), y]).mean(), abs=1e-5)

    folder = first.home.root / "staged"
    config = json.loads((folder / "model" / "config.json").read_text())
    assert [len(member["weights"]) for member in config["members"]] == [FOLDS * SEEDS] * 2
    assert config["blend"]["second_stage"] == [[0, 2]] and config["blend"]["weights"] == [1.0, 0.0]
    model, test_ids = load_model_folder(folder / "model"), stores.datasets.get(study.fingerprint).test_ids
    predicted = predict_folder(folder / "model", [first.data / "test"])
    stages = np.stack([mean([record.id for record in of.values()], "test") for of in (plain, own)])
    order = [test_ids.index(name.removesuffix(".png")) for name in predicted.ids]
    np.testing.assert_allclose(predicted.proba, model.blend.probabilities(stages)[order], atol=1e-4)
    card = (folder / "MODEL_CARD.md").read_text()
    for part in ("second stage |", "blue / red", "learned from images of confusable classes alone", "seeds); adopted."):
        assert part in card, part
    (export,) = stores.exports.all(study.id)
    assert export.notes["second_stage"] == [[0, 2]] and (folder / "submission.csv").is_file()
    said = " ".join(capsys.readouterr().out.split())
    assert "Recipe two stages of colours:0 and staged:0 (12 networks)" in said
    assert "nothing better than the default" not in said and "--seeds" not in said, "seeds are those of the comparison"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "trial colours:0 x 1, trial 0 as a second stage" in page and "is low" in page and "--seeds" not in page
    assert "trial 0 of colours, the first stage alone" in page and "--two-stage-from" not in page

    for given, options, error, message in (
        (study, {"full_data": True, "seeds": None}, NotAdopted, "--full-data"),
        (study, {"full_data": False, "seeds": 3}, NotAdopted, "leave --seeds out"),
    ):
        with pytest.raises(error, match=message):
            plan_export(stores, given, home=first.home, **options)
    with pytest.raises(StudiesDiffer, match="export-best --study staged"):
        plan_export(stores, first.study, other_studies=(study,), seeds=None, full_data=False, home=first.home)
    with pytest.raises(NotASearch, match="--study staged --two-stage-from colours"):
        require_search(study, "searches")
    for option in (OPTION, "--pseudo-from"):
        with pytest.raises(CannotTrainAgain, match=f"{option} colours"):
            start_second_study(first.request("third", "staged", option))
    with pytest.raises(CannotTrainAgain, match="without self-distillation"):
        start_second_study(first.request("staged", option="--distil-from"))
    single = SingleRequest(
        study="staged", data=None, storage_url=first.url, output=None, home=first.home.root, leader=False,
        average=False, distil=False, weights=None,
    )  # fmt: skip
    with pytest.raises(TwoStages, match="search single --study colours"):
        single_network(single)


def test_networks_of_the_second_stage_are_trained_on_its_classes_alone(
    first: FirstStudy, work_here: None, confused: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopt(monkeypatch, always=False)
    start_second_study(request(first, "alone"))
    study = read_study(first.stores, "alone")
    context = first.context_of(study)
    data = context.training_data(first.opened().recipes[0], SEARCH_SPLIT)
    for fold in range(FOLDS):
        assert set(data.y[data.training_part(fold)].tolist()) == set(IN_PAIR)
    context.loader.close()
    damaged = replace(study, spec=replace(study.spec, class_groups=((0, 3),)))
    with pytest.raises(StorageError, match="a class that its images lack"):
        read_class_groups(first.stores, damaged)


def test_groups_are_those_of_the_stored_predictions(first: FirstStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    export, folds = first.opened(), read_folds(first.stores, first.study, SEARCH_SPLIT)
    y = export.images.y
    sharp = np.full((30, 3), 0.05) + 0.85 * np.eye(3)[np.where((y == 0) & (np.arange(30) % 2 == 0), 1, y)]
    monkeypatch.setattr("search.workflow.second_study.two_stage.average", lambda predictions: sharp)
    assert find_groups(export, folds, [0, 1]) == ((0, 1),)
    with pytest.raises(NoGroups, match="one fold holds out all images of class 'blue'"):
        find_groups(export, np.where(y == 0, 0, 1 + folds % 2), [0, 1])
    monkeypatch.setattr("search.workflow.second_study.two_stage.average", lambda predictions: np.eye(3)[y])
    with pytest.raises(NoGroups, match=r"0 of 30 images are predicted wrongly .* at most 0 .* more than 4 mistakes"):
        find_groups(export, folds, [0, 1])


def test_exports_without_a_second_stage(first: FirstStudy) -> None:
    export, check = first.opened(), IN_TWO_STAGES.check_export
    check(export)
    two = replace(export.images, class_names=("blue", "green"), y=export.images.y % 2)
    with pytest.raises(CannotTrainAgain, match="tells 2 classes apart"):
        check(replace(export, images=two))
    several = replace(export.images, y=np.eye(3, dtype=np.int64)[export.images.y])
    with pytest.raises(CannotTrainAgain, match="one label an image"):
        check(replace(export, images=several))


def test_a_failed_plan_stores_nothing(first: FirstStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.workflow.second_study.two_stage.confusable_groups", lambda counts: ())
    with pytest.raises(NoGroups, match="The export of colours is the answer"):
        start_second_study(request(first, "nothing"))
    assert first.stores.studies.find("nothing") is None


@pytest.mark.parametrize("inner", ["", "model"])
def test_a_path_of_something_else_is_named(first: FirstStudy, inner: str) -> None:
    given = str(first.home.root / "colours" / inner) if inner else "colours/"
    with pytest.raises(CannotTrainAgain, match=f"{OPTION} .*: this is no folder of an export"):
        start_second_study(request(first, "nowhere", given))
    assert first.stores.studies.find("nowhere") is None


def test_a_copied_or_moved_export_is_recognised(first: FirstStudy, tmp_path: Path) -> None:
    original, elsewhere = first.home.root / "colours", tmp_path / "elsewhere"
    shutil.copytree(original, elsewhere)
    with pytest.raises(NoExport, match="copied or moved there: use ") as caught:
        start_second_study(request(first, "nowhere", str(elsewhere)))
    assert str(caught.value).endswith(str(original.resolve()))
    shutil.rmtree(elsewhere)
    original.rename(elsewhere)
    try:
        with pytest.raises(NoExport, match="move it back, or `search export-best --study colours"):
            start_second_study(request(first, "nowhere", str(elsewhere)))
    finally:
        elsewhere.rename(original)
    assert first.stores.studies.find("nowhere") is None


def test_options_are_checked_at_once(first: FirstStudy) -> None:
    command = ["start", "--study", "second", OPTION, "colours", "--storage", first.url]
    result = CliRunner().invoke(app, [*command, "--trials", "3"])
    assert f"{OPTION} trains one recipe" in str(result.exception) and "--trials" in str(result.exception)


def test_corrections_made_since_then_change_no_second_study(first: FirstStudy, confused: None) -> None:
    """The first study goes on with the labels that it began with, and so does a second one."""
    path = first.data / CORRECTIONS_FILE
    write_corrections(path, [Correction(id="p000", given="blue", label="green", fingerprint="", row="row 2")])
    try:
        plan = prepare_second_study(request(first, "as_before"), first.stores, "cpu", Console(quiet=True))
    finally:
        path.unlink()
    assert plan.competition.images.fingerprint == first.study.fingerprint
    assert plan.competition.images.corrections is None
