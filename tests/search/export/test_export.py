"""From finished trials to the files of an export: they match the records, and the model folder works alone."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from search.export.exported_model import ExportBroken, verify_model
from search.export.files import write_export
from search.export.final_model import RefitFailed, gather_refits
from search.export.notes import ExportNotes
from search.export.output.export import Export
from search.export.plan import plan_export, queue_refits
from search.report.dashboard.publish import publish
from search.runtime.home import Home
from search.statistics.member_names import MemberName
from search.statistics.ranking import NothingFinished, rank
from search.study_setup.create_study import create_study
from search.study_state.search_trials import candidates
from search.worker.study_context import StudyContext
from storage.stores import Stores, open_stores
from storage.values import Failure, WorkKind
from tests.search.small_study import COLOURS, STUDY, make_context, study_plan, work_on
from trainer.data.images import FileImages
from trainer.formats.submission import SubmissionError
from trainer.inference.errors import ModelError
from trainer.inference.model_folder import Member, ModelFolder
from trainer.inference.networks.torch_networks import predict_member
from trainer.inference.predict import predict_folder

FINAL = "\n[final]\nepochs = 4\nseeds = 2\n"


@dataclass(frozen=True)
class Searched:
    context: StudyContext
    folder: Path


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, competition_folder: Path) -> Iterator[Searched]:
    """A study with finished trials; each test runs its own refits."""
    folder = tmp_path_factory.mktemp("searched")
    (folder / "colours.toml").write_text(STUDY + FINAL)
    stores = open_stores(f"sqlite:///{folder / 'retable.db'}", create=True)
    stored = create_study(stores, study_plan(folder / "colours.toml", competition_folder))
    context = make_context(stores, stored, competition_folder, folder / "home")
    work_on(context)
    yield Searched(context=context, folder=folder)
    context.loader.close()
    stores.database.close()


def export(
    searched: Searched, output: Path, *, seeds: int | None = None, full_data: bool = False, kind: str | None = None
) -> Export:
    context = searched.context
    plan = plan_export(context.stores, context.study, seeds=seeds, full_data=full_data)
    ids = queue_refits(context.stores, plan, context.home)
    work_on(context)
    refits = gather_refits(context.stores, plan, ids)
    return write_export(context.stores, plan, refits, context.images, context.home, output, kind)


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def exported(searched: Searched) -> Export:
    return export(searched, searched.folder / "out")


def test_the_submission_has_the_ids_order_and_header_of_the_sample(exported: Export, competition_folder: Path) -> None:
    sample, submission = rows(competition_folder / "sample_submission.csv"), rows(exported.folder / "submission.csv")
    assert submission[0] == sample[0] == ["picture", "colour"]
    assert [row[0] for row in submission] == [row[0] for row in sample]
    assert {row[1] for row in submission[1:]} <= set(COLOURS)


def test_the_export_has_the_recorded_recipe_changed_by_the_final_table(exported: Export, searched: Searched) -> None:
    context = searched.context
    trials = context.stores.trials.records(context.study.id, kind=WorkKind.SEARCH)
    number = rank(candidates(trials, "accuracy"))[0].number
    best = next(trial for trial in trials if trial.number == number)
    config = json.loads((exported.folder / "model" / "config.json").read_text())
    assert best.recipe is not None
    (member,) = config["members"]
    assert member["recipe"] == {**best.recipe, "epochs": 4}
    (exported_member,) = exported.members
    assert exported_member.name == MemberName(trial=best.number)
    assert exported_member.recipe == member["recipe"] and exported_member.default == context.spec.default_recipe()
    assert len(member["weights"]) == 2 * 2, "folds x seeds"
    record = context.stores.exports.all(context.study.id)[-1]
    assert record.recipe == member["recipe"] and record.score == exported.score
    notes = ExportNotes.from_json(record.notes)
    assert "members" not in record.notes and notes.members == () and notes.trial == best.number
    assert exported.reasons == (f"Trial {best.number} alone: no recipe was confirmed on fresh splits.",)


def test_out_of_fold_predictions_give_the_reported_score(exported: Export, searched: Searched) -> None:
    table = rows(exported.folder / "oof.csv")
    names = sorted(COLOURS)
    assert table[0] == ["image_id", "fold", "seed", "y_true", "y_pred", *(f"p_{name}" for name in names)]
    assert len(table) == 1 + 2 * 30
    proba = np.array([[float(cell) for cell in row[5:]] for row in table[1:]]).reshape(2, 30, 3)
    truth = [names.index(row[3]) for row in table[1:31]]
    assert exported.score == pytest.approx(float((proba.mean(axis=0).argmax(axis=1) == truth).mean()))
    folds = {row[0]: row[1] for row in table[1:]}
    frozen = {row[0]: row[-1] for row in rows(exported.folder / "folds.csv")[1:]}
    assert folds == frozen


def test_the_model_folder_reproduces_the_test_probabilities(exported: Export, competition_folder: Path) -> None:
    predicted = predict_folder(exported.folder / "model", [competition_folder / "test"])
    table = rows(exported.folder / "test_proba.csv")
    assert [f"p_{name}" for name in predicted.class_names] == table[0][1:]
    by_id = {row[0]: [float(cell) for cell in row[1:]] for row in table[1:]}
    for name, row in zip(predicted.ids, predicted.proba, strict=True):
        np.testing.assert_allclose(row, by_id[Path(name).stem], atol=1e-5)
    assert (exported.folder / "confusion_matrix.png").stat().st_size > 1000
    assert f"{exported.score:.4f}" in (exported.folder / "MODEL_CARD.md").read_text()


def test_the_dashboard_shows_the_card_and_the_files(searched: Searched, exported: Export) -> None:
    import optuna
    from optuna_dashboard import get_note

    context = searched.context
    publish(context.stores, "colours", context.home, exported.folder)
    study = context.stores.optuna_study("colours")
    note, card = get_note(study), (exported.folder / "MODEL_CARD.md").read_text()
    assert note.startswith("## accuracy")
    assert note.endswith(f"---\n\n{card.partition('## Recipe')[0].strip()}\n")
    artifacts = optuna.artifacts.get_all_artifact_meta(study)
    assert {meta.filename for meta in artifacts} == {"confusion_matrix.png", "submission.csv"}


@pytest.mark.slow
def test_a_second_export_refits_only_missing_weights(searched: Searched, exported: Export) -> None:
    context = searched.context

    def refitted_at() -> list[float]:
        return [record.finished for record in context.stores.trials.records(context.study.id, kind=WorkKind.REFIT)]

    before = refitted_at()
    note = exported.folder / "my notes.txt"
    note.write_text("kept")
    first = (exported.folder / "submission.csv").read_bytes()
    export(searched, exported.folder)
    assert refitted_at() == before
    assert note.read_text() == "kept", "files of other origin stay"

    shutil.rmtree(context.home.artifacts / "weights")
    again = export(searched, exported.folder)
    after = refitted_at()
    assert len(after) == len(before) and min(after) > max(before)
    assert (again.folder / "submission.csv").read_bytes() == first, "training is a function of recipe, data and seed"


def test_full_data_trains_one_network_per_seed_without_a_score(searched: Searched, tmp_path: Path) -> None:
    made = export(searched, tmp_path / "full", seeds=1, full_data=True)
    assert made.score is None
    assert not (made.folder / "oof.csv").exists()
    assert len(list((made.folder / "model" / "weights").iterdir())) == 1
    assert len(rows(made.folder / "submission.csv")) == 7


def test_the_kind_of_submission_can_be_chosen(searched: Searched, tmp_path: Path) -> None:
    made = export(searched, tmp_path / "proba", kind="probabilities")
    table = rows(made.folder / "submission.csv")
    assert table[0] == ["picture", *sorted(COLOURS)]
    np.testing.assert_allclose([sum(map(float, row[1:])) for row in table[1:]], 1, atol=1e-5)
    with pytest.raises(SubmissionError, match="not whole numbers"):
        export(searched, tmp_path / "wrong", kind="integer")
    assert not (tmp_path / "wrong").exists(), "a refused export writes nothing"
    assert list(tmp_path.iterdir()) == [made.folder]


@pytest.mark.parametrize("difference", [5e-4, 5e-3])
def test_the_cpu_checks_an_export_whose_gpu_fails(
    searched: Searched,
    exported: Export,
    difference: float,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    context = searched.context
    plan = plan_export(context.stores, context.study, seeds=None, full_data=False)
    refits = gather_refits(context.stores, plan, queue_refits(context.stores, plan, context.home))
    (member,) = refits.members
    assert member.test is not None
    records = tuple(replace(record, machine={**record.machine, "device": "NVIDIA T4"}) for record in member.records)
    changed = replace(member, records=records, test=member.test + np.float32(difference))
    other = replace(refits, members=(changed,), test=refits.blend.probabilities(np.stack([changed.test])))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "NVIDIA T4")

    def busy(model: ModelFolder, member: Member, images: npt.NDArray[np.uint8], *, device: str) -> object:
        if device == "cuda":
            cause = RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable")
            raise ModelError("resnet18 cannot predict") from cause
        return predict_member(model, member, images, device=device)

    monkeypatch.setattr("trainer.inference.networks.torch_networks.predict_member", busy)
    if difference < 1e-3:
        verify_model(exported.folder / "model", other, context.images, {})
    else:
        with pytest.raises(ExportBroken, match="differ by up to"):
            verify_model(exported.folder / "model", other, context.images, {})
    assert [record.message for record in caplog.records if "busy or unavailable" in record.message] == [
        "the GPU fails, so the CPU checks the export: CUDA error: all CUDA-capable devices are busy or unavailable"
    ]


def test_a_home_that_takes_no_pictures_is_named(
    searched: Searched, exported: Export, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = Home(root=tmp_path / "home")
    home.artifacts.mkdir(parents=True)
    (home.artifacts / "pictures").write_text("in the way")
    publish(searched.context.stores, "colours", home, exported.folder)
    assert "the dashboard does not show the pictures of this export: " in caplog.text


def test_changed_ids_and_predictions_are_detected(searched: Searched, exported: Export, tmp_path: Path) -> None:
    context = searched.context
    plan = plan_export(context.stores, context.study, seeds=None, full_data=False)
    ids = queue_refits(context.stores, plan, context.home)
    refits = gather_refits(context.stores, plan, ids)
    changed = replace(context.images, test_ids=("other", *context.images.test_ids[1:]))
    with pytest.raises(SubmissionError, match="ids"):
        write_export(context.stores, plan, refits, changed, context.home, tmp_path / "a", None)
    assert refits.test is not None
    foreign = replace(refits, test=np.roll(refits.test, 1, axis=1))
    with pytest.raises(ExportBroken, match="differ"):
        write_export(context.stores, plan, foreign, context.images, context.home, tmp_path / "b", None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("device", "difference", "is_accepted"),
    [
        ("cpu", 5e-6, True),
        ("cpu", 5e-4, False),
        ("NVIDIA T4", 5e-4, True),
        ("NVIDIA T4", 5e-3, False),
    ],
)
def test_predictions_of_a_gpu_may_differ_by_its_rounding(
    searched: Searched, exported: Export, device: str, difference: float, is_accepted: bool
) -> None:
    context = searched.context
    plan = plan_export(context.stores, context.study, seeds=None, full_data=False)
    refits = gather_refits(context.stores, plan, queue_refits(context.stores, plan, context.home))

    (member,) = refits.members
    assert member.test is not None
    records = tuple(replace(record, machine={**record.machine, "device": device}) for record in member.records)
    changed = replace(member, records=records, test=member.test + np.float32(difference))
    other = replace(refits, members=(changed,), test=refits.blend.probabilities(np.stack([changed.test])))
    model, folds = exported.folder / "model", {}
    if is_accepted:
        tolerance = verify_model(model, other, context.images, folds)
        assert tolerance == (1e-5 if device == "cpu" else 1e-3)
    else:
        with pytest.raises(ExportBroken, match="differ by up to"):
            verify_model(model, other, context.images, folds)


def test_an_image_that_is_lost_meanwhile_does_not_stop_the_export(
    searched: Searched, exported: Export, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = searched.context
    plan = plan_export(context.stores, context.study, seeds=None, full_data=False)
    refits = gather_refits(context.stores, plan, queue_refits(context.stores, plan, context.home))
    model, test = exported.folder / "model", context.images.test_images
    assert isinstance(test, FileImages)
    copied = tmp_path / "copy"
    shutil.copytree(test.root, copied)
    (copied / test.paths[0]).unlink()
    images = replace(context.images, test_images=replace(test, root=copied))
    assert verify_model(model, refits, images, {}) > 0.0
    assert [record.message for record in caplog.records if "leaves out" in record.message] == [
        f"the check of the export leaves out {images.test_images.name(0)}: there is no such file"
    ]
    for path in test.paths[1:]:
        (copied / path).write_bytes(b"")
    with pytest.raises(ExportBroken, match=r"can no longer be read: .*no such file; .*the file is empty"):
        verify_model(model, refits, images, {})


@pytest.mark.slow
def test_a_recipe_with_views_is_searched_and_exported_with_the_same_views(
    stores: Stores, study_file: Path, competition_folder: Path, tmp_path: Path
) -> None:
    """The same recipe without views predicts something else, and ``final.tta`` does not add views to a recipe's own."""
    study_file.write_text(STUDY + "\n[final]\ntta = true\n")
    outcomes = {}
    for mode in ("none", "hflip"):
        changes = ("recipe.epochs=2", "final.epochs=2", f"recipe.tta={mode}")
        stored = create_study(stores, study_plan(study_file, competition_folder, *changes, name=mode, budget=1))
        context = make_context(stores, stored, competition_folder, tmp_path / "home")
        try:
            work_on(context)
            (trial,) = stores.trials.records(stored.id, kind=WorkKind.SEARCH)
            made = export(Searched(context=context, folder=tmp_path), tmp_path / mode)
            assert not stores.trials.records(stored.id, kind=WorkKind.REFIT), "the search trained it as it is exported"
        finally:
            context.loader.close()
        outcomes[mode] = (made, stores.trials.prediction(trial.id, "oof"), stores.trials.prediction(trial.id, "test"))
        assert trial.recipe is not None and trial.recipe["tta"] == mode
        names = stores.trials.prediction_names(trial.id)
    assert names == ("oof", "test"), "nothing is left to choose from"

    made, oof, test = outcomes["hflip"]
    _, plain_oof, plain_test = outcomes["none"]
    assert np.abs(oof - plain_oof).max() > 1e-4 and np.abs(test - plain_test).max() > 1e-4
    truth = context.images.y
    assert made.views == (("identity", "hflip"),)
    assert made.score == pytest.approx(float((oof.argmax(axis=1) == truth).mean()))
    config = json.loads((made.folder / "model" / "config.json").read_text())
    (member,) = config["members"]
    assert member["views"] == ["identity", "hflip"] and member["recipe"]["tta"] == "hflip"
    proba = predict_folder(made.folder / "model", [competition_folder / "test"]).proba
    ids = [f"t{i:03}" for i in range(len(proba))]
    expected = dict(zip(context.images.test_ids, test, strict=True))
    np.testing.assert_allclose(proba, [expected[name] for name in ids], atol=1e-5)


