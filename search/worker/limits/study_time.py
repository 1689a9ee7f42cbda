"""The costs and the time of a study at one moment, by which its trainings are limited."""

from __future__ import annotations

from dataclasses import dataclass

from search.study_state.study import Study
from search.study_state.time_budget import Costs
from search.study_state.time_left import EndedTrainings
from search.study_state.training_costs import is_fine_tuned, longest


@dataclass(frozen=True, kw_only=True)
class StudyTime:
    """What a `TimeLimit` reads about its study at one moment."""

    study: Study
    costs: Costs
    ended: EndedTrainings
    now: float
    """Unix seconds on the database's clock."""

    @property
    def longest_training(self) -> float:
        """The largest length of the finished trials that are no linear probes; 0 without any."""
        return longest([record for record in self.ended.trials if is_fine_tuned(record)])
