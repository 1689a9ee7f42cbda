"""`search replay`: reproduced trials, tolerated differences, and differences beyond the tolerance."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sqlalchemy import text

from search.runtime.errors import EXIT_DIFFERENT, EXIT_MISTAKE
from search.statistics.reproducibility import MEAN_DIFFERENCE, compare_predictions, is_reproduced, must_be_equal
from search.study_setup.create_study import create_study
from search.worker.study_context import StudyContext
from search.workflow.replay import CannotReplay, ReplayRequest, _recorded_threads, replay
from storage.database.blobs import pack
from storage.stores import Stores
from storage.values import Failure, TrialRecord, TrialStatus
from tests.command_line import CommandLine
from tests.search.small_study import make_context, study_plan, work_on


def asked(context: StudyContext, trial: int, **changes: Any) -> ReplayRequest:
    """A request with the study's own folder of images."""
    return ReplayRequest(
        **{
            "study": context.study.name,
            "trial": trial,
            "data": None,
            "storage_url": context.stores.database.url.render_as_string(hide_password=False),
            "home": context.home.root,
            "weights": None,
            **changes,
        }
    )


def content(context: StudyContext) -> list[str]:
    """Everything in the database, as SQL."""
    with sqlite3.connect(str(context.stores.database.url.database)) as connection:
        return list(connection.iterdump())


def alter(stores: Stores, statement: str, **values: object) -> None:
    with stores.database.writing() as connection:
        assert connection.execute(text(statement), values).rowcount > 0


