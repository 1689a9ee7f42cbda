"""Retention of trial networks: the best trials keep their weights, since the final model may consist of them.

A trial with the export's number of epochs and image size needs no refit: its networks can be exported. Only the best
trials so far keep their weights; those of all trials would fill a disk.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from search.runtime.kept_networks import remove_networks
from search.statistics.ranking import averaging_gain, objective, rank
from search.study_state.search_trials import candidates
from search.study_state.study import Study
from search.study_state.training_costs import final_recipe
from storage.artifacts import ArtifactFolder
from storage.stores import Stores
from storage.values import TrialStatus, WorkKind
from studies.settings import FinalSettings
from trainer.data.image_set import ImageSet
from trainer.recipe.recipe import LINEAR_PROBE, Recipe

if TYPE_CHECKING:
    from trainer.evaluation.ambiguity import Average
    from trainer.training.results import EpochReport


TEST_PER_TRAIN = 5
"""Test images for each training image; with more, no trial predicts them all where none keeps its networks."""

log = logging.getLogger(__name__)


def needs_no_refit(recipe: Recipe, final: FinalSettings) -> bool:
    """Whether the export would train the same recipe: neither with more epochs nor with larger images."""
    return final_recipe(recipe.to_flat(), final) == recipe


def kept_trials(final: FinalSettings) -> int:
    """Number of trials that keep their networks."""
    return final.members if final.ensemble != "none" else 1


def networks_may_be_kept(study: Study, recipe: Recipe) -> bool:
    """Whether the best trials with this recipe keep their networks.

    They need no refit, or may lack the time for one: before a deadline, the networks of a trial may be exported.
    """
    return study.deadline is not None or needs_no_refit(recipe, study.spec.final)


def only_best_predict(study: Study, recipe: Recipe, images: ImageSet) -> bool:
    """Whether only trials that keep their networks have to predict all test images.

    The best trial so far is one of them, and its predictions are the provisional submission. Where no trial keeps its
    networks, every trial predicts all test images, unless there are too many of them.
    """
    many = len(images.test_ids) > TEST_PER_TRAIN * len(images.train_ids)
    return many or networks_may_be_kept(study, recipe)


def may_be_exported(stores: Stores, study: Study, recipe: Recipe, last: EpochReport, average: Average | None) -> bool:
    """Whether a trial that has just ended is among the best so far, and needs no refit or may lack the time for one.

    Args:
        last: report of its last epoch.
        average: expected quality of the average of its fold models; None: unknown, then the answer is False.
    """
    if average is None or not networks_may_be_kept(study, recipe):
        return False
    metric = study.metric
    ranking = candidates(stores.trials.records(study.id, kind=WorkKind.SEARCH, status=TrialStatus.FINISHED), metric)
    is_probe = recipe.method == LINEAR_PROBE
    gain = averaging_gain(metric, last.metric, average.brier, average.ambiguity, is_probe=is_probe)
    own = objective(metric, last.metric + gain, average.brier)
    return sum(candidate.objective > own for candidate in ranking) < kept_trials(study.spec.final)


def remove_outranked_weights(stores: Stores, study: Study, artifacts: ArtifactFolder) -> None:
    """Remove the networks of finished trials that are not among the best any more, from the home of this worker.

    Files that cannot be removed are logged and stay.
    """
    finished = stores.trials.records(study.id, kind=WorkKind.SEARCH, status=TrialStatus.FINISHED)
    ranking = [candidate.number for candidate in rank(candidates(finished, study.metric))]
    best = set(ranking[: kept_trials(study.spec.final)])
    for record in finished:
        if record.number not in best:
            try:
                remove_networks(artifacts, study.name, record)
            except OSError as error:
                log.warning("the networks of trial %d cannot be removed: %s", record.number, error)
