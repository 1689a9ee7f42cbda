"""Plan of an export: its recipes and imports, and the trainings of each recipe.

`search.export.final_model` makes the final model of them, `search.export.files` writes it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from search.export.candidates.comparable import StudiesDiffer, check_allowed, check_comparable
from search.export.candidates.members import ExportMember, ImportedMember
from search.export.candidates.pool import Pool, predictions_of, read_pool
from search.runtime.commands import completed
from search.runtime.home import Home
from search.runtime.kept_networks import kept_networks
from search.statistics.blending.ensemble_selection import Choice, PossibleMember, choose_members
from search.statistics.blending.second_stage import TWO_STAGE
from search.statistics.estimates import Estimates
from search.statistics.member_names import MemberName
from search.statistics.ranking import NothingFinished
from search.study_setup.second_study import NotAdopted, require_adopted
from search.study_state.study import Study, read_study
from search.study_state.study_targets import read_folds, read_targets
from storage.stores import Stores
from storage.values import FULL_DATA_SPLIT, TrialRecord, TrialStatus, WorkKind
from trainer.evaluation.confusion.confusable_groups import Groups
from trainer.recipe.recipe import LINEAR_PROBE, Recipe


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """The members of a final model, and how often each recipe is trained."""

    study: Study
    """The study that the export belongs to; its ``[final]`` table applies."""
    other_studies: tuple[Study, ...] = ()
    """Further studies whose recipes and imports may take part."""
    members: tuple[ExportMember, ...]
    """The leader first."""
    imported: tuple[ImportedMember, ...] = ()
    choice: Choice
    """Why these members were chosen."""
    estimates: Estimates | None
    """Of the confirmed recipes; None if none was confirmed."""
    seeds: int
    """Least number of trainings of a member. Those of search and confirmation count if their networks are kept."""
    full_data: bool
    short_of_time: bool = False
    """Whether the deadline limits the number of members."""
    notes: tuple[str, ...] = ()
    """Doubts about the choice, a sentence each."""

    @property
    def second_stage(self) -> Groups:
        """Groups of classes that the second of two members tells apart; empty: there is no second stage."""
        return self.study.spec.class_groups

    @property
    def studies(self) -> tuple[Study, ...]:
        """All studies that may take part, the export's own first."""
        return (self.study, *self.other_studies)

    @property
    def leader(self) -> ExportMember:
        """The best recipe by itself."""
        return self.members[0]

    @property
    def split(self) -> int:
        """The split of refits: that of the search, or `FULL_DATA_SPLIT`."""
        return FULL_DATA_SPLIT if self.full_data else self.leader.trial.split

    @property
    def networks_per_training(self) -> int:
        """Number of networks of one training: one a fold, or a single one of all images."""
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
    other_studies: Sequence[Study] = (),
    home: Home | None = None,
    ready: bool = False,
) -> ExportPlan:
    """Choose the members: confirmed recipes if there are any, else the best trial of the search, and imports.

    Args:
        seeds: least number of trainings of each recipe; None: as the study sets it.
        members_at_most: number of recipes that the deadline leaves time to refit; None: any. The leader always stays.
        other_studies: further studies of the same images, folds and metric, whose recipes may take part.
        home: folder of kept networks, whose trials may take part unconfirmed (see `search.export.candidates.pool`);
            None: no such trials. With ``full_data`` none take part either.
        ready: choose only among recipes whose networks are in ``home``, as they were trained, so that nothing is left
            to train.

    Raises:
        NothingFinished: no trial has finished, or none that is ``ready``.
        StudiesDiffer: the studies cannot be compared, or one forbids what another has learned from.
        NotAdopted: a second study has not helped, or the export would train it on all images or with other seeds.
    """
    check_allowed(stores, (study, *other_studies), home)
    for each in (study, *other_studies) if full_data else ():
        if each.second is not None:
            raise NotAdopted(
                f"study {each.name} trains with {each.second.name}, and was compared fold by fold: nothing is known of "
                "a training on all images. Leave --full-data out"
            )
    if any(each.is_second_stage for each in (study, *other_studies)):
        return _plan_two_stages(stores, study, other_studies, seeds)
    pool = read_pool(stores, (study, *other_studies), None if full_data else home, as_trained=ready)
    if ready:
        assert home is not None, "networks that are ready lie in a home"
        pool = _ready(pool, study, home)
    final = study.spec.final
    limit = final.members if members_at_most is None else min(final.members, members_at_most)
    choice = _choose(stores, study, pool, max(1, limit))
    blend_weights = dict(zip(choice.names, choice.blend_weights, strict=True))
    return ExportPlan(
        study=study,
        other_studies=tuple(other_studies),
        members=tuple(replace(m, weight=blend_weights[m.name]) for m in pool.recipes if m.name in blend_weights),
        imported=tuple(replace(m, weight=blend_weights[m.name]) for m in pool.imported if m.name in blend_weights),
        choice=choice,
        estimates=pool.estimates,
        seeds=seeds or final.seeds,
        full_data=full_data,
        short_of_time=final.ensemble != "none" and limit < min(final.members, len(pool.recipes)),
        notes=pool.notes,
    )


