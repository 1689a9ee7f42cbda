"""Finalists: recipes with finished confirmations on fresh splits, and their comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from search.statistics.estimates import Estimates, RecipeScores, Round, estimate
from search.study_state.search_trials import averaging_gain_of
from search.study_state.study import Study
from search.study_state.study_targets import read_folds, read_targets
from storage.stores import Stores
from storage.values import DEFAULT_TRIAL, TrialRecord
from trainer.recipe.recipe import Recipe


def trainings_of(trial: TrialRecord, recipe: Recipe, rounds: Sequence[TrialRecord]) -> tuple[TrialRecord, ...]:
    """The trainings of a trial's recipe as it is exported, by split.

    They are the confirmations and, if ``[final]`` does not change epochs or image size, the search trial.
    """
    return (trial, *rounds) if trial.recipe == recipe.to_flat() else tuple(rounds)


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """A search trial whose recipe is trained again on fresh splits."""

    trial: TrialRecord
    recipe: Recipe
    """The trial's recipe with the epochs and image size of the study's ``[final]`` table, as it is exported."""
    rounds: tuple[TrialRecord, ...]
    """Finished confirmations, by split; empty before the first."""

    @property
    def number(self) -> int:
        """Number of the search trial."""
        assert self.trial.number is not None, "a finished trial has a number"
        return self.trial.number


def finalists_of(trials: Mapping[int, TrialRecord], confirmations: Iterable[TrialRecord]) -> list[Finalist]:
    """Every trial with at least one confirmation, by trial number.

    Args:
        trials: finished search trials by number.
        confirmations: finished confirmations of these trials, one for each trial and split.
    """
    rounds: dict[int, list[TrialRecord]] = {}
    for record in confirmations:
        rounds.setdefault(record.repeated_trial, []).append(record)
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
        study: its data, protocol and splits are those of all finalists.
        names: names of the studies by id; needed if the finalists come from several studies.

    Raises:
        ValueError: there are no finalists.
    """
    folds = {record.split: read_folds(stores, study, record.split) for f in finalists for record in f.rounds}
    metric = study.metric
    recipes = [
        RecipeScores(
            number=finalist.number,
            study=(names or {}).get(finalist.trial.study_id, ""),
            is_probe=finalist.trial.is_probe,
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
