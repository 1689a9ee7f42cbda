"""What a final model may be made of: recipes that are refitted, and predictions that were imported."""

from __future__ import annotations

from dataclasses import dataclass

from search.statistics.member_names import MemberName
from search.study_state.finalists import trainings_of
from storage.records.imports import ImportRecord
from storage.records.studies import StoredStudy
from storage.values import TrialRecord
from trainer.recipe.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class ExportMember:
    """A recipe of the final model: the recorded one of a trial, changed only by its study's ``[final]`` table."""

    name: MemberName
    study: StoredStudy
    """Which found it, and refits it."""
    trial: TrialRecord
    recipe: Recipe
    weight: float = 1.0
    """In the mean of all members as it was chosen."""
    rounds: tuple[TrialRecord, ...] = ()
    """Its confirmations, by split."""
    by_search: bool = False
    """Whether it is compared with others by the search's trial: not all of them were confirmed on the same splits."""

    @property
    def number(self) -> int:
        """Of the search trial."""
        assert self.trial.number is not None, "a finished trial has a number"
        return self.trial.number

    @property
    def backbone(self) -> str:
        """Name in timm."""
        return self.recipe.backbone

    @property
    def judged_by(self) -> tuple[TrialRecord, ...]:
        """The cross-validations by which it is compared with others."""
        return (self.trial,) if self.by_search or not self.rounds else self.rounds

    @property
    def trainings(self) -> tuple[TrialRecord, ...]:
        """See `search.study_state.finalists.trainings_of`."""
        return trainings_of(self.trial, self.recipe, self.rounds)


@dataclass(frozen=True, kw_only=True)
class ImportedMember:
    """Predictions that were made elsewhere: they count in the submission, but nothing of them can be run."""

    name: MemberName
    study: StoredStudy
    """Into which they were imported."""
    record: ImportRecord
    weight: float = 1.0

    @property
    def backbone(self) -> str:
        """One of its own: nobody here knows what made them."""
        return str(self.name)
