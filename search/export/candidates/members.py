"""Members of a final model: refitted recipes and imported predictions."""

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
    """A recipe of the final model: that of a trial, changed only by its study's ``[final]`` table."""

    name: MemberName
    study: Study
    """The study that found the recipe and refits it."""
    trial: TrialRecord
    recipe: Recipe
    weight: float = 1.0
    """Planned weight in the mean of all members."""
    rounds: tuple[TrialRecord, ...] = ()
    """Its confirmations, by split."""
    by_search: bool = False
    """Whether it is compared by its search trial, because not all recipes were confirmed on the same splits."""

    @property
    def number(self) -> int:
        """Number of the search trial."""
        assert self.trial.number is not None, "a finished trial has a number"
        return self.trial.number

    @property
    def backbone(self) -> str:
        """Name in timm."""
        return self.recipe.backbone

    @property
    def compared_by(self) -> tuple[TrialRecord, ...]:
        """The cross-validations by which it is compared with other members."""
        return (self.trial,) if self.by_search or not self.rounds else self.rounds

    @property
    def trainings(self) -> tuple[TrialRecord, ...]:
        """See `search.study_state.finalists.trainings_of`."""
        return trainings_of(self.trial, self.recipe, self.rounds)


@dataclass(frozen=True, kw_only=True)
class ImportedMember:
    """Predictions of another library: they count in the submission, but have no network that could be run."""

    name: MemberName
    study: Study
    """The study that they were imported into."""
    record: ImportRecord
    weight: float = 1.0
    """As in `ExportMember`."""

    @property
    def backbone(self) -> str:
        """A placeholder, different for each import, because the true backbone is unknown."""
        return str(self.name)


SEEDS, FILES, DOUBTS = "seeds", "files", "doubts"
"""Keys in an import's notes: number of averaged predictions of each image; names of the files; doubts, a list of
texts."""


def doubts_of(record: ImportRecord) -> list[str]:
    """Doubts about imported predictions, found when they were imported."""
    return [str(doubt) for doubt in record.notes.get(DOUBTS, ())]


def shown_value(record: ImportRecord) -> str:
    """The out-of-fold score of imported predictions with its standard error."""
    return "-" if record.value is None else f"{record.value:.4f} ± {record.value_se or 0.0:.4f}"


def describe_import(record: ImportRecord, metric: str) -> str:
    """Score and number of seeds of imported predictions, without their name."""
    seeds = record.notes.get(SEEDS)
    mean_of = f", the mean of {seeds} seeds" if isinstance(seeds, int) and seeds > 1 else ""
    return f"out-of-fold {metric} {shown_value(record)}{mean_of}, unverified"