@pytest.mark.slow
def test_a_finished_trial_is_reproduced_bit_for_bit(context: StudyContext, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the number of threads of this process, the cached pixels, and earlier trainings."""
    work_on(context)
    before = content(context)
    torch.set_num_threads(2)
    try:
        assert replay(asked(context, 1, home=context.home.root / "elsewhere"))
        assert torch.get_num_threads() == 2, "restored"
    finally:
        torch.set_num_threads(1)
    out = capsys.readouterr().out
    assert "Trial 1 of study colours, finished after 3 epochs" in out
    assert "bit for bit equal" in out and "100.00% agree" in out and "tolerance: none" in out
    assert "threads:" not in out, "the recorded number"
    assert content(context) == before


@pytest.mark.slow
def test_a_pruned_trial_is_compared_up_to_its_last_epoch(
    stores: Stores, study_file: Path, competition_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pruned = ("search.pruner=successive_halving", "search.startup_trials=2")
    stored = create_study(stores, study_plan(study_file, competition_folder, *pruned, name="halving", budget=2))
    context = make_context(stores, stored, competition_folder, tmp_path / "home")
    found: list[TrialRecord] = []
    for budget in range(3, 9):
        stores.studies.set_budget(stored.id, budget)
        work_on(context)
        found = stores.trials.records(stored.id, status=TrialStatus.PRUNED)
        if found:
            break
    record = found[0]
    assert record.number is not None and record.epochs_done < 3
    assert replay(asked(context, record.number))
    out = " ".join(capsys.readouterr().out.split())
    assert f"pruned after {record.epochs_done} epoch{'s' * (record.epochs_done > 1)}, seed" in out
    assert "true-class probabilities of every epoch (float16): bit for bit equal" in out

    curve = stores.trials.curves(record.id)[0]
    changed = curve.true_class.copy()
    changed[3] = np.nextafter(changed[3], np.float16(2))
    alter(
        stores,
        "UPDATE retable_curve SET true_class = :blob WHERE trial_id = :id AND epoch = 1",
        blob=pack(changed),
        id=record.id,
    )
    assert not replay(asked(context, record.number)), "one unit in the last place of one image"
    assert "NOT as recorded" in capsys.readouterr().out


def test_a_linear_probe_has_no_epochs(
    stores: Stores, study_file: Path, competition_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    probe = ("recipe.method=linear_probe", "recipe.epochs=1")
    stored = create_study(stores, study_plan(study_file, competition_folder, *probe, budget=1))
    context = make_context(stores, stored, competition_folder, tmp_path / "home")
    work_on(context)
    assert replay(asked(context, 0))
    out = " ".join(capsys.readouterr().out.split())
    assert "Trial 0 of study colours, finished, seed" in out and "epoch" not in out


@pytest.mark.slow
def test_another_machine_is_named_and_differences_tolerated_within_a_limit(
    context: StudyContext, capsys: pytest.CaptureFixture[str]
) -> None:
    context.stores.studies.set_budget(context.study.id, 1)
    work_on(context)
    (record,) = context.stores.trials.records(context.study.id)
    oof = context.stores.trials.prediction(record.id, "oof")
    almost = oof + np.float32(1e-4) * np.array([1, -1, 0], np.float32)

    def store(proba: np.ndarray, machine: Mapping[str, Any]) -> None:
        import json

        statement = "UPDATE retable_prediction SET proba = :blob WHERE trial_id = :id AND name = 'oof'"
        alter(context.stores, statement, blob=pack(proba), id=record.id)
        statement = "UPDATE retable_trial SET machine = :machine WHERE id = :id"
        alter(context.stores, statement, machine=json.dumps(dict(machine)), id=record.id)

    store(almost, record.machine)
    assert not replay(asked(context, 0)), "the same machine has to reproduce every bit"
    assert "NOT as recorded" in capsys.readouterr().out

    other = {**record.machine, "torch": "1.0", "device": "NVIDIA A2"}
    del other["threads"]
    store(almost, other)
    assert replay(asked(context, 0))
    out = " ".join(capsys.readouterr().out.split())
    assert "largest absolute difference 0.0001" in out
    for part in ("device: NVIDIA A2 then, cpu now", "torch: 1.0 then", "threads: not recorded then, 1 now", "bfloat16"):
        assert part in out

    store(np.roll(oof, 1, axis=1), other)
    assert not replay(asked(context, 0))


@pytest.mark.slow
def test_the_recorded_number_of_threads_is_used(context: StudyContext, monkeypatch: pytest.MonkeyPatch) -> None:
    context.stores.studies.set_budget(context.study.id, 1)
    work_on(context)
    (record,) = context.stores.trials.records(context.study.id)
    alter(
        context.stores,
        "UPDATE retable_trial SET machine = json_set(machine, '$.threads', 3) WHERE id = :id",
        id=record.id,
    )
    numbers: list[int] = []
    set_threads = torch.set_num_threads

    def spy(number: int) -> None:
        numbers.append(number)
        set_threads(number)

    monkeypatch.setattr(torch, "set_num_threads", spy)
    replay(asked(context, 0))
    # Folds that train in parallel may divide them in between.
    assert (numbers[0], numbers[-1]) == (3, 1)
    assert set(numbers[1:-1]) <= {1, 3}
    for recorded in ("3", 0, -1, 2.0, True, 10**9, [], None):
        assert _recorded_threads(replace(record, machine={"threads": recorded})) is None


def test_trials_without_predictions_are_refused(context: StudyContext) -> None:
    with pytest.raises(CannotReplay, match="no trial 0 that has ended; none"):
        replay(asked(context, 0))
    item = context.stores.queue.take(context.study.id, "w", 60)
    assert item is not None
    trial = context.optuna_study.ask()
    named = context.stores.queue.assign_trial(item, trial.number, dict(context.spec.default_recipe()))
    assert named is not None
    context.stores.queue.fail(named, Failure.DISK, "disk full")
    with pytest.raises(CannotReplay, match=r"trial 0 .* failed \(disk full\)"):
        replay(asked(context, 0))
    with pytest.raises(CannotReplay, match="no trial 7 that has ended; its trials that have ended: 0"):
        replay(asked(context, 7))


@pytest.mark.slow
def test_the_exit_code_gives_the_result(context: StudyContext, command_line: CommandLine, tmp_path: Path) -> None:
    work_on(context)

    def typed(*arguments: str) -> subprocess.CompletedProcess[str]:
        url = context.stores.database.url.render_as_string(hide_password=False)
        return command_line.run("replay", *arguments, "--storage", url, cwd=tmp_path)

    done = typed("2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("as recorded")
    alter(context.stores, "UPDATE retable_trial SET seed = 5 WHERE number = 2")
    done = typed("2")
    assert done.returncode == EXIT_DIFFERENT, done.stderr
    assert "NOT as recorded" in done.stdout
    done = typed("77")
    assert done.returncode == EXIT_MISTAKE
    assert "error: study colours has no trial 77" in done.stderr


def test_differences_are_measured_without_images_that_were_never_held_out() -> None:
    then = np.array([[0.5, 0.5 - 2**-10], [0.25, 0.75], [np.nan, np.nan]], np.float32)
    now = np.array([[0.5, 0.5 + 2**-10], [0.25, 0.75], [np.nan, np.nan]], np.float32)
    difference = compare_predictions(then, now, classes=True)
    assert (difference.equal, difference.largest, difference.mean, difference.agreement) == (False, 2**-9, 2**-11, 0.5)
    assert compare_predictions(then, then.copy(), classes=True).equal
    assert compare_predictions(then[:1], then[:1].copy(), classes=False).agreement is None
    with pytest.raises(ValueError, match="different images"):
        compare_predictions(then, now[::-1], classes=True)
    with pytest.raises(ValueError, match="cannot be compared"):
        compare_predictions(then, now.astype(np.float16), classes=True)


def test_equality_is_required_only_if_all_recorded_facts_are_equal() -> None:
    machine = {"device": "cpu", "cpu": "x", "threads": 2, "torch": "2", "timm": "1", "micro_batch": 8}
    assert must_be_equal(machine, {**machine, "seconds": 3.0})
    for fact in machine:
        assert not must_be_equal({**machine, fact: "other"}, machine), fact
        assert not must_be_equal({k: v for k, v in machine.items() if k != fact}, machine), fact
    gpu = {**machine, "device": "NVIDIA A2"}
    assert not must_be_equal(gpu, gpu)


@pytest.mark.parametrize(
    ("shift", "metric_difference", "exactly", "within"),
    [
        (0.0, 0.0, True, True),
        (1e-6, 0.0, True, False),
        (MEAN_DIFFERENCE / 2, 0.05, False, True),
        (MEAN_DIFFERENCE * 2, 0.0, False, False),
        (1e-6, 0.051, False, False),
    ],
)
def test_the_tolerance_limits_probabilities_and_the_metric(
    shift: float, metric_difference: float, exactly: bool, within: bool
) -> None:
    then = np.full((4, 2), 0.5, np.float32)
    difference = compare_predictions(then, then + np.float32(shift), classes=True)
    assert is_reproduced(difference, exactly=exactly, metric_difference=metric_difference, allowed=0.05) is within
