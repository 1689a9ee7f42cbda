"""Forecast of an export's test score, and the best score of a search with and without selection bias."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from search.export.final_model import MemberRefits, Refits
from search.export.plan import ExportPlan
from search.statistics.ranking import Candidate
from search.statistics.score_forecast import (
    NO_AVERAGING,
    Forecast,
    averaging_of,
    equal_trainings,
    forecast,
    gain_across_trainings,
    gain_within,
)
from search.statistics.selection_bias import POOL, CandidateRecipe, CrossValidated, UnbiasedScore, unbiased_score
from search.study_state.confirmation import Confirmation, read_confirmation
from search.study_state.finalists import trainings_of
from search.study_state.search_trials import averaging_gain_of
from search.study_state.study import Study
from search.study_state.study_targets import read_targets
from storage.stores import Stores
from storage.values import TrialRecord
from trainer.common.arrays import Float32Array
from trainer.evaluation.metrics import METRICS

GROUPS = 5
"""Largest number of recipes, the best first, from which the gain from averaging is measured."""
SHOWN = 5e-5
"""Largest bias that rounding to four decimal places hides."""


@dataclass(frozen=True, kw_only=True)
class Optimism:
    """The best score of a search, and the same without selection bias."""

    best: Candidate
    unbiased: UnbiasedScore

    @property
    def has_bias(self) -> bool:
        """Whether nested selection finds a bias that four decimal places show."""
        return max(self.unbiased.optimism, abs(self.best.value - self.unbiased.score)) > SHOWN


def read_optimism(stores: Stores, study: Study) -> Optimism | None:
    """The best trial of the search and its score without selection bias; None before a trial has finished, and for a
    pre-training, which has no search.
    """
    if study.is_pretraining:
        return None
    confirmation = read_confirmation(stores, study.name)
    if not confirmation.ranking:
        return None
    metric = confirmation.study.metric
    unbiased = unbiased_score(list(_candidate_recipes(stores, confirmation)), read_targets(stores, study), metric)
    return Optimism(best=confirmation.ranking[0], unbiased=unbiased)


def is_optimistic(plan: ExportPlan, refits: Refits, *, of_search: bool) -> bool:
    """Whether the out-of-fold score of an export is higher than on new images, because its images chose the recipe.

    A blend is chosen by it as well, and a confirmed recipe has scores of fresh splits that are not. The score of one
    recipe that was not confirmed is as good as that of the search.

    Args:
        of_search: whether the best score of the search has a selection bias (`read_optimism`).
    """
    return of_search or len(refits.all_members) > 1 or plan.estimates is not None or bool(plan.other_studies)


def forecast_export(stores: Stores, plan: ExportPlan, refits: Refits) -> Forecast | None:
    """Forecast the score of an export on the test images; None without test images.

    The cross-fitted gain of a label rule, of blend weights and of temperature scaling is expected on the test images
    too, and so is that of a second stage. The gain of test-time views is not, because averaging networks takes most of
    it. Imported predictions come from an unknown number of networks, so only the cross-fitted gain of a blend with
    imports counts.
    """
    if refits.test is None:
        return None
    targets, metric = read_targets(stores, plan.study), plan.metric
    # Networks of a second stage know some classes alone: of them, only what they change in the first stage is a score.
    confirmations = [read_confirmation(stores, study.name) for study in plan.studies if not study.is_second_stage]
    parts = refits.members[:1] if plan.second_stage else refits.members
    unbiased = unbiased_score([r for c in confirmations for r in _candidate_recipes(stores, c)], targets, metric)
    # Confirmations are free of the search's selection bias, so they alone score a confirmed recipe.
    scored = [part.member.rounds or (part.member.trial,) for part in parts]
    single = fmean(fmean(record.value or 0.0 for record in records) for records in scored) - unbiased.optimism
    error = unbiased.error
    if plan.estimates is not None:
        row = plan.estimates.of(plan.leader.number, plan.leader.name.study)
        error = max(error, row.error)
    averaging, trainings = NO_AVERAGING, 1.0
    if not refits.imported:
        averaging = averaging_of(
            gain_within([_gain_of_member(part, metric) for part in parts], plan.networks_per_training),
            gain_across_trainings(list(_recipe_groups(stores, plan, parts, confirmations)), targets, metric),
        )
        trainings = equal_trainings([len(part.records) for part in parts])
        rule_gain = refits.fitted.score - refits.fitted.equal_mean_score if refits.fitted else 0.0
        averaging = averaging.after(rule_gain, METRICS[metric].bounds[1] - single)
        single += rule_gain
    elif refits.fitted is not None:
        single, error = single + refits.fitted.gain.mean, math.hypot(error, refits.fitted.gain.error)
    rows = plan.estimates.rows if plan.estimates is not None else ()
    chances = {str(row.name): row.chance_best for row in rows}
    return forecast(
        single=single,
        single_error=error,
        sampling_error=unbiased.error,
        averaging=averaging,
        networks=plan.networks_per_training * trainings,
        trainings=trainings,
        metric=metric,
        train_images=round(targets.effective_images),
        test_images=len(refits.test),
        chances=chances,
    )


def _candidate_recipes(stores: Stores, confirmation: Confirmation) -> Iterator[CandidateRecipe]:
    """The best recipes of the search, and all confirmed ones."""
    rounds = {finalist.number: finalist.rounds for finalist in confirmation.finalists}
    best = [candidate.number for candidate in confirmation.ranking[:POOL]]
    metric = confirmation.study.metric
    for number in dict.fromkeys([*best, *rounds]):
        records = (confirmation.trials[number], *rounds.get(number, ()))
        searched, *fresh = [
            CrossValidated(
                oof=stores.trials.prediction(r.id, "oof"),
                ambiguity=r.ambiguity or 0.0,
                temperature=r.temperature or 1.0,
                averaging_gain=averaging_gain_of(r, metric),
            )
            for r in records
        ]
        yield CandidateRecipe(searched=searched, fresh=tuple(fresh))


def _gain_of_member(part: MemberRefits, metric: str) -> float | None:
    """Expected gain from averaging the networks of one training, as the mean over the member's trainings.

    None if the metric scores probabilities, or if a training held nothing out.
    """
    if METRICS[metric].needs == "probabilities" or any(record.value is None for record in part.records):
        return None
    return fmean(averaging_gain_of(record, metric) for record in part.records)


def _recipe_groups(
    stores: Stores, plan: ExportPlan, parts: Sequence[MemberRefits], confirmations: Sequence[Confirmation]
) -> Iterator[list[list[Float32Array]]]:
    """Groups of recipes, each the out-of-fold predictions of its trainings, to measure the gain from averaging.

    Several members form one group. With a single member, each of the best finalists of its kind, probe or not, is a
    group of its own, but for those that are clearly worse: averaging adds more to a worse recipe.
    """

    def read(records: Iterable[TrialRecord]) -> list[Float32Array]:
        return [stores.trials.prediction(record.id, "oof") for record in records]

    if len(parts) > 1:
        yield [read(part.member.trainings or (part.member.trial,)) for part in parts]
        return
    for confirmation in confirmations:
        rows = plan.estimates.rows if plan.estimates is not None else ()
        rank_of = {row.number: i for i, row in enumerate(rows) if row.study in ("", confirmation.study.name)}
        eliminated = {row.number for row in rows if row.eliminated and row.number in rank_of}
        finalists = [
            finalist
            for finalist in sorted(confirmation.finalists, key=lambda one: rank_of.get(one.number, len(rank_of)))
            if finalist.trial.is_probe == parts[0].member.trial.is_probe and finalist.number not in eliminated
        ]
        for finalist in finalists[:GROUPS]:
            yield [read(trainings_of(finalist.trial, finalist.recipe, finalist.rounds))]