def _plan_two_stages(stores: Stores, study: Study, other_studies: Sequence[Study], seeds: int | None) -> ExportPlan:
    """The recipe of the first study with its second stage, as they were compared.

    Raises:
        StudiesDiffer: other studies than these two would take part.
        NotAdopted: the second stage has not helped, or a number of trainings is asked for.
        NothingFinished: a trial is not in the database any more.
    """
    if not study.is_second_stage or any(other.name != study.first for other in other_studies):
        stage = next(each for each in (study, *other_studies) if each.is_second_stage)
        raise StudiesDiffer(
            f"study {stage.name} is a second stage of {stage.first}, and shares the probabilities of its best recipe "
            f"alone: `search export-best --study {stage.name}` exports both, without other studies"
        )
    if seeds is not None:
        raise NotAdopted(
            f"study {study.name} is exported with the seeds with which it was compared: leave --seeds out. "
            f"`search export-best --study {study.first} --seeds {seeds}` trains more of the first stage, and a new "
            "second study then has as many"
        )
    first = read_study(stores, study.first)
    check_comparable([study, first])
    found = require_adopted(stores, study)
    assert found is not None, "it is a second study"
    recipe = Recipe.from_flat(dict(study.spec.recipe))
    number = int(study.spec.begun_from.rpartition(":")[2])
    members = tuple(
        ExportMember(
            name=MemberName(trial=trial.number, study=own.name, is_probe=trial.is_probe),
            study=own,
            trial=trial,
            recipe=recipe,
            weight=weight,
        )
        for own, trial, weight in (
            (first, _finished_trial(stores, first, number), 1.0),
            (study, _finished_trial(stores, study, None), 0.0),
        )
    )
    names = tuple(member.name for member in members)
    return ExportPlan(
        study=study,
        other_studies=(first,),
        members=members,
        choice=Choice(names=names, blend_weights=(1.0, 0.0), method=TWO_STAGE, scored=names, gain=found.gain),
        estimates=None,
        seeds=found.seeds,
        full_data=False,
    )


def _finished_trial(stores: Stores, study: Study, number: int | None) -> TrialRecord:
    """A finished trial of the search; None: any, of a study that has one."""
    for record in stores.trials.records(study.id, kind=WorkKind.SEARCH, status=TrialStatus.FINISHED):
        if number in (None, record.number):
            return record
    wanted = "its trial" if number is None else f"trial {number}"
    raise NothingFinished(f"{wanted} of study {study.name} has not finished, so there is nothing to export")


def _ready(pool: Pool, study: Study, home: Home) -> Pool:
    """The pool without the recipes that would have to be trained."""
    recipes = [m for m in pool.recipes if any(_is_complete(r, m, home) for r in m.trainings)]
    if not recipes:
        command = completed(f"search export-best --study {study.name}")
        raise NothingFinished(
            f"{home.root} holds the networks of no finished training of study {study.name}, so nothing can be exported "
            f"without a training: `{command}` trains the best recipe again and exports it; the home folder of the "
            "search (--home) may hold its networks"
        )
    return replace(pool, recipes=tuple(recipes))


