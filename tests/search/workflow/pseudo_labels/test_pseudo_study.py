"""A second study with pseudo-labels: from the export of the first to its own, or to the refusal of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from search.cli.app import app
from search.engines.plan import Workers
from search.export.files import write_export
from search.export.final_model import gather_refits
from search.export.plan import plan_export, queue_refits
from search.export.pool import StudiesDiffer, read_pool
from search.runtime.kept_networks import kept_networks
from search.study_setup.create_study import create_study
from search.study_setup.pseudo_labels import NotAdopted, compare_with_plain, facts_of, finished_by_seed, labels_of
from search.study_setup.rules import AgainstTheRules
from search.study_state.study import NotASearch, Study, read_study, require_search
from search.study_state.study_targets import read_folds
from search.worker.study_context import StudyContext
from search.workflow.pseudo_labels import command
from search.workflow.pseudo_labels.command import start_with_pseudo_labels
from search.workflow.pseudo_labels.prepare import PseudoRequest
from search.workflow.pseudo_labels.teachers import CannotLabel, committees, give_labels
from search.workflow.single.exported_ensemble import ExportedModel, open_export
from storage.errors import StorageError
from storage.stores import open_stores
from storage.values import SEARCH_SPLIT
from studies.settings import RulesSettings
from studies.spec import StudyError, StudySpec
from tests.search.small_study import STUDY, make_context, study_plan, work_on
from trainer.conversion.single.soup import SoupMaker
from trainer.evaluation.pseudo_labels import NO_LABEL
from trainer.inference.networks.torch_networks import read_weights
from trainer.recipe.recipe import Recipe

pytestmark = pytest.mark.slow

FOLDS, SEEDS = 3, 2


class Taught:
    """A study with an export of two seeds, and what it takes to train a second one in this process."""

    def __init__(self, root: Path, competition: Path) -> None:
        self.root, self.url, self.data = root, f"sqlite:///{root / 'retable.db'}", competition
        weights = root / "weights"
        weights.mkdir()
        torch.manual_seed(0)
        save_file(timm.create_model("test_resnet", num_classes=10).state_dict(), weights / "test_resnet.safetensors")
        final = f"\n[final]\nseeds = {SEEDS}\ntta = false\n"
        (root / "colours.toml").write_text(STUDY.replace('"scratch"', '"pretrained"') + final)
        self.stores = open_stores(self.url, create=True)
        changes = ("recipe.epochs=4", f"protocol.folds={FOLDS}", "probe.enabled=false", "recipe.head=probe")
        plan = study_plan(root / "colours.toml", competition, *changes, "protocol.metric=log_loss", budget=1)
        self.study = create_study(self.stores, replace(plan, weights_dir=weights))
        self.context = self.context_of(self.study)
        self.home = self.context.home
        work_on(self.context)
        self.export()

    def context_of(self, study: Study) -> StudyContext:
        context = make_context(self.stores, study, self.data, self.root / "home")
        return replace(context, weights_dir=self.root / "weights")

    def export(self) -> None:
        plan = plan_export(self.stores, self.study, seeds=None, full_data=False, home=self.home)
        ids = queue_refits(self.stores, plan, self.home)
        work_on(self.context)
        refits = gather_refits(self.stores, plan, ids)
        write_export(self.stores, plan, refits, self.context.images, self.home, self.home.root / "colours", None)

    def opened(self) -> ExportedModel:
        return open_export(self.stores, "colours", self.home, None, None)

    def request(self, study: str, teacher: str = "colours") -> PseudoRequest:
        workers = Workers(home=self.home.root, gpus=(), workers=1)
        return PseudoRequest(
            study=study, teacher=teacher, data=None, storage_url=self.url, output=None, workers=workers
        )


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, competition_folder: Path) -> Iterator[Taught]:
    made = Taught(tmp_path_factory.mktemp("pseudo"), competition_folder)
    yield made
    made.context.loader.close()
    made.stores.database.close()


@pytest.fixture
def work_here(taught: Taught, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process does the work of the commands' workers."""

    def work(*given: object, **options: object) -> None:
        context = taught.context_of(next(each for each in given if isinstance(each, Study)))
        work_on(context)
        context.loader.close()

    for module, name in ((command, "_train"), (command, "run_refits")):
        monkeypatch.setattr(module, name, work)


