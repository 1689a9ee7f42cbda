"""Views of the sections: what they say about a study."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from search.page.facts import Facts, read_facts
from search.page.labels.candidates import find_candidates
from search.page.labels.sentences import summary
from search.page.sections.answer import answer
from search.page.sections.backbones import backbones
from search.page.sections.data import data
from search.page.sections.errors import errors
from search.page.sections.finalists import finalists
from search.page.sections.history import history
from search.page.sections.settings import settings
from search.statistics.paired_gain import MOST_IMAGES, paired_gain, quick_gain
from search.study_state.confirmation import read_confirmation, why_skipped
from search.study_state.study import Study
from storage.stores import Stores
from storage.values import TrialOutcome, TrialStatus, WorkKind
from tests.search.page.made_up import end_badly, end_trials, lay_study, noisy
from trainer.common.arrays import Float32Array
from trainer.evaluation.targets import Targets
from trainer.recipe.recipe import Recipe


def facts_of(stores: Stores) -> Facts:
    return read_facts(stores, "made_up")


def labels_of(stores: Stores, study: Study) -> np.ndarray:
    return stores.datasets.get(study.fingerprint).y


def test_the_rate_that_decides_matters_and_is_drawn(stores: Stores, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path, budget=40, per_class=60)
    y = labels_of(stores, study)

    def proba(number: int, recipe: Recipe) -> Float32Array:
        flat = recipe.to_flat()
        distance = abs(math.log10(float(flat["optimizer.lr"])) + 2.5)  # type: ignore[arg-type]
        return noisy(y, 3, (0.95 - 0.4 * distance) * (1.0 if flat["optimizer.name"] == "adamw" else 0.7), number)

    end_trials(stores, study, 40, proba)
    view = settings(facts_of(stores))
    assert view is not None
    strongest = {row.parameter for row in view.rows if row.matters}
    assert strongest & {"optimizer.name", "optimizer.lr@adamw"} and "loss.label_smoothing" not in strongest
    drawn = {part.parameter: part for part in view.slices}
    assert set(drawn) == {row.replace("@adamw", " (adamw)") for row in strongest}
    name = drawn.get("optimizer.name")
    assert name is None or name.summary.startswith("Median accuracy by optimizer.name: adamw")
    assert all(len(part.rows) <= 40 for part in view.slices)


def test_trials_that_are_equal_tie(stores: Stores, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path)
    y = labels_of(stores, study)
    shares = (0.9, 0.88, 0.4)
    end_trials(stores, study, 3, lambda number, _: noisy(y, 3, shares[number], number))
    view = finalists(facts_of(stores))
    assert view is not None and not view.on_fresh_splits
    assert [row.tied for row in view.rows] == [True, True, False]
    assert view.rows[0].gap == "leads" and float(view.rows[2].gap.split()[0]) > 0.2
    assert "1 other recipe is within one standard error" in view.summary
    assert "0.0000 ± 0.0000" not in str(view.drawing), "of the leader"


def test_the_error_of_a_gap_on_many_images_comes_from_some_of_them() -> None:
    y = np.arange(4 * MOST_IMAGES) % 3
    better, worse = noisy(y, 3, 0.8, 1), noisy(y, 3, 0.75, 2)
    exact = paired_gain("macro_f1", Targets(y), better, worse)
    quick = quick_gain("macro_f1", Targets(y), better, worse)
    assert quick.mean == exact.mean
    assert quick.error == pytest.approx(exact.error, rel=0.4)
    few = slice(0, MOST_IMAGES)
    assert quick_gain("accuracy", Targets(y[few]), better[few], worse[few]) == paired_gain(
        "accuracy", Targets(y[few]), better[few], worse[few]
    )


def test_one_trial_ties_with_nothing(stores: Stores, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path)
    end_trials(stores, study, 1, lambda number, _: noisy(labels_of(stores, study), 3, 0.8, number))
    assert finalists(facts_of(stores)) is None
    assert backbones(facts_of(stores)) is None


def test_probes_stand_beside_fine_tuned_trials(stores: Stores, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path)
    y = labels_of(stores, study)
    end_trials(stores, study, 3, lambda number, _: noisy(y, 3, 0.6 + 0.05 * number, number), probes=2)
    view = backbones(facts_of(stores))
    assert view is not None
    rows = {(row.backbone, row.size): row for row in view.rows}
    assert rows["test_resnet", 48].tuned is None and rows["test_resnet", 48].trials == 0
    both = rows["test_resnet", 32]
    assert both.probe is not None and both.tuned is not None and both.trials == 3
    assert both.seconds == 13.0, "the median of the trials"
    assert max(r.value for r in facts_of(stores).finished if not r.is_probe) == both.tuned.value


def test_further_trials_are_counted_as_they_finish(stores: Stores, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path, budget=10, per_class=60)
    y = labels_of(stores, study)
    end_trials(stores, study, 5, lambda number, _: noisy(y, 3, 0.5 + 0.08 * number, number))
    for _ in range(5):
        end_badly(stores, study, TrialStatus.PRUNED)
    lines = history(facts_of(stores)).lines
    assert "The next 10 trials, of which about 5 finish, may still gain" in lines[1]


def test_trials_far_below_the_leading_probe_are_not_expected_to_reach_it(stores: Stores, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path, budget=4, per_class=60)
    y = labels_of(stores, study)
    end_trials(stores, study, 4, lambda n, _: noisy(y, 3, 0.98 if n == 0 else 0.5 + 0.01 * n, n), probes=1)
    assert "which is not expected to reach the leader" in history(facts_of(stores)).lines[1]


def test_the_leader_is_not_counted_among_the_results_like_it(stores: Stores, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path, budget=4, per_class=60)
    y = labels_of(stores, study)
    end_trials(stores, study, 1, lambda n, _: noisy(y, 3, 0.9, 1))
    assert history(facts_of(stores)).summary == "Only the leader has finished."
    end_trials(stores, study, 1, lambda n, _: noisy(y, 3, 0.4, 1))
    only = history(facts_of(stores)).summary
    assert only == "The only other result is more than one standard error below the leader."
    end_trials(stores, study, 2, lambda n, _: noisy(y, 3, (0.9, 0.3)[n - 2], 1))
    assert history(facts_of(stores)).summary.startswith("1 of 3 other results is within one standard error of the lea")


def test_a_very_poor_trial_does_not_flatten_the_picture(stores: Stores, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path, budget=9)
    y = labels_of(stores, study)
    end_trials(stores, study, 9, lambda number, _: noisy(y, 3, 0.0 if number == 4 else 0.9, number))
    view = history(facts_of(stores))
    assert view.lines[-1] == "1 score below the axis is at its edge."


def test_reliability_is_that_of_the_stored_predictions(stores: Stores, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path, names=["a", "b"], per_class=50)
    y = labels_of(stores, study)
    predicted = np.where(np.arange(100) % 10 < 3, 1 - y, y)
    proba = np.full((100, 2), 0.05, dtype=np.float32)
    proba[np.arange(100), predicted] = 0.95
    end_trials(stores, study, 1, lambda number, recipe: proba)
    view = errors(facts_of(stores))
    assert view is not None
    assert view.reliability.error == pytest.approx(0.25) and "25% too high" in view.reliability_note
    assert view.summary == "70 of 100 images are right (70.0%)."


@pytest.mark.parametrize(("metric", "named"), [("accuracy", False), ("log_loss", True)])
def test_temperature_scaling_is_named_where_an_export_may_apply_it(
    stores: Stores, tmp_path: Path, metric: str, named: bool
) -> None:
    study = lay_study(stores, tmp_path, metric=metric)
    y = labels_of(stores, study)
    end_trials(stores, study, 1, lambda number, recipe: noisy(y, 3, 0.9, number))
    view = errors(facts_of(stores))
    assert view is not None
    assert ("temperature" in view.reliability_note) is named


def test_a_study_whose_trials_have_not_ended_is_not_called_one_of_probes_only(stores: Stores, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path, budget=3)
    y = labels_of(stores, study)
    end_trials(stores, study, 0, lambda number, recipe: noisy(y, 3, 0.9, number), probes=2)
    reason = why_skipped(read_confirmation(stores, study.name))
    assert "probes" in reason and "study has" not in reason


def test_the_data_are_counted(stores: Stores, tmp_path: Path) -> None:
    lay_study(stores, tmp_path, per_class=7)
    view = data(facts_of(stores))
    assert sorted(view.classes) == [("blue", 7), ("green", 7), ("red", 7)]
    assert "No two training images are near-duplicates." in view.lines
    assert view.suspects == () and view.suspects_line == ""


def test_the_suspicious_labels_are_those_of_search_labels(stores: Stores, tmp_path: Path) -> None:
    """By the mean of all trials, not by those of the leader, which alone would name others."""
    study = lay_study(stores, tmp_path, per_class=20)
    y = labels_of(stores, study)
    wrong = [3, 24, 45]
    seen = y.copy()
    seen[wrong] = (y[wrong] + 1) % 3

    def predictions(number: int, _: object) -> np.ndarray:
        shown = seen.copy()
        if number == 0:  # the leader alone errs on one more image
            shown[50] = (y[50] + 1) % 3
        return (0.94 * np.eye(3)[shown] + 0.02).astype(np.float32)

    end_trials(stores, study, 3, predictions)
    found = find_candidates(stores, study)
    view = data(facts_of(stores))
    ids = stores.datasets.get(study.fingerprint).train_ids
    assert {suspect.image for suspect in view.suspects} == {ids[each.row] for each in found.candidates}
    assert {ids[row] for row in wrong} <= {suspect.image for suspect in view.suspects}
    assert view.suspects_line.startswith(" ".join(summary(found)))
    shown = errors(facts_of(stores))
    assert shown is not None and sum(row.suspects for row in shown.rows) == len(found.candidates)


def test_the_answer_is_the_latest_export(stores: Stores, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path)
    y = labels_of(stores, study)
    end_trials(stores, study, 2, lambda number, _: noisy(y, 3, 0.9 - 0.3 * number, number))
    record = stores.trials.records(study.id, kind=WorkKind.SEARCH)[1]
    assert record.recipe is not None
    forecast = {"expected": 0.81, "low": 0.7, "high": 0.9, "level": 0.9, "test_images": 6}
    notes = {"trial": 1, "seeds": 2, "trainings": [[1, 1], [2, 2]], "full_data": False, "views": ["identity"]}
    notes |= {"temperature": 1.0, "offsets": [], "cuts": []}
    stores.exports.add(
        study.id, folder="/data/out", recipe=record.recipe, score=0.6, score_se=0.1, notes=notes, forecast=forecast
    )
    facts = facts_of(stores)
    view = answer(facts)
    assert view.heading == "test_resnet at 32 px, average of 4 networks"
    assert view.score == "accuracy 0.8100"
    assert view.score_note == "expected on the 6 test images, 90% interval 0.7000 to 0.9000"
    assert view.submission == "/data/out/submission.csv"
    assert facts.leader is not None and facts.leader.number == 1, "the exported trial, not the best one"
    found = errors(facts)
    assert found is not None and "trial 1" in found.source


def export_refits(stores: Stores, study: Study, seeds: int, proba: Float32Array, **notes: object) -> None:
    """Export the first trial, refitted with more epochs by ``seeds`` trainings, each with the same predictions."""
    record = stores.trials.records(study.id, kind=WorkKind.SEARCH)[0]
    recipe = {**(record.recipe or {}), "epochs": 9}
    for seed in range(seeds):
        stores.queue.add(study.id, WorkKind.REFIT, split=0, seed=seed, recipe=recipe)
        item = stores.queue.take(study.id, "test", 60.0)
        assert item is not None and item.kind is WorkKind.REFIT
        outcome = TrialOutcome(status=TrialStatus.FINISHED, epochs_done=9, seconds=1.0, predictions={"oof": proba})
        assert stores.queue.store(item, outcome)
    trainings = [[0, seed] for seed in range(seeds)]
    plain = {"trial": 0, "seeds": seeds, "trainings": trainings, "full_data": False, "views": ["identity"]}
    plain |= {"temperature": 1.0, "offsets": [], "cuts": []}
    stores.exports.add(
        study.id, folder="/out", recipe=recipe, score=0.8, score_se=0.1, notes={**plain, **notes}, forecast=None
    )


def test_the_errors_are_those_of_the_exported_networks(stores: Stores, tmp_path: Path) -> None:
    """``[final]`` may train longer than the search, whose networks then err more often."""
    study = lay_study(stores, tmp_path, metric="log_loss")
    y = labels_of(stores, study)
    end_trials(stores, study, 1, lambda number, _: noisy(y, 3, 0.2, number))
    before = errors(facts_of(stores))
    assert before is not None and before.source.startswith("Out-of-fold predictions of trial 0:")
    exported = noisy(y, 3, 0.9, 7)
    export_refits(stores, study, 2, exported)
    found = errors(facts_of(stores))
    right = int((exported.argmax(axis=1) == y).sum())
    assert found is not None and found.summary == f"{right} of 60 images are right ({right / 60:.1%})."
    assert found.summary != before.summary
    assert found.source.startswith("Out-of-fold predictions of the exported networks of trial 0:")
    assert "temperature" in found.reliability_note


def test_errors_of_other_networks_than_the_exported_ones_are_said_to_be(stores: Stores, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path)
    y = labels_of(stores, study)
    end_trials(stores, study, 1, lambda number, _: noisy(y, 3, 0.2, number))
    before = errors(facts_of(stores))
    export_refits(stores, study, 1, noisy(y, 3, 0.9, 7), full_data=True)
    found = errors(facts_of(stores))
    assert before is not None and found is not None and found.summary == before.summary
    assert "of trial 0 in the search:" in found.source
    assert found.source.endswith("The export has other networks, trained on all images.")


@pytest.mark.parametrize(("trainings", "advised"), [(1, True), (3, False)])
def test_the_answer_advises_more_seeds_only_where_there_are_few(
    trainings: int, advised: bool, stores: Stores, tmp_path: Path
) -> None:
    study = lay_study(stores, tmp_path)
    y = labels_of(stores, study)
    end_trials(stores, study, 1, lambda number, _: noisy(y, 3, 0.9, number))
    record = stores.trials.records(study.id, kind=WorkKind.SEARCH)[0]
    assert record.recipe is not None
    seeds = [[1, seed] for seed in range(trainings)]
    notes = {"trial": 0, "seeds": trainings, "trainings": seeds, "full_data": False, "views": ["identity"]}
    notes |= {"temperature": 1.0, "offsets": [], "cuts": []}
    stores.exports.add(
        study.id, folder="/data/out", recipe=record.recipe, score=0.6, score_se=0.1, notes=notes, forecast=None
    )
    assert any("--seeds" in command for command, _ in answer(facts_of(stores)).steps) == advised


def test_the_provisional_submission_is_named_until_there_is_an_export(stores: Stores, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path)
    end_trials(stores, study, 1, lambda number, _: noisy(labels_of(stores, study), 3, 0.8, number))
    path = tmp_path / "submission.csv"
    assert answer(read_facts(stores, "made_up", path)).submission == str(path)
    assert answer(read_facts(stores, "made_up")).submission == ""


def test_weak_predictions_do_not_judge_labels(stores: Stores, tmp_path: Path) -> None:
    """Predictions that are wrong on most images would make most labels suspicious."""
    study = lay_study(stores, tmp_path, per_class=20)
    true = labels_of(stores, study)
    end_trials(stores, study, 1, lambda number, recipe: noisy((true + (np.arange(60) % 4 > 0)) % 3, 3, 0.9, number))
    facts = facts_of(stores)
    assert facts.suspects is None
    assert data(facts).suspects == () and "are not judged: the predictions" in data(facts).suspects_line
    shown = errors(facts)
    assert shown is not None and {row.suspects for row in shown.rows} == {0}
