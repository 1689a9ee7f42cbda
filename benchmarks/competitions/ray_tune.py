"""The search that one writes by hand with Ray Tune: random recipes, given up by ASHA.

Trials train their folds in lockstep and report the folds' mean score after every epoch, which is the most that ASHA
can make use of. Two run at the same time, on a core each, in actors that outlive them. The clock starts when both have
imported everything. At the end the fold models of the best trial that ran to its end are averaged.
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

from benchmarks.competitions.contest import AT_ONCE, Contest, Found, KeptTrial, OutOfTime, found, keep, train, warm_up
from benchmarks.competitions.optuna_by_hand import STARTING_TIME, RivalFailed
from studies.space.dimension import Dimension, choose
from studies.spec import StudySpec
from trainer.batches.batch_loader import BatchLoader
from trainer.recipe.recipe import Recipe
from trainer.training.results import EpochReport, Verdict

if TYPE_CHECKING:
    from ray import tune

SCORE = "score"
OBJECT_STORE = 100 * 2**20  # bytes; nothing large goes through it
CLOCK_INTERVAL = 0.05  # seconds between looks while the other actor is not ready
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # files that nobody reads here
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial may be cut off before it has anything to report
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",  # a trial that is given up ends after its batch, and its actor is kept
}


def domain(dimension: Dimension) -> tune.search.sample.Domain:
    """Ray's domain for one of `Dimension.parameters`."""
    from ray import tune

    assert dimension.off is None, "a range that can be off is two parameters"
    if dimension.choices is not None:
        return tune.choice(list(dimension.choices))
    low, high = dimension.low, dimension.high
    assert low is not None and high is not None, "a dimension without choices has a range"
    if dimension.step:
        # Ray's own steps count from zero, not from the low end.
        steps = round((high - low) / dimension.step)
        values = [low + number * dimension.step for number in range(steps + 1)]
        return tune.choice([int(value) for value in values] if dimension.integer else values)
    if dimension.integer:
        return (tune.lograndint if dimension.log else tune.randint)(int(low), int(high) + 1)
    return (tune.loguniform if dimension.log else tune.uniform)(low, high)


def ray_space(spec: StudySpec) -> dict[str, Any]:
    """The study's space by parameter name. Ray knows no conditions: what is idle is drawn, too, and not looked at."""
    return {parameter.name: domain(parameter) for dimension in spec.space for parameter in dimension.parameters}


def recipe_of(config: dict[str, Any], spec: StudySpec) -> Recipe:
    """The recipe that a drawn configuration stands for."""
    return Recipe.from_flat(spec.assemble(choose(spec.space, spec.recipe, lambda parameter: config[parameter.name])))


def default_config(spec: StudySpec) -> dict[str, Any]:
    """The default recipe as a configuration."""
    idle = {parameter.name: parameter.default for dimension in spec.space for parameter in dimension.parameters}
    return {**idle, **spec.default_params()}


def clock_start(place: Path) -> float | None:
    """When the last of the first `AT_ONCE` actors was ready, in Unix seconds; None while it is not."""
    ready = sorted(path.stat().st_mtime for path in place.glob("*.ready"))
    return ready[AT_ONCE - 1] if len(ready) >= AT_ONCE else None


def run_ray(contest: Contest) -> Found:
    """ASHA, with Ray's defaults, over random recipes. Connects to a Ray of its own and ends it.

    Raises:
        RivalFailed: trials broke.
    """
    os.environ.update(ENVIRONMENT)
    import ray

    # Short: names of sockets are limited to about 100 characters.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as scratch:
        ray.init(
            num_cpus=AT_ONCE,
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
    begun = clock_start(contest.place)
    if begun is None:
        raise RivalFailed("Ray's actors were never ready")
    return found(contest, trials=trials, seconds=ended - begun)


def _tune(contest: Contest) -> tuple[int, float]:
    """Search until the time is over; how many trials there were, and when it ended."""
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search import BasicVariantGenerator

    class AtDeadline(tune.Stopper):  # type: ignore[misc]  # Ray is seen as untyped
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return False

        def stop_all(self) -> bool:
            begun = clock_start(contest.place)
            return begun is not None and time.time() >= begun + contest.seconds

    first = [default_config(contest.spec)] if contest.default_first else None
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(_trial, contest=contest), {"cpu": 1}),
        param_space=ray_space(contest.spec),
        tune_config=tune.TuneConfig(
            metric=SCORE,
            mode="max",
            search_alg=BasicVariantGenerator(
                points_to_evaluate=first, max_concurrent=AT_ONCE, random_state=contest.seed
            ),
            # Not at the last epoch: such a trial has finished.
            scheduler=ASHAScheduler(max_t=int(contest.spec.recipe["epochs"]), stop_last_trials=False),
            num_samples=-1,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(name="asha", storage_path=str(contest.place / "ray"), stop=AtDeadline(), verbose=0),
    )
    results = tuner.fit()
    ended = time.time()
    if results.errors:
        raise RivalFailed(f"{len(results.errors)} trials of Ray broke; the first: {results.errors[0]}")
    return len(results), ended


_loaders: dict[Path, BatchLoader] = {}  # in an actor: kept between its trials


def _trial(config: dict[str, Any], contest: Contest) -> None:
    from ray import tune

    end = _ready(contest) + contest.seconds

    def out_of_time() -> bool:
        return time.time() >= end

    recipe = recipe_of(config, contest.spec)

    def on_epoch(report: EpochReport) -> Verdict:
        if report.epoch < report.epochs:
            # Ends this thread where ASHA gives the trial up.
            tune.report({SCORE: float(np.mean(report.fold_metrics))})
        return Verdict.CONTINUE

    try:
        result = train(contest, recipe, None, _loaders[contest.place], out_of_time, on_epoch)
    except OutOfTime:
        return
    value = float(np.mean(result.reports[-1].fold_metrics)) if result.status == "finished" else 0.0
    if result.status == "finished":
        name = tune.get_context().get_trial_id()
        keep(contest, f"trial-{name}", KeptTrial(value=value, recipe=recipe.to_flat(), models=result.models))
    tune.report({SCORE: value})


def _ready(contest: Contest) -> float:
    """Get this actor ready, the first time, and wait for the other one; when the clock started."""
    torch.set_num_threads(1)
    if contest.place not in _loaders:
        _loaders[contest.place] = contest.loader()
        warm_up(contest, _loaders[contest.place])
        (contest.place / f"{os.getpid()}.ready").touch()
    patience = time.monotonic() + STARTING_TIME
    while (begun := clock_start(contest.place)) is None:
        if time.monotonic() > patience:
            raise RivalFailed("the other actor was never ready")
        time.sleep(CLOCK_INTERVAL)
    return begun
