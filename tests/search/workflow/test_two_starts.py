"""Two first starts of one study in the same moment: one begins the study, the other joins it."""

from __future__ import annotations

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import BrokenBarrierError
from typing import Any

import pytest

from search.study_setup.create_study import StudyPlan
from search.study_setup.data_folder import inspect
from search.workflow.start import begin_or_continue
from storage.stores import open_stores
from studies.load_study import load_study
from tests.databases import DIALECTS
from tests.search.small_study import STUDY, write_competition
from trainer.data.sample_data import write_digits

TIMEOUT = 120.0  # seconds


def start(url: str, folder: Path, study_file: Path, barrier: Barrier, answers: Any) -> None:
    """Begin or continue the study as `search start` does; all processes meet before each step."""
    try:
        spec = load_study(str(study_file))
        plan = StudyPlan(
            name="twin",
            spec=spec,
            file_spec=spec,
            overrides=(),
            competition=inspect(folder, spec.data.options),
            folder=folder,
        )
        barrier.wait(TIMEOUT)
        stores = open_stores(url, create=True)
        barrier.wait(TIMEOUT)
        study, verb = begin_or_continue(stores, plan)
        trials = stores.optuna_study("twin").get_trials()
        answers.put((verb, study.id, [trial.system_attrs.get("fixed_params") for trial in trials]))
    except BaseException as error:
        barrier.abort()
        answers.put((f"{type(error).__name__}: {error}", None, None))
        if not isinstance(error, BrokenBarrierError):
            raise


def digits(folder: Path, barrier: Barrier, answers: Any) -> None:
    barrier.wait(TIMEOUT)
    answers.put(sorted(path.name for path in write_digits(folder).iterdir()))


def together(target: Any, *arguments: Any, count: int) -> list[Any]:
    """The answers of ``count`` processes that run ``target`` in the same moment."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(count), context.Queue()
    processes = [context.Process(target=target, args=(*arguments, barrier, answers)) for _ in range(count)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=TIMEOUT) for _ in processes]
    for process in processes:
        process.join(TIMEOUT)
    assert [process.exitcode for process in processes] == [0] * count, found
    return found


@pytest.mark.slow
@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_second_of_two_first_starts_joins(dialect: str, empty_url: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    study_file = tmp_path / "twin.toml"
    study_file.write_text(STUDY)
    found = together(start, empty_url, write_competition(tmp_path / "data"), study_file, count=2)
    assert sorted(verb for verb, *_ in found) == ["begins", "continues"]
    assert len({study for _, study, _ in found}) == 1
    assert len({str(trials) for *_, trials in found}) == 1
    assert [study.name for study in open_stores(empty_url).studies.all()] == ["twin"]


@pytest.mark.slow
def test_the_sample_is_written_once(tmp_path: Path) -> None:
    first, second = together(digits, tmp_path / "digits", count=2)
    assert first == second == ["sample_submission.csv", "test_images", "train.csv", "train_images"]
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]
