"""Warm starts of a new study, from its portfolio and from earlier studies: which, in what order, queued only once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from rich.console import Console
from sqlalchemy import update

from search.report.live.planned_trials import print_warm_starts
from search.study_setup.create_study import StudyChanged, create_study, resume
from search.study_state.optuna_attributes import ORIGIN_ATTRIBUTE
from search.study_state.study import Study
from search.tuning.warm_starts import MAX_WARM_STARTS, origins_of
from storage.database.tables import Trial
from storage.stores import Stores
from tests.databases import DIALECTS
from tests.search.end_trials import end_next
from tests.search.small_study import STUDY, study_plan, write_competition

PORTFOLIO = STUDY + "".join(
    f'[[portfolio]]\nsource = "paper {n}"\n"optimizer.name" = "sgd"\n"optimizer.lr" = {rate}\n'
    for n, rate in enumerate((0.02, 0.03, 0.02, 0.05, 0.07, 0.09, 0.015))
)

Begin = Callable[..., Study]


@pytest.fixture
def begin(stores: Stores, study_file: Path, competition_folder: Path) -> Begin:
    def begin(name: str, *overrides: str, text: str = STUDY, budget: int = 3, **changes: Any) -> Study:
        study_file.write_text(text)
        plan = study_plan(study_file, competition_folder, *overrides, name=name, budget=budget)
        return create_study(stores, replace(plan, **changes))

    return begin


def origins(stores: Stores, stored: Study) -> list[str]:
    return list(origins_of(stores, stored.name).values())[1:]


def queued_params(stores: Stores, name: str) -> list[dict[str, Any]]:
    return [trial.system_attrs["fixed_params"] for trial in stores.optuna_study(name).get_trials()]


@pytest.mark.parametrize(("budget", "known"), [(1, 0), (2, 1), (9, 1), (10, 2), (25, 5), (1000, MAX_WARM_STARTS)])
def test_a_fifth_of_the_budget_are_warm_starts(stores: Stores, begin: Begin, budget: int, known: int) -> None:
    stored = begin("colours", text=PORTFOLIO, budget=budget)
    distinct = ["paper 0", "paper 1", "paper 3", "paper 4", "paper 5", "paper 6"]
    assert origins(stores, stored) == [f"portfolio: {paper}" for paper in distinct[:known]]
    assert len(queued_params(stores, "colours")) == 1 + known


def test_optimizers_that_are_slow_on_gpus_come_last(stores: Stores, begin: Begin) -> None:
    names = ("adamp", "sgd", "mars", "lamb")
    entries = [f'[[portfolio]]\nsource = "{name}"\n"optimizer.name" = "{name}"\n' for name in names]
    text = STUDY.replace('["adamw", "sgd"]', f"{['adamw', *names]}") + "".join(entries)
    stored = begin("slow", text=text, budget=25)
    assert origins(stores, stored) == ["portfolio: sgd", "portfolio: lamb", "portfolio: adamp", "portfolio: mars"]


def test_the_best_of_earlier_studies_comes_first(stores: Stores, begin: Begin) -> None:
    for name, metric, rate in (("old", "accuracy", 0.03), ("new", "accuracy", 0.06), ("other", "macro_f1", 0.09)):
        earlier = begin(
            name,
            f"space.optimizer.lr={{low=0.01, high=0.1, log=true, default={rate}}}",
            "recipe.optimizer.name=sgd",
            f"protocol.metric={metric}",
        )
        end_next(stores, earlier, 0.8)
        end_next(stores, earlier, 0.7)
    stored = begin("latest", text=PORTFOLIO, budget=25, memory=True)
    assert origins(stores, stored) == [
        "earlier study: new trial 0 (accuracy 0.8000 on these images)",
        "earlier study: old trial 0 (accuracy 0.8000 on these images)",
        "portfolio: paper 0",
        "portfolio: paper 3",
        "portfolio: paper 4",
    ], "paper 1 is the recipe of the old study"
    assert queued_params(stores, "latest")[1]["optimizer.lr@sgd"] == 0.06
    without = begin("without", budget=25, memory=False)
    assert origins(stores, without) == []
    bare = begin("bare", budget=25, memory=True)
    assert origins(stores, bare)[2] == "earlier study: other trial 0 (macro_f1 0.8000 on these images)"


def test_the_origin_of_a_recipe_from_other_images_has_their_distance(
    stores: Stores, begin: Begin, study_file: Path, tmp_path: Path
) -> None:
    earlier = begin("earlier", "recipe.optimizer.name=sgd")
    end_next(stores, earlier, 0.8)
    summary = stores.datasets.get(earlier.fingerprint).summary
    assert {"mean", "std", "side"} == summary["pictures"].keys()
    assert summary["pictures"]["side"] == 40.0
    (tmp_path / "others").mkdir()
    folder = write_competition(tmp_path / "others", seed=1)
    study_file.write_text(STUDY)
    stored = create_study(stores, replace(study_plan(study_file, folder, name="second"), memory=True))
    (origin,) = origins(stores, stored)
    assert origin.startswith("earlier study: earlier trial 0 (accuracy 0.8000 on other images, distance 0.0")


def test_a_stored_recipe_that_is_not_valid_is_skipped(stores: Stores, begin: Begin) -> None:
    earlier = begin("earlier", "recipe.optimizer.name=sgd")
    end_next(stores, earlier, 0.8)
    with stores.database.writing() as connection:
        connection.execute(update(Trial).values(recipe={"optimizer.lr": "1; drop table", "nonsense": 1}))
    assert origins(stores, begin("later", memory=True)) == []


def test_a_damaged_study_is_not_remembered(stores: Stores, begin: Begin) -> None:
    earlier = begin("earlier", "recipe.optimizer.name=sgd")
    end_next(stores, earlier, 0.8)
    row = earlier.stored
    stores.studies.set_spec(row.id, spec={**row.spec, "protocol": {}, "search": []}, file_spec=row.file_spec)
    assert origins(stores, begin("later", memory=True)) == []


def test_an_interrupted_creation_is_completed(stores: Stores, begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = begin("whole", text=PORTFOLIO, budget=25)
    enqueue, left = optuna.Study.enqueue_trial, [3]

    def killed(study: optuna.Study, *args: Any, **kwargs: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        enqueue(study, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "enqueue_trial", killed)
        with pytest.raises(KeyboardInterrupt):
            begin("colours", text=PORTFOLIO, budget=25)
    assert len(queued_params(stores, "colours")) == 3
    stored = begin("colours", text=PORTFOLIO, budget=25)
    assert queued_params(stores, "colours") == queued_params(stores, "whole")
    assert origins(stores, stored) == origins(stores, whole)


def test_warm_starts_of_an_interrupted_creation_with_another_plan_are_replaced(
    stores: Stores, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(stores.studies, "create", lambda *args, **kwargs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            begin("colours", text=PORTFOLIO, budget=25)
    begin("colours", "space.loss.label_smoothing.default=0.05")
    (params,) = queued_params(stores, "colours")
    assert params["loss.label_smoothing"] == 0.05


def test_an_optuna_study_that_is_not_ours_is_left_unchanged(stores: Stores, begin: Begin) -> None:
    foreign = optuna.create_study(study_name="colours", storage=stores.optuna_storage)
    foreign.enqueue_trial({"x": 1.0})
    with pytest.raises(StudyChanged, match="not Retable's"):
        begin("colours")
    assert queued_params(stores, "colours") == [{"x": 1.0}]


def test_a_changed_portfolio_is_not_queued_when_a_study_is_resumed(
    stores: Stores, begin: Begin, study_file: Path, competition_folder: Path
) -> None:
    stored = begin("colours")
    study_file.write_text(PORTFOLIO)
    resumed = resume(stores, stored, study_plan(study_file, competition_folder))
    assert len(queued_params(stores, "colours")) == 1
    assert resumed.spec.portfolio == (), "the record keeps the portfolio that was queued"


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_the_origin_of_each_warm_start_is_stored_and_printed(stores: Stores, begin: Begin) -> None:
    stored = begin("colours", text=PORTFOLIO.replace("paper 0", "[bold]paper[/] 0"), budget=5)
    end_next(stores, stored, 0.5)
    end_next(stores, stored, 0.6)
    end_next(stores, stored, 0.7)
    found = origins_of(stores, "colours")
    assert found.keys() == {0, 1}, "the sampler's own trials have none"
    assert stores.optuna_study("colours").trials[1].user_attrs[ORIGIN_ATTRIBUTE] == found[1]
    console = Console(record=True, width=100)
    print_warm_starts(console, found)
    assert console.export_text().splitlines()[0] == "trial   1  planned   portfolio: [bold]paper[/] 0"
