"""A search as users write it by hand with Ray Tune: random recipes, pruned by ASHA.

Trials train their folds in lockstep and report the folds' mean score after every epoch, so that ASHA can prune at every
epoch. Two trials run in parallel, on one core each, in actors that are reused. The clock starts when both actors have
imported everything. At the end, the fold models of the best finished trial are averaged.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.competitions.contest import (
    PARALLEL_TRIALS,
    Contest,
    FinishedTrial,
    OutOfTimeError,
    RivalResult,
    best_result,
    save_trial,
    train,
    warm_up,
)
from benchmarks.competitions.optuna_by_hand import STARTING_TIME, RivalError
from studies.space.dimension import Dimension, choose
from studies.spec import StudySpec
from trainer.batches.batch_loader import BatchLoader
from trainer.recipe.recipe import Recipe
from trainer.training.results import EpochReport, Verdict

if TYPE_CHECKING:
    from ray import tune

SCORE = "score"
OBJECT_STORE = 100 * 2**20  # bytes; no large objects pass through it
CLOCK_INTERVAL = 0.05  # seconds between checks whether the other actor is ready
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no log files for other tools
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial may end before its first report
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",  # a pruned trial ends after its batch, and its actor is reused
}


def domain(dimension: Dimension) -> tune.search.sample.Domain:
    """Ray's search domain of one of `Dimension.parameters`."""
    from ray import tune

    assert dimension.off is None, "a range that can be off is two parameters"
    if dimension.choices is not None:
        return tune.choice(list(dimension.choices))
    low, high = dimension.low, dimension.high
    assert low is not None and high is not None, "a dimension without choices has a range"
    if dimension.step:
        # Ray's quantized domains count steps from zero, not from the low end.
        steps = round((high - low) / dimension.step)
        values = [low + number * dimension.step for number in range(steps + 1)]
        return tune.choice([int(value) for value in values] if dimension.integer else values)
    if dimension.integer:
        return (tune.lograndint if dimension.log else tune.randint)(int(low), int(high) + 1)
    return (tune.loguniform if dimension.log else tune.uniform)(low, high)


def ray_space(spec: StudySpec) -> dict[str, Any]:
    """The study's space by parameter name. Ray has no conditions: inactive parameters are drawn too, and ignored."""
    return {parameter.name: domain(parameter) for dimension in spec.space for parameter in dimension.parameters}


def recipe_of(config: dict[str, Any], spec: StudySpec) -> Recipe:
    """The recipe of a drawn configuration."""
    return Recipe.from_flat(spec.assemble(choose(spec.space, spec.recipe, lambda parameter: config[parameter.name])))


def default_config(spec: StudySpec) -> dict[str, Any]:
    """The default recipe as a configuration."""
    idle = {parameter.name: parameter.default for dimension in spec.space for parameter in dimension.parameters}
    return {**idle, **spec.default_params()}


def clock_start(work_dir: Path) -> float | None:
    """Unix time at which all `PARALLEL_TRIALS` actors were ready; None until then."""
    ready = sorted(path.stat().st_mtime for path in work_dir.glob("*.ready"))
    return ready[PARALLEL_TRIALS - 1] if len(ready) >= PARALLEL_TRIALS else None


def run_ray(contest: Contest) -> RivalResult:
    """Search random recipes by ASHA with Ray's defaults, on a Ray cluster that is started here and shut down.

    Raises:
        RivalError: trials ended with an error.
    """
    os.environ.update(ENVIRONMENT)
    import ray

    # A short path: names of sockets are limited to about 100 characters.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as scratch:
        ray.init(
            num_cpus=PARALLEL_TRIALS,
            num_gpus=0,
            object_store_memory=OBJECT_STORE,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address="127.0.0.1",
            _temp_dir=scratch,
        )
        try:
            trials, ended = _tune(contest)
        finally:
            ray.shutdown()
    begun = clock_start(contest.work_dir)
    if begun is None:
        raise RivalError("Ray's actors were never ready")
    return best_result(contest, trials=trials, seconds=ended - begun)


def _tune(contest: Contest) -> tuple[int, float]:
    """Search until the time limit; number of started trials, and Unix time of the end."""
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search import BasicVariantGenerator

    class AtDeadline(tune.Stopper):  # type: ignore[misc]  # Ray is untyped for mypy
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return False

        def stop_all(self) -> bool:
            begun = clock_start(contest.work_dir)
            return begun is not None and time.time() >= begun + contest.seconds

    first = [default_config(contest.spec)] if contest.default_first else None
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(_trial, contest=contest), {"cpu": 1}),
        param_space=ray_space(contest.spec),
        tune_config=tune.TuneConfig(
            metric=SCORE,
            mode="max",
            search_alg=BasicVariantGenerator(
                points_to_evaluate=first, max_concurrent=PARALLEL_TRIALS, random_state=contest.seed
            ),
            # A trial at its last epoch has finished.
            scheduler=ASHAScheduler(max_t=int(contest.spec.recipe["epochs"]), stop_last_trials=False),
            num_samples=-1,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="asha", storage_path=str(contest.work_dir / "ray"), stop=AtDeadline(), verbose=0
        ),
    )
    results = tuner.fit()
    ended = time.time()
    if results.errors:
        raise RivalError(f"{len(results.errors)} trials of Ray failed; the first: {results.errors[0]}")
    return len(results), ended


_loaders: dict[Path, BatchLoader] = {}  # of this actor, kept between its trials


def _trial(config: dict[str, Any], contest: Contest) -> None:
    from ray import tune

    end = _ready(contest) + contest.seconds

    def out_of_time() -> bool:
        return time.time() >= end

    recipe = recipe_of(config, contest.spec)

    def on_epoch(report: EpochReport) -> Verdict:
        if report.epoch < report.epochs:
            # Ends this thread if ASHA stops the trial.
            tune.report({SCORE: float(np.mean(report.fold_metrics))})
        return Verdict.CONTINUE

    try:
        result = train(contest, recipe, None, _loaders[contest.work_dir], out_of_time, on_epoch)
    except OutOfTimeError:
        return
    value = float(np.mean(result.reports[-1].fold_metrics)) if result.status == "finished" else 0.0
    if result.status == "finished":
        name = tune.get_context().get_trial_id()
        save_trial(contest, f"trial-{name}", FinishedTrial(value=value, recipe=recipe.to_flat(), models=result.models))
    tune.report({SCORE: value})


def _ready(contest: Contest) -> float:
    """Warm up this actor once, wait for the other one, and return the Unix time at which the clock started."""
    torch.set_num_threads(1)
    if contest.work_dir not in _loaders:
        _loaders[contest.work_dir] = contest.loader()
        warm_up(contest, _loaders[contest.work_dir])
        (contest.work_dir / f"{os.getpid()}.ready").touch()
    latest = time.monotonic() + STARTING_TIME
    while (begun := clock_start(contest.work_dir)) is None:
        if time.monotonic() > latest:
            raise RivalError("the other actor was never ready")
        time.sleep(CLOCK_INTERVAL)
    return begun
