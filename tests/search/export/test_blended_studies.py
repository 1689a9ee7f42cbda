"""Several studies and imported predictions in one model: candidates, refused studies, and the export."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from search.export.candidates.comparable import StudiesDiffer, check_allowed, check_comparable
from search.export.candidates.pool import read_pool
from search.export.expected_score import forecast_export
from search.export.files import write_export
from search.export.final_model import MemberRefits, Refits, gather_refits
from search.export.notes import ExportNotes, ImportNotes
from search.export.output.export import Export
from search.export.plan import ExportPlan, plan_export, queue_refits
from search.report.exports.export_members import describe_export
from search.runtime.home import Home
from search.statistics.blending.blends import mean_of_all
from search.statistics.member_names import MemberName, members_named
from search.statistics.paired_gain import shown_gain
from search.statistics.ranking import NothingFinished
from search.study_setup.create_study import create_study
from search.study_state.confirmation import freeze_split
from search.study_state.study import Study
from search.study_state.training_costs import final_recipe
from search.worker.study_context import StudyContext
from search.workflow.single.exported_ensemble import NoExport, open_export
from search.workflow.single.exported_refits import read_refits
from storage.records.imports import ImportedPredictions
from storage.stores import Stores, open_stores
from storage.values import TRIAL_NOTE, TrialOutcome, TrialRecord, TrialStatus, WorkKind
from studies.settings import RulesSettings
from tests.search.instant_training import pretending
from tests.search.small_study import STUDY, make_context, study_plan, work_on, write_competition
from trainer.data.image_set import ImageSet
from trainer.evaluation.metrics import score
from trainer.evaluation.targets import Targets
from trainer.formats.weights.trained_on import TrainedOn
from trainer.inference.model_folder import load_model_folder
from trainer.inference.predict import predict_folder
from trainer.training.write_model_folder import save_weights

SHORT = STUDY.replace("epochs = 3", "epochs = 1").replace("trials = 3", "trials = 2")
FINAL = '\n[final]\ntta = false\nensemble = "equal"\n'


def wrong_on(images: ImageSet, third: int) -> NDArray[np.float32]:
    """Probabilities that are wrong on a third of the images, so confidently that only two models outvote them."""
    y = images.y
    wrong = (np.arange(len(y)) // 3) % 3 == third
    proba = np.where(wrong[:, None], 0.2 * np.eye(3)[y] + 0.7 * np.eye(3)[(y + 1) % 3], 0.4 * np.eye(3)[y])
    return (proba + (1.0 - proba.sum(axis=1, keepdims=True)) / 3).astype(np.float32)


def confirm(context: StudyContext, number: int, third: int) -> None:
    """Store a confirmation of a trial on the first fresh split, wrong on a third of the images."""
    queue, oof = context.stores.queue, wrong_on(context.images, third)
    freeze_split(context.stores, context.study, 1, context.images)
    trial = context.stores.trials.records(context.study.id, kind=WorkKind.SEARCH)[number]
    recipe = final_recipe(trial.recipe or {}, context.spec.final).to_flat()
    queue.add(context.study.id, WorkKind.CONFIRM, split=1, seed=1, recipe=recipe, note={TRIAL_NOTE: trial.number})
    item = queue.take(context.study.id, "w", 60, [WorkKind.CONFIRM])
    assert item is not None
    value = score("accuracy", Targets(context.images.y), oof)
    outcome = TrialOutcome(
        status=TrialStatus.FINISHED, value=value, brier=0.5, ambiguity=0.0, temperature=1.0, predictions={"oof": oof}
    )
    assert queue.store(item, outcome)


def bring_in(context: StudyContext, label: str, third: int, doubts: tuple[str, ...] = ()) -> ImportedPredictions:
    """Import predictions that are wrong on a third of the training images and put all test images into class 1."""
    test = np.tile(np.array([0.0, 1.0, 0.0], np.float32), (len(context.images.test_ids), 1))
    made = ImportedPredictions(oof=wrong_on(context.images, third), test=test)
    context.stores.imports.add(context.study.id, label, made, notes={"doubts": list(doubts)})
    return made


class Two:
    """Two searched studies, ``one`` and ``two``, of the same images, with a context for each."""

    def __init__(self, folder: Path, images: Path, *, trained: bool) -> None:
        self.stores: Stores = open_stores(f"sqlite:///{folder / 'retable.db'}", create=True)
        (folder / "study.toml").write_text(SHORT + FINAL)
        self.contexts: list[StudyContext] = []
        for name, backbone in (("one", "test_resnet"), ("two", "test_vit")):
            made = study_plan(folder / "study.toml", images, f"recipe.backbone={backbone}", name=name, budget=2)
            context = make_context(self.stores, create_study(self.stores, made), images, folder / "home")
            work_on(context if trained else pretending(context, lambda task: 0.6))
            self.contexts.append(context)
        self.studies: list[Study] = [context.study for context in self.contexts]

    def close(self) -> None:
        for context in self.contexts:
            context.loader.close()
        self.stores.database.close()


@pytest.fixture
def two(tmp_path: Path, competition_folder: Path) -> Iterator[Two]:
    made = Two(tmp_path, competition_folder, trained=False)
    yield made
    made.close()


def names(pool_or_plan: object) -> list[str]:
    return [str(member.name) for member in pool_or_plan]  # type: ignore[attr-defined]


def test_names_of_members_are_unambiguous() -> None:
    plain, more = MemberName(trial=3), MemberName(trial=7)
    there, big = MemberName(trial=3, study="aug_tuning"), MemberName(label="big")
    assert (str(plain), str(there), str(big)) == ("trial 3", "aug_tuning:3", "imported big")
    assert (plain.first, there.first, big.first) == ("Trial 3", "aug_tuning:3", "Imported big")
    assert members_named([plain]) == "trial 3" and members_named([plain, more]) == "trials 3, 7"
    assert members_named([plain, more, big]) == "trials 3, 7 and imported big"
    assert members_named([there, MemberName(trial=0, study="full"), big]) == "aug_tuning:3, full:0 and imported big"


class TestCandidates:
    def test_finalists_of_several_studies_are_compared_together(self, two: Two) -> None:
        for third, context in enumerate(two.contexts):
            confirm(context, 1, third)
        pool = read_pool(two.stores, two.studies)
        assert sorted(names(pool.recipes)) == ["one:1", "two:1"]
        assert pool.estimates is not None and pool.split == 1 and pool.notes == ()
        leader = pool.recipes[0]
        assert pool.estimates.of(leader.number, leader.name.study) is pool.estimates.leader
        assert [record.split for member in pool.recipes for record in member.rounds] == [1, 1]

    @pytest.mark.parametrize("rules", [RulesSettings(external_data=False), RulesSettings(use_test_images=False)])
    def test_the_rules_of_a_study_hold_for_the_others(self, two: Two, tmp_path: Path, rules: RulesSettings) -> None:
        """The second study begins from weights of other images, some of them test images."""
        first, second = two.studies
        weights = tmp_path / "weights"
        seen = TrainedOn(folder="art", fingerprint="a" * 64, images=9, classes=0, test_images=4)
        save_weights(weights / "art.safetensors", {"weight": torch.zeros(1)}, [seen])
        strict = replace(first, spec=replace(first.spec, rules=rules))
        begun = replace(second.spec, recipe={**second.spec.recipe, "init": "art"})
        other = replace(second, spec=begun, stored=replace(second.stored, weights_dir=str(weights)))
        with pytest.raises(StudiesDiffer, match=r"by the rules of one, two may not take part\ninit = 'art': .* in art"):
            check_allowed(two.stores, (strict, other), None)
        for allowed in ((first, other), (strict, second)):
            check_allowed(two.stores, allowed, None)
        (weights / "art.safetensors").unlink()
        with pytest.raises(StudiesDiffer, match=r"two may not take part\ninit = 'art' is neither"):
            check_allowed(two.stores, (strict, other), None)

    @pytest.mark.parametrize("rules", [RulesSettings(external_data=False), RulesSettings(use_test_images=False)])
    def test_kept_networks_are_judged_by_what_trained_them(
        self, two: Two, rules: RulesSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """The weights from which they began may have been replaced since, by some that the rules allow."""
        first, second = two.studies
        home = Home(root=tmp_path / "home")
        strict = replace(first, spec=replace(first.spec, rules=rules))
        own = TrainedOn(folder="images", fingerprint=first.fingerprint, images=60, classes=3)
        art = TrainedOn(folder="art", fingerprint="a" * 64, images=9, classes=0, test_images=4)
        for origin, refused in (((own,), False), ((art, own), True), ((), False)):
            network = tmp_path / f"{len(origin)}{refused}.safetensors"
            save_weights(network, {"weight": torch.zeros(1)}, origin)

            def kept(home: Home, study: str, record: TrialRecord, network: Path = network) -> Path | None:
                return network if study == "two" else None

            monkeypatch.setattr("search.export.candidates.comparable.network_header", kept)
            check_allowed(two.stores, (first, second), home)
            own_rules = (replace(second, spec=replace(second.spec, rules=rules)),)
            for sources, why in (((strict, second), "two may not take part"), (own_rules, "two cannot be exported")):
                if refused:
                    with pytest.raises(StudiesDiffer, match=rf"{why}.*\n.*trial \d of two: .* in art"):
                        check_allowed(two.stores, sources, home)
                else:
                    check_allowed(two.stores, sources, home)

    def test_an_unconfirmed_study_moves_all_comparisons_to_the_search_split(self, two: Two) -> None:
        confirm(two.contexts[1], 1, 0)
        pool = read_pool(two.stores, two.studies)
        assert pool.recipes[0].name == MemberName(trial=1, study="two"), "only confirmed scores are estimates"
        assert [member.study.name for member in pool.recipes] == ["two", "one"]
        assert pool.split == 0 and all(member.compared_by == (member.trial,) for member in pool.recipes)
        assert "nothing was confirmed on fresh splits in one" in pool.notes[0]

    def test_without_confirmations_the_best_trial_of_each_study_takes_part(self, two: Two) -> None:
        pool = read_pool(two.stores, two.studies)
        assert len(pool.recipes) == 2 and pool.estimates is None and pool.split == 0
        alone = plan_export(two.stores, two.studies[0], seeds=None, full_data=False)
        assert alone.choice.note == "no recipe was confirmed on fresh splits" and len(alone.members) == 1

    def test_recipes_that_the_export_trains_longer_are_forecast_from_their_trials(self, two: Two) -> None:
        stores, y = two.stores, two.contexts[0].images.y
        plan = plan_export(stores, two.studies[0], seeds=None, full_data=False, other_studies=two.studies[1:])
        members = [replace(m, recipe=m.recipe.replace({"epochs": 9})) for m in read_pool(stores, two.studies).recipes]
        members[0] = replace(members[0], rounds=(members[0].trial, members[0].trial))
        assert [len(member.trainings) for member in members] == [2, 0], "one was confirmed twice, the other never"
        oofs = [stores.trials.prediction(member.trial.id, "oof") for member in members]
        parts = [
            MemberRefits(member=m, records=(m.trial,), views=("identity",), oof_by_training=(oof,), test=None)
            for m, oof in zip(members, oofs, strict=True)
        ]
        test = np.full((7, 3), 1 / 3, np.float32)
        blend = mean_of_all(Targets(y), np.stack(oofs))
        made = Refits(members=tuple(parts), blend=blend, fitted=None, by_confirmations=False, test=test)
        forecast = forecast_export(stores, plan, made)
        assert forecast is not None and forecast.test_images == 7
        values = [member.trial.value or 0.0 for member in members]
        assert 0.0 < forecast.single <= np.mean(values) + 1e-9
        assert forecast.expected == pytest.approx(forecast.single + forecast.averaging)

    def test_imports_never_lead(self, two: Two) -> None:
        one = two.contexts[0]
        sure = np.eye(3, dtype=np.float32)
        made = ImportedPredictions(oof=sure[one.images.y], test=sure[[0] * len(one.images.test_ids)])
        two.stores.imports.add(one.study.id, "big", made)
        plan = plan_export(two.stores, one.study, seeds=None, full_data=False)
        assert names(plan.imported) == ["imported big"] and plan.imported[0].weight == 0.5
        assert plan.choice.names == (plan.leader.name, plan.imported[0].name) and not plan.leader.name.study

    def test_equal_recipes_and_equal_imports_count_once(self, two: Two, competition_folder: Path) -> None:
        one = two.contexts[0]
        again = study_plan(
            Path(str(two.stores.database.url.database)).parent / "study.toml",
            competition_folder,
            "recipe.backbone=test_resnet",
            name="again",
            budget=1,
        )
        context = make_context(two.stores, create_study(two.stores, again), competition_folder, one.home.root)
        work_on(pretending(context, lambda task: 0.9))
        context.loader.close()
        for each in (one, context):
            confirm(each, 0, 0)
        confirm(one, 1, 1)
        bring_in(one, "big", 2)
        bring_in(context, "huge", 2)
        pool = read_pool(two.stores, [one.study, context.study])
        recipes = [member.recipe for member in pool.recipes]
        assert len(recipes) == len({str(recipe.to_flat()) for recipe in recipes})
        assert names(pool.imported) == ["imported one:big"]

    def test_incomparable_studies_are_refused_with_every_difference(
        self, two: Two, tmp_path: Path, competition_folder: Path
    ) -> None:
        file, elsewhere = tmp_path / "study.toml", tmp_path / "else"
        elsewhere.mkdir()
        changes = ("protocol.metric=log_loss", "protocol.folds=3", "protocol.split_seed=4")
        other = create_study(two.stores, study_plan(file, competition_folder, *changes, name="other"))
        images = create_study(two.stores, study_plan(file, write_competition(elsewhere, seed=1), name="images"))
        with pytest.raises(StudiesDiffer) as caught:
            check_comparable([two.studies[0], two.studies[1], other, images])
        for part in (
            "other has protocol.metric = log_loss, one has accuracy",
            "other has protocol.folds = 3, one has 2",
            "other has protocol.split_seed = 4, one has 0",
            "images is on other images",
        ):
            assert part in str(caught.value)
        assert "two has" not in str(caught.value)
        with pytest.raises(StudiesDiffer):
            plan_export(two.stores, two.studies[0], seeds=None, full_data=False, other_studies=[other])
        fresh = create_study(two.stores, study_plan(file, competition_folder, name="fresh"))
        with pytest.raises(NothingFinished, match="no trial of study fresh has finished"):
            plan_export(two.stores, two.studies[0], seeds=None, full_data=False, other_studies=[fresh])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, competition_folder: Path) -> Iterator[Two]:
    """A recipe of each study and imported predictions; each is wrong on images that the others get right."""
    made = Two(tmp_path_factory.mktemp("blended"), competition_folder, trained=True)
    for third, context in enumerate(made.contexts):
        confirm(context, 1, third)
    bring_in(made.contexts[1], "big", 2, ("it is too good",))
    yield made
    made.close()


def refit(two: Two, plan: ExportPlan) -> Refits:
    one = two.contexts[0]
    ids = queue_refits(two.stores, plan, one.home)
    for context in two.contexts:
        work_on(context)
    return gather_refits(two.stores, plan, ids)


@pytest.fixture(scope="module")
def plan(trained: Two) -> ExportPlan:
    return plan_export(
        trained.stores, trained.studies[0], seeds=None, full_data=False, other_studies=trained.studies[1:]
    )


@pytest.fixture(scope="module")
def refits(trained: Two, plan: ExportPlan) -> Refits:
    return refit(trained, plan)


@pytest.fixture(scope="module")
def exported(trained: Two, plan: ExportPlan, refits: Refits, tmp_path_factory: pytest.TempPathFactory) -> Export:
    one, output = trained.contexts[0], tmp_path_factory.mktemp("out") / "export"
    return write_export(trained.stores, plan, refits, one.images, one.home, output, None)


def table(path: Path) -> dict[str, list[str]]:
    with path.open(newline="") as file:
        return {row[0]: row[1:] for row in list(csv.reader(file))[1:]}


class TestTheExport:
    def test_the_export_uses_the_networks_of_the_searches(self, trained: Two, plan: ExportPlan, refits: Refits) -> None:
        assert sorted(names(plan.members)) == ["one:1", "two:1"] and names(plan.imported) == ["imported two:big"]
        for study in trained.studies:
            assert not trained.stores.trials.records(study.id, kind=WorkKind.REFIT), "nothing is trained twice"
            (own,) = [part for part in refits.members if part.member.study.id == study.id]
            assert own.records == (own.member.trial,) and own.member.trial.study_id == study.id

    def test_imports_are_blended_by_weight(self, refits: Refits, exported: Export) -> None:
        assert refits.test is not None and refits.blend.weights == pytest.approx((1 / 3,) * 3)
        tests = [part.test for part in refits.all_members if part.test is not None]
        np.testing.assert_allclose(refits.test, np.mean(tests, axis=0), atol=1e-6)
        written = table(exported.folder / "test_proba.csv")
        np.testing.assert_allclose([[float(v) for v in row] for row in written.values()], refits.test, atol=1e-6)
        assert table(exported.folder / "submission.csv").keys() == written.keys()

    def test_the_model_folder_holds_the_refits_alone_and_the_card_says_so(
        self, trained: Two, refits: Refits, exported: Export, competition_folder: Path
    ) -> None:
        config = json.loads((exported.folder / "model" / "config.json").read_text())
        assert {member["backbone"] for member in config["members"]} == {"test_resnet", "test_vit"}
        assert refits.runnable is not None and refits.runnable.test is not None
        assert load_model_folder(exported.folder / "model").blend == refits.runnable.blend
        proba = predict_folder(exported.folder / "model", [competition_folder / "test"]).proba
        ids = [f"t{i:03}" for i in range(len(proba))]
        expected = dict(zip(trained.contexts[0].images.test_ids, refits.runnable.test, strict=True))
        np.testing.assert_allclose(proba, [expected[name] for name in ids], atol=1e-5)
        assert refits.test is not None and np.abs(refits.runnable.test - refits.test).max() > 0.1
        card = (exported.folder / "MODEL_CARD.md").read_text()
        for lines in (card, "\n".join(exported.warnings)):
            assert "cannot be run" in lines and "does not predict submission.csv" in lines
            assert "imported two:big was made elsewhere" in lines and "imported two:big: it is too good" in lines

    def test_card_reasons_and_notes_name_the_studies(self, trained: Two, plan: ExportPlan, exported: Export) -> None:
        card = (exported.folder / "MODEL_CARD.md").read_text()
        assert "from studies `one`, `two`" in card and "| imported two:big | `-` | 0.333 | - | - | - |" in card
        assert "## Recipe of one:1" in card and "## Recipe of two:1" in card and "Recipe of imported" not in card
        assert plan.choice.gain is not None
        leader = plan.leader.name
        reason = f"The average of {members_named(plan.choice.names)} gains {shown_gain(plan.choice.gain, 'accuracy')}"
        assert exported.reasons[0].startswith(f"{reason} over {leader} alone")
        record = trained.stores.exports.all(trained.studies[0].id)[-1]
        assert not trained.stores.exports.all(trained.studies[1].id)
        text = describe_export(ExportNotes.from_json(record.notes))
        assert "imported two:big x 0.33" in text and "two:1 x 0.33" in text and "trials" in text

    def test_its_blend_is_read_again_from_the_database(
        self, trained: Two, refits: Refits, exported: Export, competition_folder: Path
    ) -> None:
        export = open_export(trained.stores, "one", trained.contexts[0].home, exported.folder, competition_folder)
        read = read_refits(export)
        np.testing.assert_array_equal(read.mean_oof(), refits.mean_oof())
        assert read.fitted is not None and read.runnable is not None and refits.runnable is not None
        assert (read.blend, read.fitted.score) == (refits.blend, exported.score)
        assert read.runnable.blend == refits.runnable.blend
        *members, imported = export.notes.members
        assert isinstance(imported, ImportNotes)
        lost = replace(export.notes, members=(*members, replace(imported, digest="0" * 64)))
        with pytest.raises(NoExport, match="the imported predictions big is not in the database any more"):
            read_refits(replace(export, notes=lost))

    def test_the_export_stores_its_labels(self, trained: Two, refits: Refits, exported: Export) -> None:
        record = trained.stores.exports.all(trained.studies[0].id)[0]
        assert refits.test is not None
        np.testing.assert_array_equal(ExportNotes.from_json(record.notes).labels, refits.blend.labels(refits.test))

    def test_models_of_all_images_are_blended_and_scored_by_confirmations(self, trained: Two, tmp_path: Path) -> None:
        one = trained.contexts[0]
        plan = plan_export(trained.stores, one.study, seeds=1, full_data=True, other_studies=trained.studies[1:])
        gathered = refit(trained, plan)
        made = write_export(trained.stores, plan, gathered, one.images, one.home, tmp_path / "full", None)
        assert made.by_confirmations and made.score == 1.0, "the mean of the three is right everywhere"
        assert gathered.runnable is not None and gathered.runnable.fitted is not None
        alone = f"accuracy {gathered.runnable.fitted.score:.4f} ± {gathered.runnable.fitted.error:.4f}"
        assert any(alone in line and "cross-validated in confirmation" in line for line in made.warnings)
        files = sorted(path.name for path in (made.folder / "model" / "weights").iterdir())
        assert files == ["one-trial1-seed0-fold0.safetensors", "two-trial1-seed0-fold0.safetensors"]
