"""`FleetStorage` reads and writes less than Optuna's storage, with the same result."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from sqlalchemy import event

from storage.database.connection import Database, connect
from storage.optuna_storage.fleet_storage import FleetStorage, TrialWrites, open_optuna_storage
from storage.optuna_storage.optuna_trials import id_of, running_trial

optuna.logging.set_verbosity(optuna.logging.WARNING)

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "depth": IntDistribution(1, 9, step=2),
    "optimizer": CategoricalDistribution(["adamw", "sgd", "ñ"]),
}


def suggest(trial: optuna.Trial) -> dict[str, object]:
    return {
        "lr": trial.suggest_float("lr", 1e-5, 1e-1, log=True),
        "depth": trial.suggest_int("depth", 1, 9, step=2),
        "optimizer": trial.suggest_categorical("optimizer", ["adamw", "sgd", "ñ"]),
    }


@pytest.fixture
def backend(database: Database) -> FleetStorage:
    return open_optuna_storage(database)


@pytest.fixture
def study(backend: FleetStorage) -> optuna.Study:
    sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=2)
    return optuna.create_study(study_name="tune", storage=backend, direction="maximize", sampler=sampler)


@pytest.fixture
def elsewhere(database: Database, study: optuna.Study) -> Iterator[optuna.Study]:
    """The same study, as another process sees it."""
    other = connect(database.url.render_as_string(hide_password=False))
    yield optuna.load_study(study_name="tune", storage=open_optuna_storage(other))
    other.close()


def test_deferred_writes_store_the_same_as_optunas(
    study: optuna.Study, elsewhere: optuna.Study, backend: FleetStorage
) -> None:
    trial = study.ask()
    with backend.collecting(trial) as writes:
        chosen = suggest(trial)
        assert suggest(trial) == chosen, "a repeated suggestion returns the same"
        trial.set_user_attr("epochs", 12)
    assert (elsewhere.get_trials()[0].params, elsewhere.get_trials()[0].user_attrs) == ({}, {})
    assert trial.user_attrs == {"epochs": 12}, "the trial object has the attribute at once"
    assert backend.write(writes)
    assert backend.write(writes), "a second call is harmless, in case the first answer was lost"
    (stored,) = elsewhere.get_trials()
    assert stored.params == chosen == trial.params
    assert stored.distributions == SPACE
    assert stored.user_attrs == {"epochs": 12}
    assert stored.state is TrialState.RUNNING


def test_parameters_that_optuna_has_written_stay(
    study: optuna.Study, elsewhere: optuna.Study, backend: FleetStorage
) -> None:
    """Case: a worker died after it had written the first parameter, and another one continues the trial."""
    trial = study.ask()
    lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    adopted = running_trial(elsewhere, trial.number)
    other_backend = adopted.storage
    assert isinstance(other_backend, FleetStorage)
    with other_backend.collecting(adopted) as writes:
        chosen = suggest(adopted)
    assert chosen["lr"] == lr and set(writes.params) == {"depth", "optimizer"}
    assert other_backend.write(writes)
    assert study.get_trials()[0].params == chosen


def test_writes_of_other_trials_are_not_deferred(
    study: optuna.Study, elsewhere: optuna.Study, backend: FleetStorage
) -> None:
    one, other = study.ask(), study.ask()
    with backend.collecting(one):
        suggest(other)
    assert [len(t.params) for t in elsewhere.get_trials()] == [0, 3]


def test_nothing_is_written_to_a_trial_that_ended_or_does_not_exist(study: optuna.Study, backend: FleetStorage) -> None:
    trial = study.ask()
    study.tell(trial, 0.5)
    assert not backend.write(TrialWrites(id_of(trial), user_attrs={"late": True}))
    assert not backend.write(TrialWrites(10**6, user_attrs={"unknown": True}))
    assert study.get_trials()[0].user_attrs == {}


def test_attributes_take_their_last_value(study: optuna.Study, elsewhere: optuna.Study, backend: FleetStorage) -> None:
    trial = study.ask()
    trial.set_user_attr("seconds", 1.5)
    assert backend.write(TrialWrites(id_of(trial), user_attrs={"seconds": 2.5, "reason": "no \\ 'room' ñ"}))
    assert elsewhere.get_trials()[0].user_attrs == {"seconds": 2.5, "reason": "no \\ 'room' ñ"}


def test_reading_once_reads_once_and_the_next_block_reads_again(
    study: optuna.Study, elsewhere: optuna.Study, database: Database, backend: FleetStorage
) -> None:
    for _ in range(4):
        trial = elsewhere.ask()
        suggest(trial)
        elsewhere.tell(trial, 0.1)
    reads = 0

    def count(*args: object) -> None:
        nonlocal reads
        reads += "FROM trials" in str(args[2])

    event.listen(database.engine, "before_cursor_execute", count)
    with backend.reading_once():
        assert len(study.get_trials(deepcopy=False)) == 4
        before = reads
        late = elsewhere.ask()
        assert len(study.get_trials(deepcopy=False)) == 4
        assert reads == before > 0
    assert len(study.get_trials(deepcopy=False)) == 5
    with backend.reading_once():
        asked = study.ask()
        suggest(asked)
    assert asked.number == late.number + 1


def test_a_pickled_storage_works_elsewhere(study: optuna.Study, backend: FleetStorage) -> None:
    trial = study.ask()
    again = pickle.loads(pickle.dumps(backend))
    assert isinstance(again, FleetStorage)
    assert again.write(TrialWrites(id_of(trial), user_attrs={"a": 1}))
    assert study.get_trials()[0].user_attrs == {"a": 1}
