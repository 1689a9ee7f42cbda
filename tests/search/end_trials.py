"""End a study's trials with given values, without training."""

from __future__ import annotations

from optuna.samplers import RandomSampler

from search.study_state.study import Study
from search.tuning.report_to_optuna import report_to_optuna
from search.tuning.suggest import sample
from storage.stores import Stores
from storage.values import TrialOutcome, TrialStatus


def end_next(stores: Stores, stored: Study, value: float, status: TrialStatus = TrialStatus.FINISHED) -> int:
    """Take the study's next trial like a worker and end it with ``value`` and ``status``; return its number."""
    spec = stored.spec
    item = stores.queue.take(stored.id, "test", 60.0)
    assert item is not None, "the budget is used up"
    asked = len(stores.optuna_study(stored.name).get_trials(deepcopy=False))
    study = stores.optuna_study(stored.name, RandomSampler(seed=asked))  # the same trials in every run of a test
    trial = study.ask()
    assigned = stores.queue.assign_trial(item, trial.number, sample(trial, spec).to_flat())
    assert assigned is not None
    outcome = TrialOutcome(
        status=status,
        value=value,
        value_se=0.01,
        mean_true_probability=0.5,
        brier=0.5,
        ambiguity=0.0,
        temperature=1.0,
        epochs_done=3,
    )
    assert stores.queue.store(assigned, outcome)
    report_to_optuna(stores, stored.id, study, assigned.id)
    return trial.number