@pytest.mark.parametrize(
    ("method", "seeds", "others"), [("linear_probe", 1, False), ("fine_tune", 1, True), ("fine_tune", 3, False)]
)
def test_more_seeds_are_advised_for_trained_recipes_with_few(
    method: str, seeds: int, others: bool, stores: Stores, study_file: Path, competition_folder: Path, tmp_path: Path
) -> None:
    changes = (f"recipe.method={method}", "recipe.epochs=1")
    stored = create_study(stores, study_plan(study_file, competition_folder, *changes, budget=1))
    context = make_context(stores, stored, competition_folder, tmp_path / "home")
    try:
        work_on(context)
        made = export(Searched(context=context, folder=tmp_path), tmp_path / "out", seeds=seeds)
    finally:
        context.loader.close()
    assert made.more_seeds_help == others


def test_missing_trials_and_failed_refits_are_explained(
    stores: Stores, study_file: Path, competition_folder: Path, tmp_path: Path, searched: Searched
) -> None:
    stored = create_study(stores, study_plan(study_file, competition_folder))
    with pytest.raises(NothingFinished):
        plan_export(stores, stored, seeds=None, full_data=False)
    context = searched.context
    plan = plan_export(context.stores, context.study, seeds=None, full_data=False)
    work_id = context.stores.queue.add(
        context.study.id, WorkKind.REFIT, split=0, seed=77, recipe=plan.leader.recipe.to_flat()
    )
    with pytest.raises(RefitFailed, match="not ended yet"):
        gather_refits(context.stores, plan, [(work_id,)])
    item = context.stores.queue.take(context.study.id, "w", 60)
    assert item is not None
    context.stores.queue.fail(item, Failure.DISK, "disk full")
    with pytest.raises(RefitFailed, match="seed 77 ended as failed: disk full"):
        gather_refits(context.stores, plan, [(work_id,)])
    assert queue_refits(context.stores, plan, context.home), "the others are done and stay"
