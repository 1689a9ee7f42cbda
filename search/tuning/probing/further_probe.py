"""A further probe on still larger images, where fine-tuning has gained nothing over the probes.

It costs one pass over the images, less than most trainings, and the mean of probes on images of several sizes is better
than each of them (the benchmark `blended_probes`). It begins between two trials. A search that ends before it could,
because the budget is used up or no further trial fits before the deadline, ends with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.study_state.optuna_attributes import PROBE_SIZE_ATTRIBUTE
from search.study_state.study import Study
from search.study_state.training_costs import finished_probes
from search.tuning.probing.plan import SIZE_STEP, Probe, as_probe, enlarged_size
from search.tuning.probing.probe_time import is_time_on_larger_images
from search.tuning.restore_optuna import optuna_study as backend_of
from search.tuning.restore_optuna import record_enqueued
from search.tuning.suggest import sampled_value
from storage.database.locks import Purpose, exclusive
from storage.optuna_storage.optuna_trials import FIXED_PARAMS
from storage.stores import Stores
from storage.values import StudyState, TrialRecord, TrialStatus, WorkKind
from trainer.recipe.recipe import Recipe


def finished_trials(stores: Stores, study_id: int) -> list[TrialRecord]:
    """The finished trials of a study, probes included."""
    return stores.trials.records(study_id, kind=WorkKind.SEARCH, status=TrialStatus.FINISHED)


def unbeaten_probe(finished: Sequence[TrialRecord]) -> TrialRecord | None:
    """The best probe, by the probability of the true class, if no trial has a better score than all probes; else None.

    Args:
        finished: as `finished_trials` returns them.
    """
    leader = max(finished, key=lambda record: (record.value or 0.0, record.is_probe), default=None)
    if leader is None or not leader.is_probe:
        return None
    return max(finished_probes(finished), key=lambda record: record.mean_true_probability or 0.0)


def is_time_for_further_probe(study: Study, finished: Sequence[TrialRecord], best: TrialRecord, now: float) -> bool:
    """Whether a further probe of the backbone of ``best`` would end in time.

    Args:
        finished: as `finished_trials` returns them.
        now: Unix seconds on the database's clock.
    """
    return is_time_on_larger_images(study, finished_probes(finished), str((best.recipe or {})["backbone"]), now)


def enqueue_last_probe(stores: Stores, study: Study) -> int | None:
    """Enqueue a further probe at the end of a search, as `enqueue_further_probe`.

    Returns:
        As there; None as well if a trial is better than every probe, the search was stopped, or it has no time left.
    """
    finished = finished_trials(stores, study.id)
    best = unbeaten_probe(finished)
    if best is None or study.state is StudyState.STOPPED:
        return None
    if not is_time_for_further_probe(study, finished, best, stores.database.now()):
        return None
    return enqueue_further_probe(stores, study, backend_of(stores, study.stored), best)


def enqueue_further_probe(stores: Stores, study: Study, optuna_study: optuna.Study, best: TrialRecord) -> int | None:
    """Enqueue the probe of a backbone and start on images larger than its enlarged ones by the same factor.

    Args:
        best: a probe of this backbone and start.

    Returns:
        The number of the trial; None if there is such a probe already, none on enlarged images has finished, or there
        is no larger size.
    """
    recipe = Recipe.from_flat(best.recipe or {})
    size = further_size(recipe.backbone, study.spec.probe.enlarge)
    enlarged = enlarged_size(recipe.backbone, study.spec.probe.enlarge)
    if size is None:
        return None
    with exclusive(stores.database, Purpose.TRIALS):
        of_size = _probes_by_size(study, optuna_study, recipe)
        if size in of_size or enlarged not in of_size or of_size[enlarged].state is not TrialState.COMPLETE:
            return None
        params = of_size[enlarged].system_attrs.get(FIXED_PARAMS, {})
        probe = Probe(params=params, recipe=as_probe(recipe, size), resized=True)
        optuna_study.enqueue_trial(dict(params), user_attrs=probe.attributes)
        record_enqueued(stores, study.id, optuna_study)
        return _probes_by_size(study, optuna_study, recipe)[size].number


def further_size(backbone: str, factor: float) -> int | None:
    """Side of images that are larger than enlarged ones by ``factor``, rounded down to 32; None if there is none."""
    enlarged = enlarged_size(backbone, factor)
    size = 0 if enlarged is None else int(factor * enlarged) // SIZE_STEP * SIZE_STEP
    return size if enlarged is not None and size > enlarged else None


def _probes_by_size(study: Study, optuna_study: optuna.Study, recipe: Recipe) -> dict[int, FrozenTrial]:
    """The probes of the recipe's backbone and start on resized images, by image size."""
    found = {}
    for trial in optuna_study.get_trials(deepcopy=False):
        backbone, init = (sampled_value(trial, name) or study.spec.recipe[name] for name in ("backbone", "init"))
        if PROBE_SIZE_ATTRIBUTE in trial.user_attrs and (backbone, init) == (recipe.backbone, recipe.init):
            found[int(trial.user_attrs[PROBE_SIZE_ATTRIBUTE])] = trial
    return found
