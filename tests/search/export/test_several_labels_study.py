"""A study of images with several labels: trainings, probes, the export, the report, and what does not apply."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from search.engines.plan import Workers
from search.export.files import LABEL_SCORES, write_export
from search.export.final_model import Refits, gather_refits
from search.export.output.export import Export
from search.export.plan import plan_export, queue_refits
from search.page.facts import read_facts
from search.page.gallery.contents import TRAIN as TRAIN_PART
from search.page.gallery.contents import remove_gallery
from search.page.render import page_of, render
from search.study_setup.create_study import create_study
from search.study_setup.metric import fit_metric
from search.worker.study_context import StudyContext
from search.workflow.export.draw_pictures import draw_pictures
from search.workflow.second_study.prepare import SecondRequest, prepare_second_study
from search.workflow.second_study.pseudo_labels import CannotLabel
from search.workflow.single.command import SingleRequest, single_network
from search.workflow.single.distil import read_oof
from storage.records.datasets import StoredDataset
from storage.stores import Stores, open_stores
from storage.values import TrialStatus, WorkKind
from studies.errors import StudyError
from studies.load_study import load_study
from tests.search.several_labels import NAMES, SEVERAL, TEST, TRAIN, write_pictures
from tests.search.small_study import make_context, study_plan, work_on
from trainer.conversion.files import SINGLE_FOLDER
from trainer.data.read import read_images
from trainer.evaluation.examples.example import Reason
from trainer.evaluation.metrics import score
from trainer.evaluation.targets import Targets
from trainer.formats.submission import check_submission
from trainer.inference.predict import predict_folder
from trainer.recipe.recipe import LINEAR_PROBE, Recipe
from trainer.training.cross_validation import cross_validate
from trainer.training.results import TrainingData, Verdict


@dataclass(frozen=True)
class Finished:
    context: StudyContext
    refits: Refits
    export: Export
    pictures: Path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Iterator[Finished]:
    folder = tmp_path_factory.mktemp("several")
    (folder / "several.toml").write_text(SEVERAL)
    stores = open_stores(f"sqlite:///{folder / 'retable.db'}", create=True)
    stored = create_study(stores, study_plan(folder / "several.toml", pictures, budget=2))
    context = make_context(stores, stored, pictures, folder / "home")
    work_on(context)
    plan = plan_export(stores, context.study, seeds=None, full_data=False)
    ids = queue_refits(stores, plan, context.home)
    work_on(context)
    refits = gather_refits(stores, plan, ids)
    export = write_export(stores, plan, refits, context.images, context.home, folder / "out", None)
    yield Finished(context=context, refits=refits, export=export, pictures=pictures)
    context.loader.close()
    stores.database.close()


def url_of(stores: Stores) -> str:
    return stores.database.url.render_as_string(hide_password=False)


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_trials_are_scored_by_their_labels(finished: Finished) -> None:
    stores, study = finished.context.stores, finished.context.study
    records = stores.trials.records(study.id, kind=WorkKind.SEARCH, status=TrialStatus.FINISHED)
    y = stores.datasets.get(study.fingerprint).y
    assert len(records) == 2 and y.shape == (TRAIN, 3) and y.sum(axis=1).min() == 1
    for record in records:
        oof = stores.trials.prediction(record.id, "oof")
        assert record.value == pytest.approx(score("mean_f1", Targets(y), oof))
        assert ((oof > 0) & (oof < 1)).all() and not np.allclose(oof.sum(axis=1), 1.0, atol=0.01)


def test_the_submission_lists_the_labels_that_the_model_folder_predicts(finished: Finished) -> None:
    images = finished.context.images
    assert images.submission is not None
    check_submission(finished.export.folder / "submission.csv", images.submission, images.class_names, "labels")
    predicted = predict_folder(finished.export.folder / "model", [finished.pictures / "test"])
    assert predicted.labels.shape == (TEST, 3) and predicted.labels.any(axis=1).all(), "each training image has one"
    own = {
        name: " ".join(label for label, has in zip(NAMES, row, strict=True) if has)
        for name, row in zip(predicted.ids, predicted.labels, strict=True)
    }
    assert dict(rows(finished.export.folder / "submission.csv")[1:]) == own


def test_an_export_scores_each_label(finished: Finished) -> None:
    folder = finished.export.folder
    assert not (folder / "confusion_matrix.png").exists()
    table = rows(folder / LABEL_SCORES)
    assert [row[0] for row in table] == ["label", *NAMES]
    assert {row[3] for row in rows(folder / "oof.csv")[1:]} >= {"red", "blue|green", "blue|green|red"}
    assert "blue, green and red" in (folder / "MODEL_CARD.md").read_text()


def test_the_report_shows_each_label(finished: Finished) -> None:
    context = finished.context
    html = render(page_of(read_facts(context.stores, context.study.name, home=context.home)))
    assert "Each label, the worst first" in html and "Confusion matrix" not in html
    assert f"search labels --study {context.study.name}" in html


def test_the_pictures_show_the_true_and_the_predicted_labels(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.workflow.export.draw_pictures.PICTURES_SHARE", 1000.0)  # the study took seconds
    context, refits = finished.context, finished.refits
    stores, study, y = context.stores, context.study, context.images.y
    assert draw_pictures(stores, study, refits, context.images, context.home)
    try:
        facts = read_facts(stores, study.name, home=context.home)
        gallery, html = facts.gallery, render(page_of(facts))
    finally:
        remove_gallery(stores, context.home, study.name)
    assert gallery is not None
    oof = stores.trials.prediction(refits.members[0].member.trial.id, "oof")
    assert gallery.notes == () and "A label is predicted if its probability is above" in gallery.source
    assert ("threshold that the export fitted" in gallery.source) == bool(refits.blend.offsets)
    training = [picture for picture in gallery.pictures if picture.part == TRAIN_PART]
    losses = -np.where(y == 1, np.log(oof), np.log1p(-oof.astype(np.float64)))
    largest = np.argsort(-losses.mean(axis=1), kind="stable")
    assert [picture.row for picture in training][:10] == largest[:10].tolist()
    for picture in training:
        true = set(np.flatnonzero(y[picture.row]))
        predicted = set(np.flatnonzero(refits.blend.labels(oof[[picture.row]])[0]))
        assert (set(picture.labels or ()), set(picture.predicted)) == (true, predicted)
        assert dict(picture.shares) == {c: pytest.approx(float(oof[picture.row, c])) for c in range(3)}
        assert picture.map is not None and picture.focus
        about = {Reason.LOSS: {int(losses[picture.row].argmax())}, Reason.MISSED: true - predicted}
        about |= {Reason.WRONG: predicted - true, Reason.WEAK_CLASS: true ^ predicted, Reason.UNSURE: {0, 1, 2}}
        about[Reason.SUSPECT] = {0, 1, 2}
        assert picture.mapped in about[picture.reasons[0]]
    far = [picture for picture in gallery.pictures if picture.part != TRAIN_PART]
    assert sorted(picture.row for picture in far) == list(range(TEST)) and all(p.labels is None for p in far)
    assert html.count('<li class="card') == len(gallery.pictures) and "Class-activation map of" in html


def test_one_network_learns_several_labels_from_the_ensemble(finished: Finished) -> None:
    context, out = finished.context, finished.export.folder
    single_network(
        SingleRequest(
            study=context.study.name,
            data=None,
            storage_url=url_of(context.stores),
            output=out,
            home=context.home.root,
            leader=False,
            average=False,
            distil=True,
            weights=None,
        )
    )
    taught = read_oof(out / "oof.csv", context.images.train_ids, 3, several_labels=True)
    assert not np.allclose(taught.sum(axis=1), 1.0, atol=0.01)
    folder = out / "model" / SINGLE_FOLDER
    predicted = predict_folder(folder, [finished.pictures / "test"])
    assert predicted.labels.shape == (TEST, 3) and predicted.labels.any(axis=1).all()
    assert not np.allclose(predicted.proba.sum(axis=1), 1.0, atol=0.01)
    compared = json.loads((folder / "config.json").read_text())["extra"]["single"]["test_images"]
    ensemble = predict_folder(out / "model", [finished.pictures / "test"])
    assert compared["differing"] == (predicted.labels != ensemble.labels).any(axis=1).sum()


def test_no_test_image_gets_one_class_of_several(finished: Finished) -> None:
    context = finished.context
    request = SecondRequest(
        option="--pseudo-from", study="second", first=str(finished.export.folder), data=None,
        storage_url=url_of(context.stores), output=None, workers=Workers(home=context.home.root),
    )  # fmt: skip
    with pytest.raises(CannotLabel, match="several labels"):
        prepare_second_study(request, context.stores, "cpu", Console())
    assert [study.name for study in context.stores.studies.all()] == [context.study.name]


@pytest.mark.parametrize("method", ["fine_tune", LINEAR_PROBE])
def test_trainings_learn_each_label(finished: Finished, method: str) -> None:
    context = finished.context
    settings = {"backbone": "test_resnet", "init": "scratch", "image_size": 32, "batch_size": 8, "method": method}
    tuned = {"epochs": 1} if method == LINEAR_PROBE else {"epochs": 12, "optimizer.lr": 1e-2}
    recipe = Recipe.from_flat({**settings, **tuned})
    data: TrainingData = context.training_data(recipe, 0)
    result = cross_validate(
        recipe, data, metric="roc_auc", seed=0, device="cpu", on_epoch=lambda _: Verdict.CONTINUE, checkpoint=None
    )
    assert result.reports[-1].metric > 0.75
    assert result.average is not None and 0.0 < result.average.brier < 0.6


def test_the_metric_fits_the_number_of_labels(pictures: Path, competition_folder: Path) -> None:
    several, one = read_images(pictures, verify=False), read_images(competition_folder, verify=False)
    console = Console(quiet=True)
    shipped = load_study("aug_tuning")
    spec, overrides = fit_metric(shipped, (), "aug_tuning", several, console)
    assert spec.protocol.metric == "mean_f1" and list(overrides) == ["protocol.metric=mean_f1"]
    assert fit_metric(shipped, (), "aug_tuning", one, console) == (shipped, ())
    columns = replace(several, submission=None)
    assert fit_metric(shipped, (), "aug_tuning", columns, console)[0].protocol.metric == "roc_auc"
    with pytest.raises(StudyError, match="suspicious_labels = 'drop'"):
        fit_metric(load_study("aug_tuning", ["recipe.suspicious_labels=drop"]), (), "aug_tuning", several, console)
    with pytest.raises(StudyError, match="'lrap'"):
        fit_metric(shipped, ("protocol.metric=accuracy",), "aug_tuning", several, console)
    with pytest.raises(StudyError, match="'qwk'"):
        fit_metric(spec, overrides, "aug_tuning", one, console)


def test_the_database_keeps_both_shapes(stores: Stores) -> None:
    y = np.array([[1, 0], [1, 1], [0, 0]])
    dataset = StoredDataset(
        fingerprint="0" * 64,
        class_names=("a", "b"),
        train_ids=("1", "2", "3"),
        test_ids=(),
        y=y,
        groups=None,
        summary={},
    )
    assert stores.datasets.add(dataset).y.tolist() == y.tolist()
    folds = np.array([0, 1, 1])
    assert stores.datasets.freeze_folds("0" * 64, folds, n_folds=2, split=0, seed=0).tolist() == [0, 1, 1]
