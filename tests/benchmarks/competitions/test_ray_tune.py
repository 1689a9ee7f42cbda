"""A study's space for Ray Tune: every draw is a recipe of the study, and every recipe can be drawn."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.competitions.contest import PARALLEL_TRIALS
from benchmarks.competitions.ray_tune import clock_start, default_config, ray_space, recipe_of
from studies.load_study import load_study
from studies.spec import StudySpec

pytest.importorskip("ray.tune", exc_type=ImportError, reason="Ray Tune needs more than Ray: pip install 'ray[tune]'")

STUDY = """
title = "One of each kind"

[recipe]
backbone = "test_resnet"
init = "scratch"

[space]
"optimizer.name" = ["adamw", "sgd"]
"optimizer.lr" = [
    { low = 1e-4, high = 1e-2, log = true, default = 1e-3, when = { "optimizer.name" = "adamw" } },
    { low = 1e-3, high = 1e-1, log = true, default = 1e-2, when = { "optimizer.name" = "sgd" } },
]
"batch_size" = { low = 8, high = 64, step = 8, default = 32 }
"image_size" = { low = 32, high = 48, default = 40 }
"augment.shift" = { low = 0.02, high = 0.2, off = 0.0 }
"augment.rotate" = { low = 5.0, high = 25.0, step = 5.0 }
"augment.mix" = ["none", "mixup"]
"augment.mix_alpha" = { low = 0.2, high = 1.0, when = { "augment.mix" = "mixup" } }
"""


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> StudySpec:
    file = tmp_path_factory.mktemp("study") / "study.toml"
    file.write_text(STUDY)
    return load_study(file)


def test_every_draw_is_a_recipe_of_the_study(spec: StudySpec) -> None:
    space = ray_space(spec)
    parameters = [parameter for dimension in spec.space for parameter in dimension.parameters]
    assert set(space) == {parameter.name for parameter in parameters}
    rng = np.random.RandomState(0)
    draws = [{name: domain.sample(random_state=rng) for name, domain in space.items()} for _ in range(200)]
    for draw in draws:
        for parameter in parameters:
            assert parameter.contains(draw[parameter.name]), parameter.name
        recipe_of(draw, spec)
    for parameter in parameters:
        seen = [draw[parameter.name] for draw in draws]
        if parameter.choices is not None:
            assert set(seen) == set(parameter.choices)
        else:
            assert parameter.low is not None and parameter.high is not None
            values = np.array([parameter.low, *seen, parameter.high], dtype=float)
            values = np.log(values) if parameter.log else values
            spread = (values[1:-1] - values[0]) / (values[-1] - values[0])
            assert spread.min() < 0.05 and spread.max() > 0.95
            assert 0.4 < spread.mean() < 0.6


def test_the_default_recipe_is_a_configuration(spec: StudySpec) -> None:
    config = default_config(spec)
    assert set(config) == set(ray_space(spec))
    assert recipe_of(config, spec).to_flat() == spec.default_recipe()


def test_the_clock_starts_when_the_last_of_the_first_actors_is_ready(tmp_path: Path) -> None:
    assert clock_start(tmp_path) is None
    for number in range(PARALLEL_TRIALS + 1):
        assert number >= PARALLEL_TRIALS or clock_start(tmp_path) is None
        ready = tmp_path / f"{number}.ready"
        ready.touch()
        os.utime(ready, (1000.0 + number, 1000.0 + number))
    # Actors that start later change nothing.
    assert clock_start(tmp_path) == 1000.0 + PARALLEL_TRIALS - 1
