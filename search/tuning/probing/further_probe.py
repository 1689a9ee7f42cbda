"""A further probe on still larger images, where fine-tuning has gained nothing over the probes.

It costs one pass over the images, less than most trainings, and the mean of probes on images of several sizes is better
than each of them (the benchmark `blended_probes`).
"""

from __future__ import annotations

from enum import Enum, auto

import optuna
from optuna.trial import FrozenTrial

from search.study_state.optuna_attributes import (
    EPOCHS_ATTRIBUTE,
    ORIGIN_ATTRIBUTE,
    PROBE_ATTRIBUTE,
    PROBE_SIZE_ATTRIBUTE,
)
from search.study_state.study import Study
from search.tuning.probing.plan import SIZE_STEP, Probe, as_probe, enlarged_size
from search.tuning.restore_optuna import record_enqueued
from search.tuning.suggest import value_of
from storage.database.locks import Purpose, exclusive
from storage.optuna_storage.optuna_trials import FIXED_PARAMS
from storage.stores import Stores
from storage.values import TrialRecord, TrialStatus, WorkKind
from trainer.recipe.recipe import Recipe


class Standing(Enum):
    """Why no probe is the best result of a study."""

    UNKNOWN = auto()
    """No probe or no trial has finished."""
    BEATEN = auto()
    """A trial has a higher score."""


def standing_of_probes(stores: Stores, study: Study) -> TrialRecord | Standing:
    """The best finished probe, if trials have finished and none has a higher score."""
    finished = [
        (record.value, record)
        for record in stores.trials.records(study.id, kind=WorkKind.SEARCH, status=TrialStatus.FINISHED)
        if record.value is not None
    ]
    probes = [pair for pair in finished if pair[1].is_probe]
    trained = [value for value, record in finished if not record.is_probe]
    if not probes or not trained:
        return Standing.UNKNOWN
    value, best = max(probes, key=lambda pair: pair[0])
    return best if value >= max(trained) else Standing.BEATEN


def enqueue_further_probe(stores: Stores, study: Study, optuna_study: optuna.Study, best: TrialRecord) -> int | None:
    """Enqueue the probe of a backbone and start on images larger than its enlarged ones by the same factor.

    Args:
        best: a probe of this backbone and start.

    Returns:
        The number of the trial; None if there is such a probe already, none on enlarged images, or no larger size.
    """
    recipe = Recipe.from_flat(best.recipe or {})
    size = further_size(recipe.backbone, study.spec.probe.enlarge)
    enlarged = enlarged_size(recipe.backbone, study.spec.probe.enlarge)
    if size is None:
        return None
    with exclusive(stores.database, Purpose.TRIALS):
        of_size = _probes_by_size(study, optuna_study, recipe)
        if size in of_size or enlarged not in of_size:
            return None
        params = of_size[enlarged].system_attrs.get(FIXED_PARAMS, {})
        probe = Probe(params=params, recipe=as_probe(recipe, size), resized=True)
        attributes = {
            EPOCHS_ATTRIBUTE: 1,
            ORIGIN_ATTRIBUTE: probe.origin,
            PROBE_ATTRIBUTE: True,
            PROBE_SIZE_ATTRIBUTE: size,
        }
        optuna_study.enqueue_trial(dict(params), user_attrs=attributes)
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
        params = {**trial.system_attrs.get(FIXED_PARAMS, {}), **trial.params}
        backbone, init = (value_of(params, name) or study.spec.recipe[name] for name in ("backbone", "init"))
        if PROBE_SIZE_ATTRIBUTE in trial.user_attrs and (backbone, init) == (recipe.backbone, recipe.init):
            found[int(trial.user_attrs[PROBE_SIZE_ATTRIBUTE])] = trial
    return found