def _choose(stores: Stores, study: Study, pool: Pool, at_most: int) -> Choice:
    """Choose the members from the pool; its first recipe leads."""
    if len(pool.all_members) == 1 and pool.estimates is None:
        note = "no recipe was confirmed on fresh splits"
        return Choice(names=(pool.recipes[0].name,), blend_weights=(1.0,), method="none", note=note)
    return choose_members(
        [
            PossibleMember(name=member.name, backbone=member.backbone, oof=predictions_of(stores, member))
            for member in pool.all_members
        ],
        read_targets(stores, study),
        read_folds(stores, study, pool.split),
        study.metric,
        study.spec.final.ensemble,
        at_most,
    )


def missing_refits(stores: Stores, plan: ExportPlan, home: Home) -> int:
    """Number of trainings still to do, over all members: refits that have not finished, or lack their networks."""
    missing = 0
    for member, (_, seeds) in zip(plan.members, _trainings(plan, home), strict=True):
        refits = stores.trials.records(member.study.id, kind=WorkKind.REFIT, status=TrialStatus.FINISHED)
        recipe = member.recipe.to_flat()
        own = [r for r in refits if r.recipe == recipe and r.split == plan.split]
        done = {r.seed for r in own if len(kept_networks(home, member.study.name, r)) == plan.networks_per_training}
        missing += len(set(seeds) - done)
    return missing


def queue_refits(stores: Stores, plan: ExportPlan, home: Home) -> list[tuple[int, ...]]:
    """Queue the missing refits, the leader's first, each in the study that found its recipe.

    Finished refits whose weights are in ``home`` are not repeated. Refits are for workers that share this home, because
    the export collects the weights there.

    Returns:
        By member, the work items whose networks make the final model: the trainings of search and confirmation whose
        networks are in ``home``, and the refits.
    """
    return [
        (*(record.work_id for record in kept), *(_queue_refit(stores, plan, member, seed, home) for seed in seeds))
        for member, (kept, seeds) in zip(plan.members, _trainings(plan, home), strict=True)
    ]


def _trainings(plan: ExportPlan, home: Home) -> list[tuple[tuple[TrialRecord, ...], list[int]]]:
    """By member: the trainings whose networks are in ``home``, and the seeds of the missing refits.

    All members share the split and seed of at least one training, so that its predictions can be blended.
    """
    kept = [() if plan.full_data else _kept(plan, member, home) for member in plan.members]
    if plan.second_stage:  # those that were compared
        compared = plan.study.spec.compared_seeds
        kept = [tuple(r for r in records if r.seed in compared) for records in kept]
        return [(records, [s for s in compared if all(r.seed != s for r in records)]) for records in kept]
    used = {record.seed for records in kept for record in records}
    shared = set.intersection(*({(record.split, record.seed) for record in records} for records in kept))
    first = plan.leader.trial.seed
    trainings = []
    for member, records in zip(plan.members, kept, strict=True):
        done = {(record.split, record.seed) for record in records}
        common = [] if shared or not used or (plan.split, first) in done else [first]
        fresh = (seed for seed in itertools.count() if seed not in {*used, *common})
        # The seed changes nothing in a linear probe.
        seeds = 1 if member.recipe.method == LINEAR_PROBE else plan.seeds
        missing = max(0, seeds - len(records) - len(common))
        trainings.append((records, [*common, *itertools.islice(fresh, missing)]))
    return trainings


def _kept(plan: ExportPlan, member: ExportMember, home: Home) -> tuple[TrialRecord, ...]:
    return tuple(r for r in member.trainings if _is_complete(r, member, home))


def _is_complete(record: TrialRecord, member: ExportMember, home: Home) -> bool:
    """Whether the networks of all folds of a training are in ``home``."""
    return len(kept_networks(home, member.study.name, record)) == member.study.protocol.folds


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
    if record is not None and (
        record.status is not TrialStatus.FINISHED
        or len(kept_networks(home, member.study.name, record)) < plan.networks_per_training
    ):
        stores.queue.reopen(work_id, home=home.identity())
    return work_id
