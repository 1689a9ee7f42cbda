"""Studies that were stored when `init = "pretrained"` was called "imagenet": they open, continue and keep hashes."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState
from sqlalchemy import JSON, Enum, String, inspect, text

from search.study_setup.create_study import create_study, resume
from search.study_state.snapshot import read_snapshot
from search.study_state.study import Study, read_study
from search.tuning.restore_optuna import restore_if_gone
from search.workflow.try_recipe import CannotTry, TryRequest, try_recipe
from storage.stores import Stores, open_stores
from storage.values import ADDED_FIELDS, RENAMED_VALUES, WorkKind, recipe_hash
from studies.load_study import load_study
from studies.stored_spec import spec_from_dict
from tests.databases import DIALECTS
from tests.search.end_trials import end_next
from tests.search.small_study import STUDY, study_plan
from trainer.recipe import recipe as recipes
from trainer.recipe.recipe import FIELDS, Recipe

NEW = (
    STUDY.replace('init = "scratch"\n', "").replace("[space]", '[space]\ninit = ["pretrained", "scratch"]')
    + '[[portfolio]]\nsource = "a paper"\ninit = "pretrained"\n"optimizer.lr" = 0.006\n'
)
OLD = NEW.replace("pretrained", "imagenet")


def make_old(stores: Stores) -> int:
    """Put the old word into every text and document of the database; returns how many columns held the new one."""
    found = 0
    with stores.database.writing() as connection:
        for table in inspect(connection).get_table_names():
            for column in inspect(connection).get_columns(table):
                kind = column["type"]
                if not isinstance(kind, (JSON, String)) or isinstance(kind, Enum):
                    continue
                json = isinstance(kind, JSON) and not stores.database.is_sqlite
                name, cast = column["name"], "::json" if json else ""
                changed = connection.execute(
                    text(
                        f"UPDATE {table} SET {name} = REPLACE(CAST({name} AS TEXT), '\"pretrained\"', '\"imagenet\"')"
                        f"{cast} WHERE CAST({name} AS TEXT) LIKE '%\"pretrained\"%'"
                    )
                )
                found += changed.rowcount > 0
    return found


@pytest.fixture
def new_file(tmp_path: Path) -> Path:
    path = tmp_path / "colours.toml"
    path.write_text(NEW)
    return path


@pytest.fixture
def old(stores: Stores, url: str, new_file: Path, competition_folder: Path) -> Study:
    """The old study with one trial that has ended and warm starts that wait."""
    study = create_study(stores, study_plan(new_file, competition_folder, budget=8))
    end_next(stores, study, 0.5)
    assert make_old(stores) >= 6, (
        "specification, trial, work item, enqueued trials, and Optuna's choices and attributes"
    )
    stores.database.close()
    return study


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_it_continues(old: Study, url: str, new_file: Path, competition_folder: Path) -> None:
    stores = open_stores(url)
    study = read_study(stores, old.name)
    assert study.spec == old.spec and study.spec.spec_hash == study.stored.spec_hash
    study = resume(stores, study, study_plan(new_file, competition_folder, budget=8))
    for value in (0.6, 0.7, 0.8, 0.9, 0.95, 0.97):
        end_next(stores, study, value)
    inits = [(record.recipe or {})["init"] for record in stores.trials.records(study.id, kind=WorkKind.SEARCH)]
    assert set(inits) == {"pretrained", "scratch"}, inits
    trials = stores.optuna_study(study.name).get_trials(states=(TrialState.COMPLETE,))
    assert [trial.params["init"] for trial in trials] == inits
    assert {trial.distributions["init"] for trial in trials} == {CategoricalDistribution(("pretrained", "scratch"))}
    assert read_snapshot(stores, study.name).study.spec.default_recipe()["init"] == "pretrained"
    stores.database.close()


def test_recipes_by_hand_are_compared_with_the_old_ones(
    old: Study, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stores = open_stores(url)
    with pytest.raises(CannotTry, match="trial 0 has this recipe already"):
        try_recipe(TryRequest(study=None, storage_url=url, assignments=("init=imagenet",), like=0))
    try_recipe(TryRequest(study=None, storage_url=url, assignments=("init=scratch",), like=0))
    assert "init=scratch" in capsys.readouterr().out.replace("\n", " ")
    stores.database.close()


def test_it_is_restored_where_optuna_lost_it(old: Study, url: str) -> None:
    stores = open_stores(url)
    optuna.delete_study(study_name=old.name, storage=stores.optuna_storage)
    assert restore_if_gone(stores, read_study(stores, old.name).stored)
    done, *waiting = stores.optuna_study(old.name).get_trials()
    assert done.params["init"] == "pretrained"
    assert waiting[0].system_attrs["fixed_params"]["init"] == "pretrained"
    stores.database.close()


def test_the_two_tables_of_renamed_values_agree() -> None:
    assert RENAMED_VALUES == recipes.RENAMED_VALUES


def test_added_fields_have_their_defaults() -> None:
    assert {name: FIELDS[name].default for name in ADDED_FIELDS} == ADDED_FIELDS


def test_a_stored_recipe_without_added_fields_is_the_same_recipe(
    stores: Stores, new_file: Path, competition_folder: Path
) -> None:
    study = create_study(stores, study_plan(new_file, competition_folder, budget=8))
    recipe = Recipe.from_flat({"optimizer.lr": 2e-3}).to_flat()
    before = {name: value for name, value in recipe.items() if name not in ADDED_FIELDS}
    queue = stores.queue
    stored, again, other = (
        queue.add(study.id, WorkKind.CONFIRM, split=1, seed=1, recipe=one)
        for one in (before, recipe, {**recipe, "norm": "frozen"})
    )
    assert stored == again != other
    item = queue.take(study.id, "worker", 60.0, kinds=(WorkKind.CONFIRM,))
    assert item is not None
    assert (item.id, item.recipe) == (stored, recipe)


def test_a_hash_does_not_change_with_the_word() -> None:
    old, new = ({"init": word, "epochs": 3} for word in ("imagenet", "pretrained"))
    assert recipe_hash(old) == recipe_hash(new) != recipe_hash({"init": "scratch", "epochs": 3})


def test_a_recipe_and_a_stored_study_take_the_old_word(new_file: Path) -> None:
    assert Recipe.from_flat({"init": "imagenet"}) == Recipe.from_flat({"init": "pretrained"}) == Recipe()
    spec = load_study(new_file)
    stored = spec.to_dict()
    stored["recipe"]["init"] = stored["space"][0]["default"] = "imagenet"
    stored["space"][0]["choices"] = ["imagenet", "scratch"]
    assert spec_from_dict(stored) == spec


def test_a_file_with_the_old_word_is_read_with_one_notice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    new, fixed = load_study(write(tmp_path / "new.toml", NEW)), NEW.partition("[space]")[0] + 'init = "imagenet"\n'
    caplog.clear()
    for name, content in (("space", OLD), ("fixed", fixed)):
        path = write(tmp_path / f"{name}.toml", content)
        load_study(path)
        spec = load_study(path, ["search.trials=4"])
        assert spec.recipe["init"] == "pretrained"
        assert caplog.text.count("imagenet") == 1, caplog.text
        assert f'{path}: init = "imagenet" is now called "pretrained"' in caplog.text
        caplog.clear()
    assert load_study(write(tmp_path / "space.toml", OLD)).space == new.space


def write(path: Path, content: str) -> Path:
    path.write_text(content)
    return path