def adopt(monkeypatch: pytest.MonkeyPatch, *, always: bool) -> None:
    """Let every gain count as real, or none."""
    monkeypatch.setattr("search.statistics.paired_gain.REAL", -1e9 if always else 1e9)


def test_the_teachers_of_a_fold_are_the_networks_that_held_it_out(taught: Taught) -> None:
    export, folds = taught.opened(), read_folds(taught.stores, taught.study, SEARCH_SPLIT)
    groups = committees(export, FOLDS)
    assert [len(group) for group in groups] == [SEEDS] * FOLDS
    records = finished_by_seed(taught.stores, taught.study, export.recipes[0].to_flat())
    stored = np.mean([taught.stores.trials.prediction(record.id, "oof") for record in records.values()], axis=0)
    for fold, group in enumerate(groups):
        rows = np.flatnonzero(folds == fold)
        predicted = [
            SoupMaker(member).predict(read_weights(path), export.pixels(member, with_test=True).train[rows])
            for member, path in group
        ]
        assert np.allclose(np.mean(predicted, axis=0), stored[rows], atol=1e-5)


def test_labels_without_a_gain_are_not_exported(
    taught: Taught, work_here: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    adopt(monkeypatch, always=False)
    start_with_pseudo_labels(taught.request("refused"))
    said = " ".join(capsys.readouterr().out.split())
    assert "The same gate is right on" in said and "not adopted" in said and "export of colours stays" in said
    study = read_study(taught.stores, "refused")
    assert not (taught.home.root / "refused" / "MODEL_CARD.md").exists() and not taught.stores.exports.all(study.id)
    with pytest.raises(NotAdopted, match="stays"):
        plan_export(taught.stores, study, seeds=None, full_data=False, home=taught.home)
    with pytest.raises(NotAdopted, match="stays"):
        read_pool(taught.stores, (taught.study, study))
    before = labels_of(taught.stores, study)
    start_with_pseudo_labels(taught.request("refused", str(taught.home.root / "colours")))
    assert "continues" in capsys.readouterr().out
    assert np.array_equal(labels_of(taught.stores, study).values, before.values)


def test_labels_with_a_gain_are_exported_and_named(
    taught: Taught, work_here: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    adopt(monkeypatch, always=True)
    start_with_pseudo_labels(taught.request("adopted"))
    study = read_study(taught.stores, "adopted")
    found = compare_with_plain(taught.stores, study)
    assert found is not None and found.adopted and found.seeds == SEEDS and found.images == 30
    own, plain = (finished_by_seed(taught.stores, each, study.spec.recipe) for each in (study, taught.study))
    assert set(own) == set(plain) and facts_of(labels_of(taught.stores, study))[0] == [0, 1]
    for seed, record in own.items():
        oof = taught.stores.trials.prediction(record.id, "oof")
        assert oof.shape == (30, 3) and record.machine["pseudo_labels"] > 0
        assert not np.array_equal(oof, taught.stores.trials.prediction(plain[seed].id, "oof"))
        assert len(kept_networks(taught.home, "adopted", record)) == FOLDS
    card = (taught.home.root / "adopted" / "MODEL_CARD.md").read_text()
    assert "learned from test images, by pseudo-labels of colours" in card and "they are adopted" in card
    (export,) = taught.stores.exports.all(study.id)
    assert export.notes["seeds"] == SEEDS and "study" not in export.notes, "the second study leads"
    assert (taught.home.root / "adopted" / "submission.csv").is_file()
    with pytest.raises(CannotLabel, match="Labels of labels"):
        start_with_pseudo_labels(taught.request("third", "adopted"))
    with pytest.raises(NotAdopted, match="full-data"):
        plan_export(taught.stores, study, seeds=None, full_data=True, home=taught.home)
    strict = replace(taught.study, spec=replace(taught.study.spec, rules=RulesSettings(use_test_images=False)))
    with pytest.raises(StudiesDiffer, match="use_test_images"):
        read_pool(taught.stores, (strict, study))
    for doing in ("searches", "confirms"):
        with pytest.raises(NotASearch, match="--study adopted --pseudo-from colours"):
            require_search(study, doing)
    with pytest.raises(StorageError, match="no pseudo-labels for split 1"):
        context = taught.context_of(study)
        taught.stores.datasets.freeze_folds(
            study.fingerprint, read_folds(taught.stores, study, 0), n_folds=FOLDS, split=1, seed=0
        )
        context.training_data(Recipe.from_flat(dict(study.spec.recipe)), 1)


def test_the_rules_of_a_competition_forbid_it(taught: Taught, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = taught.study.spec
    strict = replace(spec, rules=RulesSettings(use_test_images=False))
    with pytest.raises(StudyError, match="use_test_images"):
        StudySpec.from_dict(replace(strict, purpose="pseudo_labels", begun_from="colours:0").to_dict())
    taught.stores.studies.set_spec(taught.study.id, spec=strict.to_dict(), file_spec=taught.study.stored.file_spec)
    try:
        with pytest.raises(AgainstTheRules, match="use_test_images = false"):
            start_with_pseudo_labels(taught.request("forbidden"))
        assert taught.stores.studies.find("forbidden") is None
    finally:
        taught.stores.studies.set_spec(taught.study.id, spec=spec.to_dict(), file_spec=taught.study.stored.file_spec)


def test_labels_need_networks_that_can_disagree(taught: Taught) -> None:
    export, folds = taught.opened(), read_folds(taught.stores, taught.study, SEARCH_SPLIT)
    (member,) = export.model.members
    single = [path for path in member.weights if "seed0" in path.name]
    assert len(single) == FOLDS
    lonely = replace(export, model=replace(export.model, members=(replace(member, weights=tuple(single)),)))
    with pytest.raises(CannotLabel, match="--seeds 2"):
        give_labels(lonely, folds, device="cpu")
    with pytest.raises(CannotLabel, match="full-data"):
        give_labels(replace(export, splits=()), folds, device="cpu")
    with pytest.raises(CannotLabel, match="no test images"):
        give_labels(replace(export, images=export.images.without_test_images()), folds, device="cpu")
    with pytest.raises(CannotLabel, match="other classes"):
        model = replace(export.model, class_names=("a", "b", "c"))
        give_labels(replace(export, model=model), folds, device="cpu")


def test_the_gate_is_judged_on_held_out_images(taught: Taught) -> None:
    export, folds = taught.opened(), read_folds(taught.stores, taught.study, SEARCH_SPLIT)
    steps: list[tuple[int, int]] = []
    given = give_labels(export, folds, device="cpu", on_step=lambda done, total: steps.append((done, total)))
    assert given.values.shape == (FOLDS, 6) and given.teachers == SEEDS
    assert given.by_fold == [(labels != NO_LABEL).sum() for labels in given.values]
    assert given.precision.images == 30 and 0 < given.precision.accepted <= 30
    assert steps[-1] == (SEEDS * FOLDS, SEEDS * FOLDS)


def test_other_settings_are_refused_at_once(taught: Taught, tmp_path: Path) -> None:
    command_line = ["start", "--study", "second", "--pseudo-from", "colours", "--storage", taught.url]
    result = CliRunner().invoke(app, [*command_line, "--hours", "2", "--set", "recipe.epochs=3"])
    assert "--hours" in str(result.exception) and "--set" in str(result.exception)
    with pytest.raises(CannotLabel, match="without pseudo-labels"):
        start_with_pseudo_labels(taught.request("colours"))
