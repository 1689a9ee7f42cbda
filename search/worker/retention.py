"""Which trials of a search keep their networks: those that the final model may be made of.

A trial that is as long as the export is a training of the final model already. Only the best keep their networks, and
only as long as they are among the best: the networks of all would fill a disk.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from search.statistics.ranking import averaging_gain, objective, rank
from search.study_state.snapshot import candidates
from search.study_state.study import Study
from search.study_state.training_costs import final_recipe
from storage.artifacts import ArtifactFolder
from storage.stores import Stores
from storage.values import TrialStatus, WorkKind
from studies.settings import FinalSettings
from trainer.recipe.recipe import Recipe

if TYPE_CHECKING:
    from trainer.evaluation.ambiguity import Average
    from trainer.training.results import EpochReport


log = logging.getLogger(__name__)


def is_as_exported(recipe: Recipe, final: FinalSettings) -> bool:
    """Whether a recipe would be exported as it is: neither longer nor larger."""
    return final_recipe(recipe.to_flat(), final) == recipe


def kept_trials(final: FinalSettings) -> int:
    """How many trials keep their networks."""
    return final.members if final.ensemble != "none" else 1


def may_be_exported(stores: Stores, study: Study, recipe: Recipe, last: EpochReport, average: Average | None) -> bool:
    """Whether a trial that has just ended is among the best so far.

    Args:
        last: of its epochs.
        average: what the mean of its fold models may be expected to be.
    """
    if average is None or not is_as_exported(recipe, study.spec.final):
        return False
    metric = study.metric
    ranking = candidates(stores.trials.records(study.id, kind=WorkKind.SEARCH, status=TrialStatus.FINISHED), metric)
    added = averaging_gain(metric, last.metric, average.brier, average.ambiguity)
    own = objective(metric, last.metric + added, average.brier)
    return sum(candidate.objective > own for candidate in ranking) < kept_trials(study.spec.final)


def forget_the_beaten(stores: Stores, study: Study, artifacts: ArtifactFolder) -> None:
    """Remove the networks that are here of finished trials which are not among the best any more. What cannot be
    removed is logged and stays: it takes room and harms nobody.
    """
    finished = stores.trials.records(study.id, kind=WorkKind.SEARCH, status=TrialStatus.FINISHED)
    ranking = [candidate.number for candidate in rank(candidates(finished, study.metric))]
    best = set(ranking[: kept_trials(study.spec.final)])
    for record in finished:
        if record.number not in best:
            try:
                artifacts.remove_weights(study.name, record.work_id)
            except OSError as error:
                log.warning("the networks of trial %d cannot be removed: %s", record.number, error)
