"""The augmentation benchmark on a small scale: it measures every study that augments, and every policy."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.training.augmentation import main, shipped_pipelines


def test_a_small_run_measures_what_it_says(tmp_path: Path) -> None:
    output = tmp_path / "augment.json"
    assert main(["--size", "32", "--images", "8", "--rounds", "2", "--json", str(output)]) in (0, 1)
    speeds = json.loads(output.read_text())["speeds"]
    assert list(speeds) == list(shipped_pipelines())
    assert all(len(one["ours"]) == len(one["alone"]) == 2 and min(one["ours"]) > 0 for one in speeds.values())


def test_each_study_is_there_with_its_middle_and_the_policies() -> None:
    pipelines = shipped_pipelines()
    assert {"aug_tuning, default", "aug_tuning, middle", "quickstart, default"} <= set(pipelines)
    assert {"autoaugment", "randaugment", "trivialaugment"} <= set(pipelines)
    default, middle = (pipelines[f"aug_tuning, {which}"].strengths for which in ("default", "middle"))
    assert sum(strength > 0 for strength in middle.values()) > sum(strength > 0 for strength in default.values()) > 0
