"""`search try`: queues a recipe given by hand on top of the budget, or explains the refusal."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from optuna.trial import TrialState
from rich.console import Console

from search.report.live.progress import print_trial
from search.study_state.study import Study
from search.tuning.warm_starts import origins_of
from search.workflow.try_recipe import CannotTry, TryRequest, parameters_of, try_recipe
from storage.errors import UnknownStudyError
from storage.stores import Stores
from storage.values import StudyState, TrialStatus, WorkKind
from tests.databases import DIALECTS
from tests.search.end_trials import end_next

Try = Callable[..., str]


@pytest.fixture
def by_hand(url: str, capsys: pytest.CaptureFixture[str]) -> Try:
    """Runs `search try` and returns its output on one line."""

    def by_hand(*assignments: str, like: int | None = None, study: str | None = None) -> str:
        try_recipe(TryRequest(study=study, storage_url=url, assignments=assignments, like=like))
        return " ".join(capsys.readouterr().out.split())

    return by_hand


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_the_recipe_runs_on_top_of_the_budget(stores: Stores, stored: Study, by_hand: Try) -> None:
    for value in (0.5, 0.6, 0.7):
        end_next(stores, stored, value)
    assert not stores.queue.may_begin(stored.id)
    said = by_hand("optimizer.name=sgd", "recipe.optimizer.lr=0.03", "loss.label_smoothing=0.05")
    assert said.startswith("Trial 3 of study colours waits: optimizer=sgd lr=0.03 label_smoothing=0.05")
    assert said.endswith("`search start --study colours` runs it.")
    assert stores.studies.get("colours").budget == 4
    assert end_next(stores, stored, 0.8) == 3
    (record,) = stores.trials.records(stored.id, kind=WorkKind.SEARCH)[3:]
    assert record.recipe is not None
    assert (record.recipe["optimizer.lr"], record.recipe["epochs"]) == (0.03, 3)
    assert not stores.queue.may_begin(stored.id)
    console = Console(record=True, width=200)
    print_trial(console, record, stored.spec.default_recipe(), origins_of(stores, "colours")[3])
    assert "by hand: optimizer=sgd lr=0.03" in console.export_text()


def test_other_fields_come_from_another_trial(stores: Stores, stored: Study, by_hand: Try) -> None:
    end_next(stores, stored, 0.5)
    by_hand("optimizer.lr=0.002")
    said = by_hand("loss.label_smoothing=0.1", like=1)
    assert "Trial 2 of study colours waits: lr=0.002 label_smoothing=0.1" in said, "also from a waiting trial"
    said = by_hand("optimizer.name=sgd", like=2)
    assert "note: optimizer.lr = 0.002 does not fit the other settings, so it is 0.05" in said
    params = [parameters_of(trial) for trial in stores.optuna_study("colours").get_trials()]
    assert params[3] == {"optimizer.name": "sgd", "optimizer.lr@sgd": 0.05, "loss.label_smoothing": 0.1}
    assert origins_of(stores, "colours")[3] == "by hand: like trial 2"
    assert stores.studies.get("colours").budget == 6


@pytest.mark.parametrize(
    ("assignments", "like", "said"),
    [
        (["batch_size=16"], None, "batch_size is 8 in every trial of study colours. Sampled are: optimizer.name"),
        (["batch_size=16"], None, "--from colours --set recipe.batch_size=16"),
        (["optimizer.lr=0.03"], None, "optimizer.lr = 0.03 is not among 0.001 .. 0.01, log"),
        (["optimizer.lr=fast"], None, "--set optimizer.lr=fast: optimizer.lr takes a number"),
        (["optimizer.name=lion"], None, "optimizer.name = 'lion' is not among adamw, sgd"),
        (["optimizer.lrr=1"], None, "there is no recipe field 'optimizer.lrr'; did you mean optimizer.lr"),
        (["optimizer.lr"], None, "give FIELD=VALUE"),
        ([], None, "trial 0 has this recipe already; it waits to be run"),
        (["optimizer.lr=0.005"], 0, "trial 0 has this recipe already"),
        ([], 7, "--like 7: the trials of this study have the numbers 0 to 0"),
    ],
)
def test_an_invalid_recipe_is_refused_and_changes_nothing(
    stores: Stores, stored: Study, by_hand: Try, assignments: list[str], like: int | None, said: str
) -> None:
    with pytest.raises(CannotTry, match=re.escape(said)):
        by_hand(*assignments, like=like)
    assert stores.studies.get("colours").budget == 3
    assert len(stores.optuna_study("colours").get_trials()) == 1


def test_all_problems_are_listed_together(stored: Study, by_hand: Try) -> None:
    with pytest.raises(CannotTry) as refused:
        by_hand("batch_size=16", "optimizer.lr=fast")
    assert "batch_size" in str(refused.value) and "takes a number" in str(refused.value)
    with pytest.raises(UnknownStudyError, match="stored: colours"):
        by_hand("optimizer.lr=0.002", study="flowers")


def test_a_failed_recipe_may_be_tried_again(stores: Stores, stored: Study, by_hand: Try) -> None:
    (waiting,) = stores.optuna_study("colours").get_trials()
    trial = stores.optuna_study("colours").ask()
    stores.optuna_study("colours").tell(trial.number, state=TrialState.FAIL)
    assert "Trial 1 of study colours waits: the default recipe" in by_hand()
    assert parameters_of(stores.optuna_study("colours").get_trials()[1]) == parameters_of(waiting)


def test_obstacles_are_named_with_the_command_that_removes_them(stores: Stores, stored: Study, by_hand: Try) -> None:
    for _ in range(3):
        end_next(stores, stored, 0.5, TrialStatus.PRUNED)
    stores.studies.set_budget(stored.id, 1)
    assert "The budget is used up: `search start --study colours --trials 4` runs it." in by_hand("optimizer.lr=0.002")
    stores.studies.set_state(stored.id, StudyState.PAUSED)
    assert "The study is paused: `search resume --study colours`" in by_hand("optimizer.lr=0.003")
    stores.studies.set_state(stored.id, StudyState.RUNNING)
    stores.studies.set_deadline(stored.id, stores.database.now() - 1.0)
    assert "deadline leaves no time for it" in by_hand("optimizer.lr=0.004")
