"""What is exported: which recipes, how often trained. `search.export.final_model` gathers them,
`search.export.files` writes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from search.export.members import ExportMember, ImportedMember
from search.export.pool import Pool, predictions_of, read_pool
from search.runtime.home import Home
from search.statistics.ensemble_selection import Choice, PossibleMember, choose_members
from search.statistics.estimates import Estimates
from search.study_state.study import Study
from search.study_state.study_targets import read_folds, read_targets
from storage.artifacts import ArtifactFolder
from storage.stores import Stores
from storage.values import FULL_DATA_SPLIT, TrialRecord, TrialStatus, WorkKind


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """What is to be refitted, and blended with what was imported."""

    study: Study
    """Whose export it is; how it is made is as this study's ``[final]`` says."""
    also: tuple[Study, ...] = ()
    """Further studies whose recipes and imports may take part."""
    members: tuple[ExportMember, ...]
    """The leader first."""
    imported: tuple[ImportedMember, ...] = ()
    choice: Choice
    """Why these."""
    estimates: Estimates | None
    """Of the confirmed recipes; None where none was confirmed."""
    seeds: int
    """Trainings of each member at least; those of search and confirmation count where their networks are at hand."""
    full_data: bool
    short_of_time: bool = False
    """Whether fewer members are refitted than might have been, because of the deadline."""
    notes: tuple[str, ...] = ()
    """What to doubt of the choice, for people."""

    @property
    def studies(self) -> tuple[Study, ...]:
        """All that may take part, the export's own first."""
        return (self.study, *self.also)

    @property
    def leader(self) -> ExportMember:
        """The best recipe by itself."""
        return self.members[0]

    @property
    def split(self) -> int:
        """The split of refits: that of the search, or none."""
        return FULL_DATA_SPLIT if self.full_data else self.leader.trial.split

    @property
    def models(self) -> int:
        """Networks of one training."""
        return 1 if self.full_data else self.study.protocol.folds

    @property
    def metric(self) -> str:
        """What the study maximises."""
        return self.study.metric


def plan_export(
    stores: Stores,
    study: Study,
    *,
    seeds: int | None,
    full_data: bool,
    members_at_most: int | None = None,
    also: Sequence[Study] = (),
    home: Home | None = None,
) -> ExportPlan:
    """Choose the members: among the confirmed recipes where there are any, else the best trial of the search, and among
    what was imported.

    Args:
        seeds: trainings of each recipe at least; None: as the study says.
        members_at_most: recipes for whose refits there is time; None: any number. The leader is exported in any case.
        also: further studies of the same images, folds and metric, whose recipes may take part.
        home: whose kept networks may take part, see `search.export.pool`; None: nobody's. A model that is trained on
        all
            images takes none.

    Raises:
        NothingFinished: no trial has finished.
        StudiesDiffer: the studies cannot be compared.
    """
    pool = read_pool(stores, (study, *also), None if full_data else home)
    final = study.spec.final
    limit = final.members if members_at_most is None else min(final.members, members_at_most)
    choice = _choose(stores, study, pool, max(1, limit))
    blend_weights = dict(zip(choice.names, choice.blend_weights, strict=True))
    return ExportPlan(
        study=study,
        also=tuple(also),
        members=tuple(replace(m, weight=blend_weights[m.name]) for m in pool.recipes if m.name in blend_weights),
        imported=tuple(replace(m, weight=blend_weights[m.name]) for m in pool.imported if m.name in blend_weights),
        choice=choice,
        estimates=pool.estimates,
        seeds=seeds or final.seeds,
        full_data=full_data,
        short_of_time=final.ensemble != "none" and limit < min(final.members, len(pool.recipes)),
        notes=pool.notes,
    )


def _choose(stores: Stores, study: Study, pool: Pool, at_most: int) -> Choice:
    """The members among the possible ones, of which the first leads."""
    if len(pool.everyone) == 1 and pool.estimates is None:
        note = "no recipe was confirmed on fresh splits"
        return Choice(names=(pool.recipes[0].name,), blend_weights=(1.0,), method="none", note=note)
    return choose_members(
        [
            PossibleMember(name=member.name, backbone=member.backbone, oof=predictions_of(stores, member))
            for member in pool.everyone
        ],
        read_targets(stores, study),
        read_folds(stores, study, pool.split),
        study.metric,
        study.spec.final.ensemble,
        at_most,
    )


def missing_refits(plan: ExportPlan, home: Home) -> int:
    """How many trainings there are still to be done, for all members."""
    return sum(len(seeds) for _, seeds in _trainings(plan, home))


def queue_refits(stores: Stores, plan: ExportPlan, home: Home) -> list[tuple[int, ...]]:
    """The work items whose networks make the final model, those of each member: its trainings in search and
    confirmation whose networks are in ``home``, and as many refits as are missing of the plan's seeds. These are
    queued, the leader's first, in the study that found the recipe.

    What is refitted already, weights and all, is not done again. Refits are for workers that share this home, because
    that is where their weights are collected.
    """
    return [
        (*(record.work_id for record in kept), *(_queue_refit(stores, plan, member, seed, home) for seed in seeds))
        for member, (kept, seeds) in zip(plan.members, _trainings(plan, home), strict=True)
    ]


def _trainings(plan: ExportPlan, home: Home) -> list[tuple[tuple[TrialRecord, ...], list[int]]]:
    """Of each member: the trainings whose networks are in ``home``, and the seeds of the refits that are missing.

    At least one training has the same split and seed for all, so that predictions of one training can be blended.
    """
    kept = [() if plan.full_data else _kept(plan, member, home) for member in plan.members]
    used = {record.seed for records in kept for record in records}
    shared = set.intersection(*({(record.split, record.seed) for record in records} for records in kept))
    first = plan.leader.trial.seed
    wanted = []
    for records in kept:
        own = {(record.split, record.seed) for record in records}
        begin = [] if shared or not used or (plan.split, first) in own else [first]
        fresh = (seed for seed in itertools.count() if seed not in {*used, *begin})
        missing = max(0, plan.seeds - len(records) - len(begin))
        wanted.append((records, [*begin, *itertools.islice(fresh, missing)]))
    return wanted


def _kept(plan: ExportPlan, member: ExportMember, home: Home) -> tuple[TrialRecord, ...]:
    return tuple(r for r in member.trainings if len(weight_files(home, member.study, r.work_id)) == plan.models)


def _queue_refit(stores: Stores, plan: ExportPlan, member: ExportMember, seed: int, home: Home) -> int:
    work_id = stores.queue.add(
        member.study.id,
        WorkKind.REFIT,
        split=plan.split,
        seed=seed,
        recipe=member.recipe.to_flat(),
        home=home.identity(),
    )
    record = stores.trials.record_of(work_id)
    weights = weight_files(home, member.study, work_id)
    if record is not None and (record.status is not TrialStatus.FINISHED or len(weights) < plan.models):
        stores.queue.reopen(work_id, home=home.identity())
    return work_id


def weight_files(home: Home, study: Study, work_id: int) -> list[Path]:
    """The fold models of a training; empty where they are not on this host."""
    return ArtifactFolder(home.artifacts).kept_weights(study.name, work_id)
