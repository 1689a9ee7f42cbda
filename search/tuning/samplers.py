"""The samplers that a study file can name (``sampler`` in its ``[search]`` table).

Optuna does not store samplers. Every worker builds one for each study and keeps it for all trials of that study; a
grouped TPE sampler must not be shared between studies.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable

import optuna

from search.tuning.cost_aware_tpe import CostAwareTPESampler
from studies.spec import SearchSettings


def _tpe(seed: int, startup_trials: int, trials: int) -> optuna.samplers.BaseSampler:
    return CostAwareTPESampler(seed=seed, startup_trials=startup_trials, trials=trials)


def _random(seed: int, startup_trials: int, trials: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


def _gp(seed: int, startup_trials: int, trials: int) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup_trials)


SAMPLERS: dict[str, Callable[[int, int, int], optuna.samplers.BaseSampler]] = {
    "tpe": _tpe,
    "random": _random,
    "gp": _gp,
}
"""Functions of (seed, random trials, trials of the whole study) that create a sampler."""


def sampler_seed(settings: SearchSettings, worker: str, trials: int) -> int:
    """A sampler seed, 0 to 2**32 - 1, that differs between workers and between starts of a worker.

    Samplers with equal seeds would propose the same trials.

    Args:
        worker: a name that identifies the worker within the study.
        trials: number of trials of the study when the worker starts.
    """
    digest = hashlib.sha256(f"{settings.seed}/{worker}/{trials}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def make_sampler(settings: SearchSettings, seed: int, budget: int) -> optuna.samplers.BaseSampler:
    """The sampler that a study file names.

    Args:
        seed: from `sampler_seed`.
        budget: number of trials of the whole study.
    """
    # Random trials: a third of the budget and at most ten (Optuna's default), so that small budgets use the model too.
    startup_trials = max(3, min(10, budget // 3))
    return SAMPLERS[settings.sampler](seed, startup_trials, budget)
