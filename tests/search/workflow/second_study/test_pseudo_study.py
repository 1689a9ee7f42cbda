"""A second study with pseudo-labels: from the export of the first to its own, or to the refusal of one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from search.cli.app import app
from search.export.candidates.comparable import StudiesDiffer, check_allowed
from search.export.plan import plan_export
from search.report.status import show_status
from search.runtime.kept_networks import kept_networks
from search.study_setup.rules import AgainstTheRules
from search.study_setup.second_study import (
    NotAdopted,
    compare_with_first,
    finished_by_seed,
    labels_of,
)
from search.study_state.study import NotASearch, read_study, require_search
from search.study_state.study_targets import read_folds
from search.workflow.second_study.command import start_second_study
from search.workflow.second_study.method import CannotTrainAgain
from search.workflow.second_study.pseudo_labels import CannotLabel, GivenLabels, committees, give_labels
from storage.errors import StorageError
from storage.values import SEARCH_SPLIT
from studies.settings import RulesSettings
from studies.spec import StudyError
from studies.stored_spec import spec_from_dict
from tests.search.workflow.second_study.first_study import FOLDS, SEEDS, FirstStudy, adopt
from trainer.conversion.single.soup import SoupMaker
from trainer.evaluation.pseudo_labels import NO_LABEL, Precision
from trainer.formats.weights.origin import origin_of_all
from trainer.inference.networks.torch_networks import read_weights
from trainer.recipe.recipe import LINEAR_PROBE, Recipe

pytestmark = pytest.mark.slow


def test_the_teachers_of_a_fold_are_the_networks_that_held_it_out(first: FirstStudy) -> None:
    export, folds = first.opened(), read_folds(first.stores, first.study, SEARCH_SPLIT)
    groups = committees(export, FOLDS)
    assert [len(group) for group in groups] == [SEEDS] * FOLDS
    records = finished_by_seed(first.stores, first.study, export.recipes[0].to_flat())
    stored = np.mean([first.stores.trials.prediction(record.id, "oof") for record in records.values()], axis=0)
    for fold, group in enumerate(groups):
        rows = np.flatnonzero(folds == fold)
        predicted = [
            SoupMaker(member).predict(read_weights(path), export.pixels(member, with_test=True).train[rows])
            for member, path in group
        ]
        assert np.allclose(np.mean(predicted, axis=0), stored[rows], atol=1e-5)


def test_labels_without_a_gain_are_not_exported(
    first: FirstStudy, work_here: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    adopt(monkeypatch, always=False)
    start_second_study(first.request("refused"))
    said = " ".join(capsys.readouterr().out.split())
    assert "The same gate is right on" in said and "not adopted" in said and "export of colours stays" in said
    study = read_study(first.stores, "refused")
    assert not (first.home.root / "refused" / "MODEL_CARD.md").exists() and not first.stores.exports.all(study.id)
    with pytest.raises(NotAdopted, match="stays"):
        plan_export(first.stores, study, seeds=None, full_data=False, home=first.home)
    with pytest.raises(NotAdopted, match="stays"):
        check_allowed(first.stores, (first.study, study), None)
    show_status("refused", first.url, first.home.root)
    said = " ".join(capsys.readouterr().out.split())
    assert "The export of colours stays." in said and "Nothing is exported yet" not in said
    before = labels_of(first.stores, study)
    start_second_study(first.request("refused", str(first.home.root / "colours")))
    assert "continues" in capsys.readouterr().out
    assert np.array_equal(labels_of(first.stores, study).values, before.values)


def test_labels_with_a_gain_are_exported_and_named(
    first: FirstStudy, work_here: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    adopt(monkeypatch, always=True)
    start_second_study(first.request("adopted"))
    study = read_study(first.stores, "adopted")
    found = compare_with_first(first.stores, study)
    assert found is not None and found.adopted and found.seeds == SEEDS and found.images == 30
    said = " ".join(capsys.readouterr().out.split())
    assert "Doubts" in said and "search confirm" not in said and "nothing better than the default" not in said
    own, plain = (finished_by_seed(first.stores, each, study.spec.recipe) for each in (study, first.study))
    assert set(own) == set(plain) and study.spec.compared_seeds == (0, 1)
    for seed, record in own.items():
        oof = first.stores.trials.prediction(record.id, "oof")
        assert oof.shape == (30, 3) and record.machine["pseudo_labels"] > 0
        assert not np.array_equal(oof, first.stores.trials.prediction(plain[seed].id, "oof"))
        assert len(kept_networks(first.home, "adopted", record)) == FOLDS
    card = (first.home.root / "adopted" / "MODEL_CARD.md").read_text()
    assert "learned from test images, by pseudo-labels of colours" in card and "seeds); adopted." in card
    (export,) = first.stores.exports.all(study.id)
    assert export.notes["seeds"] == SEEDS and "study" not in export.notes, "the second study leads"
    assert (first.home.root / "adopted" / "submission.csv").is_file()
    labelled = int((labels_of(first.stores, study).values != NO_LABEL).any(axis=0).sum())
    for name, tests in (("colours", 0), ("adopted", labelled)):
        files = sorted((first.home.root / name / "model" / "weights").iterdir())
        learned = max(origin_of_all(files), key=lambda one: one.test_images)
        assert (learned.fingerprint, learned.classes) == (study.fingerprint, 3)
        assert (learned.images, learned.test_images) == (30 + tests, tests)
        assert learned.known_among(first.context.images.training_contents) == 30
    with pytest.raises(CannotTrainAgain, match="--pseudo-from colours"):
        start_second_study(first.request("third", "adopted"))
    with pytest.raises(NotAdopted, match="full-data"):
        plan_export(first.stores, study, seeds=None, full_data=True, home=first.home)
    strict = replace(first.study, spec=replace(first.study.spec, rules=RulesSettings(use_test_images=False)))
    with pytest.raises(StudiesDiffer, match="use_test_images"):
        check_allowed(first.stores, (strict, study), None)
    for doing in ("searches", "confirms"):
        with pytest.raises(NotASearch, match="--study adopted --pseudo-from colours"):
            require_search(study, doing)
    with pytest.raises(StorageError, match="no pseudo-labels for split 1"):
        context = first.context_of(study)
        first.stores.datasets.freeze_folds(
            study.fingerprint, read_folds(first.stores, study, 0), n_folds=FOLDS, split=1, seed=0
        )
        context.training_data(Recipe.from_flat(dict(study.spec.recipe)), 1)


def test_the_rules_of_a_competition_forbid_it(first: FirstStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = first.study.spec
    strict = replace(spec, rules=RulesSettings(use_test_images=False))
    with pytest.raises(StudyError, match="use_test_images"):
        spec_from_dict(replace(strict, purpose="pseudo_labels", begun_from="colours:0").to_dict())
    first.stores.studies.set_spec(first.study.id, spec=strict.to_dict(), file_spec=first.study.stored.file_spec)
    try:
        with pytest.raises(AgainstTheRules, match="use_test_images = false"):
            start_second_study(first.request("forbidden"))
        assert first.stores.studies.find("forbidden") is None
    finally:
        first.stores.studies.set_spec(first.study.id, spec=spec.to_dict(), file_spec=first.study.stored.file_spec)


def test_labels_need_networks_that_can_disagree(first: FirstStudy) -> None:
    export, folds = first.opened(), read_folds(first.stores, first.study, SEARCH_SPLIT)
    (member,) = export.model.members
    single = [path for path in member.weights if "seed0" in path.name]
    assert len(single) == FOLDS
    lonely = replace(export, model=replace(export.model, members=(replace(member, weights=tuple(single)),)))
    with pytest.raises(CannotLabel, match="--seeds 2"):
        give_labels(lonely, folds, device="cpu")
    probes = replace(lonely, recipes=tuple(each.replace({"method": LINEAR_PROBE}) for each in export.recipes))
    with pytest.raises(CannotLabel, match=r"fine-tuned recipes .* --study colours --trials"):
        give_labels(probes, folds, device="cpu")
    with pytest.raises(CannotLabel, match="full-data"):
        give_labels(replace(export, notes=replace(export.notes, full_data=True)), folds, device="cpu")
    with pytest.raises(CannotLabel, match="no test images"):
        give_labels(replace(export, images=export.images.without_test_images()), folds, device="cpu")
    with pytest.raises(CannotLabel, match="other classes"):
        model = replace(export.model, class_names=("a", "b", "c"))
        give_labels(replace(export, model=model), folds, device="cpu")


def test_the_gate_is_judged_on_held_out_images(first: FirstStudy) -> None:
    export, folds = first.opened(), read_folds(first.stores, first.study, SEARCH_SPLIT)
    steps: list[tuple[int, int]] = []
    given = give_labels(export, folds, device="cpu", on_step=lambda done, total: steps.append((done, total)))
    assert given.values.shape == (FOLDS, 6) and given.teachers == SEEDS
    assert given.by_fold == [(labels != NO_LABEL).sum() for labels in given.values]
    assert given.precision.images == 30 and 0 < given.precision.accepted <= 30
    assert steps[-1] == (SEEDS * FOLDS, SEEDS * FOLDS)


def test_other_settings_are_refused_at_once(first: FirstStudy, tmp_path: Path) -> None:
    command_line = ["start", "--study", "second", "--pseudo-from", "colours", "--storage", first.url]
    result = CliRunner().invoke(app, [*command_line, "--hours", "2", "--set", "recipe.epochs=3"])
    assert "--hours" in str(result.exception) and "--set" in str(result.exception)
    with pytest.raises(CannotTrainAgain, match="without pseudo-labels"):
        start_second_study(first.request("colours"))


@pytest.mark.parametrize(("accepted", "unlike"), [(8, False), (3, True)])
def test_test_images_that_seldom_pass_the_gate_are_named(accepted: int, unlike: bool) -> None:
    values = np.full((2, 10), NO_LABEL)
    values[:, :accepted] = 1
    given = GivenLabels(values=values, teachers=2, precision=Precision(images=20, accepted=16, right=15))
    lines = given.lines()
    assert lines[0].startswith(f"{accepted} of 10 test images") and "of 16 accepted labels" in lines[1]
    assert len(lines) == 2 + unlike and (f"{accepted}0% of the test images" in lines[-1]) == unlike
