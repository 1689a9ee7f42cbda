"""What is exported: which recipes, in how many refits. `search.refits` gathers them, `search.export_files` writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from search.confirmation import DEFAULT_TRIAL
from search.confirming import judge, read_confirmation
from search.costs import final_recipe
from search.ensembling import Choice, PossibleMember, choose_members
from search.estimates import Estimates
from search.finalists import Finalist
from search.home import Home
from search.ledger import Ledger
from search.selection import average, choose
from search.standing import candidates
from search.training import FULL_DATA_SPLIT
from storage.artifacts import ArtifactFolder
from storage.stored_studies import StoredStudy
from storage.values import TrialRecord, TrialStatus, WorkKind
from studies.spec import StudySpec
from trainer.recipe import Recipe

POOL = 12
"""Recipes of the tie set that are looked at for an ensemble, the best first: more would cost minutes, not points."""


@dataclass(frozen=True, kw_only=True)
class ExportMember:
    """A recipe of the final model: the recorded one of a trial, changed only by the study's ``[final]`` table."""

    trial: TrialRecord
    recipe: Recipe
    weight: float
    """In the mean of all members as it was chosen."""
    rounds: tuple[TrialRecord, ...] = ()
    """Its confirmations on the splits that every member was confirmed on, by split."""

    @property
    def number(self) -> int:
        """Of the search trial."""
        assert self.trial.number is not None, "a finished trial has a number"
        return self.trial.number


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """What is to be refitted."""

    study: StoredStudy
    spec: StudySpec
    members: tuple[ExportMember, ...]
    """The leader first."""
    choice: Choice
    """Why these."""
    estimates: Estimates | None
    """Of the confirmed recipes; None where none was confirmed."""
    seeds: int
    """Refits of each member."""
    full_data: bool
    short_of_time: bool = False
    """Whether fewer members are refitted than might have been, because of the deadline."""

    @property
    def leader(self) -> ExportMember:
        """The best recipe by itself."""
        return self.members[0]

    @property
    def split(self) -> int:
        """The split of the refits: that of the search, or none."""
        return FULL_DATA_SPLIT if self.full_data else self.leader.trial.split

    @property
    def models(self) -> int:
        """Networks that one refit trains."""
        return 1 if self.full_data else self.spec.protocol.folds

    @property
    def metric(self) -> str:
        """What the study maximises."""
        return self.spec.protocol.metric


def plan_export(
    ledger: Ledger, study: StoredStudy, *, seeds: int | None, full_data: bool, members_at_most: int | None = None
) -> ExportPlan:
    """Choose the recipes: among the confirmed ones where there are any, else the best trial of the search.

    Args:
        seeds: refits of each recipe; None: as the study says.
        members_at_most: recipes for whose refits there is time; None: any number. The leader is exported in any case.

    Raises:
        NothingFinished: no trial has finished.
    """
    confirmation = read_confirmation(ledger, study.name)
    trials, spec = confirmation.trials, confirmation.spec
    best = choose(candidates(list(trials.values())))
    estimates, short_of_time = judge(ledger, confirmation), False
    # A confirmation that was cut short after the default recipe alone says nothing about any other.
    if estimates is not None and any(row.number != DEFAULT_TRIAL for row in estimates.rows):
        by_number = {finalist.number: finalist for finalist in confirmation.finalists}
        tied = [by_number[row.number] for row in estimates.rows if row.tied]
        limit = spec.final.members if members_at_most is None else min(spec.final.members, members_at_most)
        members, choice = _members(ledger, study, spec, tied, max(1, limit))
        short_of_time = spec.final.ensemble != "none" and limit < min(spec.final.members, len(tied))
    else:
        trial = trials[best.number]
        members = (ExportMember(trial=trial, recipe=final_recipe(trial.recipe or {}, spec.final), weight=1.0),)
        note = "no recipe was confirmed on fresh splits"
        estimates, choice = None, Choice(numbers=(best.number,), weights=(1.0,), way="none", note=note)
    return ExportPlan(
        study=study,
        spec=spec,
        members=members,
        choice=choice,
        estimates=estimates,
        seeds=seeds or spec.final.seeds,
        full_data=full_data,
        short_of_time=short_of_time,
    )


def _members(
    ledger: Ledger, study: StoredStudy, spec: StudySpec, tied: Sequence[Finalist], at_most: int
) -> tuple[tuple[ExportMember, ...], Choice]:
    """The members among the tied finalists, of which the first leads."""
    pool, splits = _comparable(tied[:POOL])
    contenders = [
        PossibleMember(
            number=finalist.number,
            backbone=finalist.recipe.backbone,
            oof=average([ledger.runs.prediction(r.id, "oof") for r in finalist.rounds if r.split in splits]),
        )
        for finalist in pool
    ]
    choice = choose_members(
        contenders,
        ledger.datasets.get(study.fingerprint).y,
        ledger.folds(study, min(splits)),
        spec.protocol.metric,
        spec.final.ensemble,
        at_most,
    )
    by_number = {finalist.number: finalist for finalist in pool}
    members = tuple(
        ExportMember(
            trial=by_number[number].trial,
            recipe=by_number[number].recipe,
            weight=weight,
            rounds=tuple(r for r in by_number[number].rounds if r.split in splits),
        )
        for number, weight in zip(choice.numbers, choice.weights, strict=True)
    )
    return members, choice


def _comparable(tied: Sequence[Finalist]) -> tuple[list[Finalist], set[int]]:
    """Those of them that share a split with all that stand before them and repeat no recipe, and the splits that all of
    these ran.
    """
    pool, splits = [tied[0]], {record.split for record in tied[0].rounds}
    for finalist in tied[1:]:
        shared = splits & {record.split for record in finalist.rounds}
        if shared and all(finalist.recipe != other.recipe for other in pool):
            pool.append(finalist)
            splits = shared
    return pool, splits


def queue_refits(ledger: Ledger, plan: ExportPlan, home: Home) -> list[int]:
    """Queue one work item for each member and seed, the leader's first, and return their ids. What is refitted already,
    weights and all, is not done again. They are for workers that share this home, because that is where their weights
    are collected.
    """
    ids = []
    for member in plan.members:
        for seed in range(plan.seeds):
            work_id = ledger.queue.add(
                plan.study.id,
                WorkKind.REFIT,
                split=plan.split,
                seed=seed,
                recipe=member.recipe.to_flat(),
                home=home.identity(),
            )
            record = ledger.runs.record_of(work_id)
            if record is not None and (
                record.status is not TrialStatus.FINISHED or len(weight_files(home, plan.study, work_id)) < plan.models
            ):
                ledger.queue.reopen(work_id, home=home.identity())
            ids.append(work_id)
    return ids


def weight_files(home: Home, study: StoredStudy, work_id: int) -> list[Path]:
    """The fold models of a refit; empty where they are not on this host."""
    return sorted(ArtifactFolder(home.artifacts).weights(study.name, work_id).glob("fold*.safetensors"))
