"""Optuna's storage on our engine."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ProcessPoolExecutor

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import text

from storage.database.connection import Database, connect
from storage.optuna_storage.fleet_storage import open_optuna_storage
from storage.optuna_storage.optuna_trials import running_trial
from tests.storage.samples import PROCESSES

optuna.logging.set_verbosity(optuna.logging.WARNING)


def load(database: Database, seed: int = 0) -> optuna.Study:
    return optuna.load_study(
        study_name="tune", storage=open_optuna_storage(database), sampler=optuna.samplers.RandomSampler(seed=seed)
    )


@pytest.fixture
def study(database: Database) -> optuna.Study:
    return optuna.create_study(study_name="tune", storage=open_optuna_storage(database), direction="maximize")


def test_a_study_survives_ask_tell_and_reloading(database: Database, study: optuna.Study) -> None:
    trial = study.ask()
    lr = trial.suggest_float("optimizer.lr@sgd", 1e-5, 1e-1, log=True)
    trial.report(0.25, step=1)
    trial.set_user_attr("backbone", "resnet10t")
    study.tell(trial, 0.5)
    with connect(database.url.render_as_string(hide_password=False)).reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM trials")).scalar_one() == 1
    reloaded = load(database)
    (frozen,) = reloaded.get_trials(deepcopy=False)
    assert (frozen.state, frozen.value, frozen.params) == (TrialState.COMPLETE, 0.5, {"optimizer.lr@sgd": lr})
    assert (frozen.intermediate_values, frozen.user_attrs) == ({1: 0.25}, {"backbone": "resnet10t"})
    assert reloaded.direction is optuna.study.StudyDirection.MAXIMIZE


def test_a_running_trial_is_adopted_by_another_worker(database: Database, study: optuna.Study) -> None:
    left = study.ask()
    lr = left.suggest_float("lr", 0, 1)
    left.report(0.25, step=1)
    elsewhere = load(connect(database.url.render_as_string(hide_password=False)))
    (running,) = elsewhere.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    adopted = running_trial(elsewhere, running.number)
    assert adopted.suggest_float("lr", 0, 1) == lr
    adopted.report(0.5, step=2)
    elsewhere.tell(adopted.number, 0.75)
    (frozen,) = study.get_trials()
    assert (frozen.number, frozen.value, frozen.intermediate_values) == (left.number, 0.75, {1: 0.25, 2: 0.5})


def test_a_pickled_storage_keeps_our_settings(database: Database, study: optuna.Study) -> None:
    copy = pickle.loads(pickle.dumps(study))
    engine = copy._storage._backend.engine
    with engine.connect() as connection:
        if database.is_sqlite:
            assert connection.execute(text("PRAGMA busy_timeout")).scalar_one() == 60_000
        else:
            assert connection.execute(text("SHOW timezone")).scalar_one() == "UTC"
    copy.tell(copy.ask(), 1.0)
    assert study.best_value == 1.0


def test_optuna_and_our_stores_share_one_pool(database: Database) -> None:
    """An idle process has one connection, so that many workers fit into the default limit of a server."""
    optuna_storage = open_optuna_storage(database)
    optuna_storage.get_all_studies()
    database.now()
    assert optuna_storage._backend.engine.pool is database.engine.pool  # type: ignore[attr-defined]
    assert database.engine.pool.checkedin() == 1  # type: ignore[attr-defined]


def _pop(url: str, count: int) -> list[int]:
    database = connect(url)
    study = load(database)
    popped = [study.ask().suggest_int("n", 0, 10_000) for _ in range(count)]
    database.close()
    return popped


@pytest.mark.slow
def test_enqueued_trials_are_popped_once(
    url: str, database: Database, study: optuna.Study, processes: ProcessPoolExecutor
) -> None:
    """With SQLite's default ``BEGIN``, sixteen workers would run about half of the trials, each of them twice."""
    per_worker = 5
    workers = 2 * PROCESSES
    for n in range(workers * per_worker):
        study.enqueue_trial({"n": n})
    popped: list[int] = []

    def pop_in_thread() -> None:
        popped.extend(_pop(url, per_worker))

    threads = [threading.Thread(target=pop_in_thread) for _ in range(workers - PROCESSES)]
    futures = [processes.submit(_pop, url, per_worker) for _ in range(PROCESSES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for future in futures:
        popped.extend(future.result(timeout=120))
    assert sorted(popped) == list(range(workers * per_worker))
