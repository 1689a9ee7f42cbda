"""An export holds the networks that its own database recorded, also where several databases share a home."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from search.export.exported_model import ExportBroken
from search.export.files import write_export
from search.export.final_model import gather_refits
from search.export.output.export import Export
from search.export.plan import plan_export, queue_refits
from search.study_setup.create_study import create_study
from search.worker.study_context import StudyContext
from storage.artifacts import ArtifactFolder, digest_of
from storage.stores import open_stores
from storage.values import WorkKind
from tests.search.small_study import STUDY, make_context, study_plan, work_on
from trainer.inference.predict import predict_folder

Trained = Callable[..., StudyContext]


@pytest.fixture(scope="module")
def without_test(competition_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The competition without its test images, so that no submission would show a wrong network."""
    folder = tmp_path_factory.mktemp("without") / "colours"
    shutil.copytree(competition_folder, folder, ignore=shutil.ignore_patterns("test", "sample_submission.csv"))
    return folder


@pytest.fixture
def trained(study_file: Path, without_test: Path, tmp_path: Path) -> Iterator[Trained]:
    """Opens a database with one finished trial whose networks are kept; all share one home and one study name."""
    contexts: list[StudyContext] = []
    study_file.write_text(STUDY)

    def train(name: str, *overrides: str) -> StudyContext:
        stores = open_stores(f"sqlite:///{tmp_path / name}", create=True)
        changes = ("recipe.epochs=1", *overrides)
        study = create_study(stores, study_plan(study_file, without_test, *changes, budget=1))
        contexts.append(make_context(stores, study, without_test, tmp_path / "home"))
        work_on(contexts[-1])
        return contexts[-1]

    yield train
    for context in contexts:
        context.loader.close()
        context.stores.database.close()


def export(context: StudyContext, folder: Path) -> Export:
    plan = plan_export(context.stores, context.study, seeds=1, full_data=False, home=context.home)
    ids = queue_refits(context.stores, plan, context.home)
    work_on(context)
    refits = gather_refits(context.stores, plan, ids)
    return write_export(context.stores, plan, refits, context.images, context.home, folder, None)


def exported_digests(folder: Path) -> set[str]:
    return {digest_of(path) for path in (folder / "model" / "weights").iterdir()}


def recorded_digests(context: StudyContext) -> set[str]:
    (record,) = context.stores.trials.records(context.study.id, kind=WorkKind.SEARCH)
    assert record.networks is not None and len(record.networks) == 2
    return set(record.networks.values())


def trainings(context: StudyContext) -> int:
    return len(context.stores.trials.records(context.study.id))


@pytest.mark.slow
def test_two_databases_with_one_home_and_one_study_name_keep_their_networks(trained: Trained, tmp_path: Path) -> None:
    first = trained("first.db")
    second = trained("second.db", "recipe.optimizer.weight_decay=0.2")
    assert recorded_digests(first).isdisjoint(recorded_digests(second))
    for name, context in (("first", first), ("second", second)):
        made = export(context, tmp_path / name)
        assert exported_digests(made.folder) == recorded_digests(context)
        assert trainings(context) == 1, "nothing was trained again"


@pytest.mark.slow
def test_a_copied_database_cannot_replace_the_networks_unseen(
    trained: Trained, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The copy has the same identity. Its worker trains another recipe into the same folder."""
    first = trained("first.db")
    (record,) = first.stores.trials.records(first.study.id, kind=WorkKind.SEARCH)
    other = trained("other.db", "recipe.optimizer.weight_decay=0.2")
    for file in other.artifacts.kept_weights("colours", record.work_id):
        shutil.copyfile(file, first.artifacts.weights("colours", record.work_id) / file.name)
    with caplog.at_level(logging.WARNING):
        made = export(first, tmp_path / "out")
    assert "are not those that the database recorded" in caplog.text
    assert exported_digests(made.folder).isdisjoint(recorded_digests(other)), "they were trained again"
    assert trainings(first) == 2


def into_the_earlier_layout(context: StudyContext) -> Path:
    """Move the networks to where earlier releases put them, and forget their digests. Returns their folder."""
    (record,) = context.stores.trials.records(context.study.id, kind=WorkKind.SEARCH)
    earlier = ArtifactFolder(context.home.artifacts).weights("colours", record.work_id)
    for file in context.artifacts.kept_weights("colours", record.work_id):
        file.rename(earlier / file.name)
    with context.stores.database.writing() as connection:
        connection.execute(text("UPDATE retable_trial SET networks = NULL"))
    return earlier


@pytest.mark.slow
def test_networks_of_an_earlier_release_are_found_and_checked(trained: Trained, tmp_path: Path) -> None:
    context = trained("first.db")
    digests = recorded_digests(context)
    folder = into_the_earlier_layout(context)
    made = export(context, tmp_path / "out")
    assert exported_digests(made.folder) == digests and trainings(context) == 1
    images = [context.images.root / "train" / f"{name}.png" for name in context.images.train_ids]
    assert np.isfinite(predict_folder(made.folder / "model", images).proba).all()

    first, second = sorted(folder.iterdir())
    swapped = first.read_bytes(), second.read_bytes()
    first.write_bytes(swapped[1])
    second.write_bytes(swapped[0])
    with pytest.raises(ExportBroken, match="differ by up to"):
        export(context, tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()
