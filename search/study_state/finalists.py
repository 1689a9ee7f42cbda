"""Finalists: the recipes that are confirmed on fresh splits, with what their confirmations left in the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from search.statistics.estimates import Estimates, RecipeScores, Round, estimate
from search.study_state.snapshot import averaging_gain_of
from search.study_state.study import Study
from search.study_state.study_targets import read_folds, read_targets
from storage.stores import Stores
from storage.values import DEFAULT_TRIAL, TRIAL_NOTE, TrialRecord
from trainer.recipe.recipe import Recipe


def trainings_of(trial: TrialRecord, recipe: Recipe, rounds: Sequence[TrialRecord]) -> tuple[TrialRecord, ...]:
    """What trained a trial's recipe as it is exported, by split: the search, unless the export is another length or
    size, and its confirmations.
    """
    return (trial, *rounds) if trial.recipe == recipe.to_flat() else tuple(rounds)


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """A search trial whose recipe is run again."""

    trial: TrialRecord
    recipe: Recipe
    """As it is confirmed and exported: the trial's, with the study's ``[final]`` epochs and image size."""
    rounds: tuple[TrialRecord, ...]
    """Its finished confirmations, by split; empty before the first."""

    @property
    def number(self) -> int:
        """Of the search trial."""
        assert self.trial.number is not None, "a finished trial has a number"
        return self.trial.number


def finalists_of(trials: Mapping[int, TrialRecord], confirmations: Iterable[TrialRecord]) -> list[Finalist]:
    """Every recipe with at least one confirmation, by trial number.

    Args:
        trials: finished search trials by number.
        confirmations: finished ones of these, one of each split.
    """
    rounds: dict[int, list[TrialRecord]] = {}
    for record in confirmations:
        rounds.setdefault(record.note[TRIAL_NOTE], []).append(record)
    return [
        Finalist(
            trial=trials[number],
            recipe=Recipe.from_flat(records[-1].recipe or {}),
            rounds=tuple(sorted(records, key=lambda record: record.split)),
        )
        for number, records in sorted(rounds.items())
    ]


def judge_finalists(
    stores: Stores, study: Study, finalists: Sequence[Finalist], names: Mapping[int, str] | None = None
) -> Estimates:
    """Compare finalists by their confirmations alone.

    Args:
        study: whose data, protocol and splits are those of all finalists.
        names: of the studies by id, where the finalists are of several.

    Raises:
        ValueError: there are none.
    """
    folds = {record.split: read_folds(stores, study, record.split) for f in finalists for record in f.rounds}
    metric = study.metric
    recipes = [
        RecipeScores(
            number=finalist.number,
            study=(names or {}).get(finalist.trial.study_id, ""),
            rounds=tuple(
                Round(split=r.split, folds=folds[r.split], oof=stores.trials.prediction(r.id, "oof"))
                for r in finalist.rounds
            ),
            averaging_gain=fmean(averaging_gain_of(r, metric) for r in finalist.rounds),
            chosen=finalist.number != DEFAULT_TRIAL,
        )
        for finalist in finalists
    ]
    return estimate(recipes, read_targets(stores, study), metric)
