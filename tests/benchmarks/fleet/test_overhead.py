"""The overhead benchmark on a small scale: exact budgets, plausible times, equal search spaces of both contenders."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest

from benchmarks.fleet.databases import has_postgres
from benchmarks.fleet.overhead import STAGES, main
from benchmarks.fleet.study import finished_trials, prepare, suggest, write_images
from search.tuning.suggest import sample


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_small_fleet_runs_exactly_its_budget(kind: str, tmp_path: Path) -> None:
    if kind == "postgresql" and not has_postgres():
        pytest.skip("PostgreSQL's programs are not installed")
    output = tmp_path / "fleet.json"
    arguments = ["--database", kind, "--workers", "2", "--earlier", "5", "--trials-per-cell", "6", "--sleep", "0.1"]
    assert main([*arguments, "--json", str(output)]) == 0
    ours, theirs = json.loads(output.read_text())["cells"]
    for cell in (ours, theirs):
        assert (cell["finished"], cell["duplicates"], cell["left_running"], cell["errors"]) == (6, 0, 0, [])
        assert 0 < cell["p50"] <= cell["p95"] < cell["elapsed"]
        assert not cell["torch"], "64 workers would not fit into memory"
    assert set(ours["stages"]) == set(STAGES) and set(theirs["stages"]) == {"ask", "report", "tell"}
    assert ours["growth"] > 2 * theirs["growth"], "the predictions are stored"


def test_both_contenders_sample_the_same_space_and_find_it_in_the_earlier_trials(tmp_path: Path) -> None:
    study_plan = prepare(tmp_path / "fleet.toml", write_images(tmp_path / "images"), epochs=2)
    studies = [optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1)) for _ in range(2)]
    for _ in range(20):
        ours, theirs = (study.ask() for study in studies)
        sample(ours, study_plan.spec)
        suggest(theirs)
        assert ours.params == theirs.params
        assert ours.distributions == theirs.distributions
    known = [trial.distributions for trial in finished_trials(study_plan, 20)]
    assert {name: d for one in known for name, d in one.items()} == {
        name: d for trial in studies[0].get_trials() for name, d in trial.distributions.items()
    }
