"""`search start --from`: the chosen trial, the settings kept from its recipe, and resuming such a study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from search.engines.plan import Workers
from search.statistics.ranking import NothingFinished
from search.study_setup.create_study import StudyChanged, StudyPlan, create_study, resume
from search.study_setup.prepare import StartRequest, prepare
from search.study_setup.starting_point import NoSuchTrial, find_starting_point, starting_point
from search.study_state.study import Study
from storage.errors import UnknownStudyError
from storage.stores import Stores
from storage.values import TrialStatus
from tests.search.end_trials import end_next
from tests.search.small_study import STUDY

NEW = """
[protocol]
folds = 3

[recipe]
backbone = "resnet18"
epochs = 9
init = "pretrained"

[space]
"optimizer.lr" = { low = 1e-4, high = 2e-3, log = true }
"augment.hflip" = { low = 0.1, high = 0.5, off = 0.0 }
"augment.sepia" = { low = 0.1, high = 0.5, off = 0.0 }

[search]
trials = 4
"""


@pytest.fixture
def old(stores: Stores, stored: Study) -> Study:
    """A study with three trials: scores 0.7 and 0.9, and a pruned one."""
    end_next(stores, stored, 0.7)
    end_next(stores, stored, 0.9)
    end_next(stores, stored, 0.95, TrialStatus.PRUNED)
    return stored


Prepare = Callable[..., StudyPlan]


@pytest.fixture
def prepared(url: str, tmp_path: Path, competition_folder: Path) -> Prepare:
    """Prepares `search start --study new.toml --name new` with further arguments."""
    file = tmp_path / "new.toml"
    file.write_text(NEW)

    def prepared(*overrides: str, begin_from: str | None = None, console: Console | None = None) -> StudyPlan:
        request = StartRequest(
            study=str(file),
            name="new",
            data=competition_folder,
            storage_url=url,
            trials=None,
            hours=None,
            patience=None,
            priority=None,
            overrides=overrides,
            begin_from=begin_from,
            memory=False,
            folds=None,
            output=None,
            workers=Workers(home=tmp_path / "home"),
        )
        return prepare(request, console or Console(quiet=True))

    return prepared


def test_a_study_stands_for_its_best_trial(stores: Stores, old: Study) -> None:
    assert starting_point(stores, "colours").name == "colours:1"
    first = starting_point(stores, "colours:0")
    assert (first.trial, first.recipe["optimizer.lr"], first.score) == (0, 5e-3, "accuracy 0.7000 ± 0.0100")


def test_a_missing_study_or_trial_is_reported_with_the_existing_ones(stores: Stores, stored: Study) -> None:
    with pytest.raises(UnknownStudyError, match=r"'flowers'.*stored: colours"):
        starting_point(stores, "flowers:1")
    with pytest.raises(NothingFinished, match="--from colours: no trial of study colours has finished yet"):
        starting_point(stores, "colours")
    end_next(stores, stored, 0.7)
    end_next(stores, stored, 0.9, TrialStatus.PRUNED)
    with pytest.raises(NoSuchTrial, match="no finished trial 1; finished, best first: 0"):
        starting_point(stores, "colours:1")
    with pytest.raises(NoSuchTrial, match="STUDY:TRIAL"):
        starting_point(stores, "colours:best")
    with pytest.raises(NoSuchTrial, match="no database"):
        find_starting_point(None, None, "colours")


def test_the_recipe_is_fixed_and_the_rest_searched(old: Study, prepared: Prepare) -> None:
    console = Console(record=True, width=200)
    created = prepared("recipe.epochs=2", begin_from="colours:0", console=console).spec
    default = created.default_recipe()
    kept = {name: default[name] for name in ("backbone", "init", "batch_size", "image_size", "augment.hflip", "epochs")}
    assert kept == {
        "backbone": "test_resnet",
        "init": "scratch",
        "batch_size": 8,
        "image_size": 32,
        "augment.hflip": 0.5,
        "epochs": 2,
    }, "the recipe replaces [recipe] of the new file, but not --set"
    assert {dimension.field for dimension in created.space} == {"optimizer.lr", "augment.hflip", "augment.sepia"}
    assert created.protocol.folds == 3
    assert created.begun_from == "colours:0"
    said = console.export_text()
    assert "Trial 0 is trial 0 of study colours (accuracy 0.7000 ± 0.0100)." in said
    assert f"note: optimizer.lr = 0.005 is not in this study's range, trial 0 has {default['optimizer.lr']}" in said
    assert said.count("note: ") == 1


@pytest.mark.slow
def test_the_same_command_resumes_and_so_does_one_without_from_or_overrides(
    stores: Stores, old: Study, prepared: Prepare
) -> None:
    created = create_study(stores, prepared("recipe.epochs=2", begin_from="colours"))
    assert created.spec.begun_from == "colours:1"
    # Another trial of the old study becomes the best; the new study keeps its starting point.
    stores.studies.set_budget(old.id, 9)
    end_next(stores, old, 0.99)
    console = Console(record=True)
    for again in (
        prepared("recipe.epochs=2", begin_from="colours", console=console),
        prepared("recipe.epochs=2", begin_from="colours:1"),
        prepared("recipe.epochs=2"),
        prepared(),
    ):
        resumed = resume(stores, created, again)
        assert replace(resumed.stored, running_since=None) == replace(created.stored, running_since=None)
        assert resumed.spec == created.spec
    assert "Trial 0 is" not in console.export_text(), "it is printed only when the study is created"
    with pytest.raises(StudyChanged, match="begun with other settings"):
        resume(stores, created, prepared("recipe.epochs=2", begin_from="colours:0"))


def test_a_study_created_without_a_starting_point_refuses_one(
    stores: Stores, old: Study, prepared: Prepare, study_file: Path
) -> None:
    plain = create_study(stores, prepared("recipe.backbone=test_resnet", "recipe.init=scratch"))
    assert study_file.read_text() == STUDY
    with pytest.raises(StudyChanged, match="batch_size: 32 -> 8"):
        resume(stores, plain, prepared("recipe.backbone=test_resnet", begin_from="colours"))
