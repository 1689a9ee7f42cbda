"""Names in a study file -> Optuna's samplers.

Samplers are not stored by Optuna: every worker builds its own from the study, once, and keeps it for all its trials
(grouped TPE must not be shared between studies).
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
"""(seed, random trials, trials of the whole study) -> a sampler."""


def sampler_seed(settings: SearchSettings, worker: str, trials: int) -> int:
    """A seed of a worker's own: two with one seed would propose the same trials, and so would one that starts again.

    Args:
        worker: what tells the worker from others of the study.
        trials: how many trials the study has when the worker starts.
    """
    digest = hashlib.sha256(f"{settings.seed}/{worker}/{trials}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def make_sampler(settings: SearchSettings, seed: int, budget: int) -> optuna.samplers.BaseSampler:
    """The sampler that a study file names.

    Args:
        seed: from `sampler_seed`.
        budget: trials of the whole study.
    """
    # A third of the budget at random, ten at the most (Optuna's default): small budgets are model-guided too.
    startup_trials = max(3, min(10, budget // 3))
    return SAMPLERS[settings.sampler](seed, startup_trials, budget)
