"""What a final model may be made of: recipes that are refitted, and predictions that were imported."""

from __future__ import annotations

from dataclasses import dataclass

from search.statistics.member_names import MemberName
from search.study_state.finalists import trainings_of
from search.study_state.study import Study
from storage.records.imports import ImportRecord
from storage.values import TrialRecord
from trainer.recipe.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class ExportMember:
    """A recipe of the final model: the recorded one of a trial, changed only by its study's ``[final]`` table."""

    name: MemberName
    study: Study
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
    study: Study
    """Into which they were imported."""
    record: ImportRecord
    weight: float = 1.0

    @property
    def backbone(self) -> str:
        """One of its own: nobody here knows what made them."""
        return str(self.name)


SEEDS, FILES, DOUBTS = "seeds", "files", "doubts"
"""Keys in the notes: how many predictions of each image were averaged; names of the files; what there is to doubt, a
list of texts."""


def doubts_of(record: ImportRecord) -> list[str]:
    """What there is to doubt of them, as it was found when they were imported."""
    return [str(doubt) for doubt in record.notes.get(DOUBTS, ())]


def shown_value(record: ImportRecord) -> str:
    """Their score with its standard error."""
    return "-" if record.value is None else f"{record.value:.4f} ± {record.value_se or 0.0:.4f}"


def described(record: ImportRecord, metric: str) -> str:
    """In one line, without their name."""
    seeds = record.notes.get(SEEDS)
    mean_of = f", the mean of {seeds} seeds" if isinstance(seeds, int) and seeds > 1 else ""
    return f"out-of-fold {metric} {shown_value(record)}{mean_of}, if its file tells the truth"
