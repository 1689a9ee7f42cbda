"""The end of a study with a deadline: as many refits as fit, and an export of what has finished."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from rich.console import Console

from search.export.plan import ExportPlan, missing_refits, plan_export, queue_refits
from search.runtime.console import note, say
from search.runtime.home import Home
from search.statistics.member_names import members_named
from search.statistics.ranking import NothingFinished
from search.study_state.snapshot import StudySnapshot
from search.study_state.study import Study
from search.study_state.time_budget import export_seconds
from search.study_state.time_left import refits_before_deadline
from storage.stores import Stores
from storage.values import WorkKind

SEEDS_IN_LEFT_TIME = 5
"""Trainings of a recipe up to which time that is left before a deadline is used; further ones hardly gain."""

Ids = list[tuple[int, ...]]
"""Work items by member, see `search.export.plan.queue_refits`."""


def export_is_due(stores: Stores) -> Callable[[StudySnapshot], bool]:
    """A condition on a study with a deadline: the export has to begin now."""

    def due(snapshot: StudySnapshot) -> bool:
        study = snapshot.study
        if study.deadline is None:
            return False
        return stores.database.now() >= study.deadline - export_seconds(study.deadline - study.period_began)

    return due


def plan_in_time(stores: Stores, study: Study, home: Home, console: Console) -> ExportPlan:
    """The largest export that fits before the deadline: first fewer seeds, then fewer recipes, then no refit at all.

    Trainings of the search and the confirmation are done, so only missing refits take time. Time that is left trains
    further seeds, up to `SEEDS_IN_LEFT_TIME`.

    Raises:
        NothingFinished: no trial has finished.
    """
    plan = plan_export(stores, study, seeds=None, full_data=False, home=home)
    fitting = refits_before_deadline(stores, study)
    if fitting is None:
        return plan
    for fewer in _smaller_plans(stores, study, replace(plan, seeds=max(plan.seeds, SEEDS_IN_LEFT_TIME)), home):
        if missing_refits(stores, fewer, home) <= fitting:
            if fewer.seeds < plan.seeds:
                note(console, f"the deadline leaves time for {fewer.seeds} of {plan.seeds} trainings of each recipe")
            elif fewer.seeds > plan.seeds and missing_refits(stores, fewer, home):
                say(console, f"Time is left: each recipe is trained {fewer.seeds} times instead of {plan.seeds}.")
            return fewer
    return _ready_plan(stores, study, home, console, otherwise=replace(plan, seeds=1))


def say_refits(stores: Stores, plan: ExportPlan, home: Home, console: Console) -> None:
    """Print which trainings the final model still needs, and how long the leader's is; nothing if it needs none.

    ``[final]`` may set more epochs or larger images than the search had.
    """
    missing = missing_refits(stores, plan, home)
    if not missing:
        return
    recipe, searched = plan.leader.recipe, plan.leader.trial.recipe or {}
    sizes = {"epochs": recipe.epochs, "image_size": recipe.image_size}
    changed = [f"final.{name} = {value}" for name, value in sizes.items() if value != searched.get(name)]
    trainings = "1 more training" if missing == 1 else f"{missing} more trainings"
    names = members_named([member.name for member in plan.members])
    length = f"{recipe.epochs} epoch{'s' * (recipe.epochs != 1)} at {recipe.image_size} px"
    length += f" ({', '.join(changed)})" * bool(changed)
    make = "makes" if missing == 1 else "make"
    about_length = f"; those of {plan.leader.name} learn for" if len(plan.members) > 1 else ":"
    say(
        console,
        f"For the final model, {trainings} of {names} {make} {_networks(plan, missing)}{about_length} {length}.",
    )


def _networks(plan: ExportPlan, trainings: int) -> str:
    """How many networks some trainings make, and of which images."""
    count = trainings * plan.networks_per_training
    networks = f"{count} network{'s' * (count != 1)}"
    return f"{networks} of all images" if plan.full_data else f"{networks}, one a fold{' in each' * (trainings > 1)}"


def plan_of_finished(
    stores: Stores, plan: ExportPlan, ids: Ids, home: Home, console: Console
) -> tuple[ExportPlan, Ids]:
    """The plan without the refits that the deadline has cut off, and its work items.

    Refits that have not begun are withdrawn.

    Raises:
        NothingFinished: nothing that could be exported has finished.
    """
    if all(stores.trials.record_of(work_id) is not None for member in ids for work_id in member):
        return plan, ids
    for study in plan.studies:
        for item in stores.queue.waiting(study.id, WorkKind.REFIT):
            stores.queue.withdraw(item.id)
    for fewer in _smaller_plans(stores, plan.study, plan, home):
        if not missing_refits(stores, fewer, home):
            break
    else:
        fewer = _ready_plan(stores, plan.study, home, console)
    note(console, "the deadline came before the end of all refits; the export holds what has finished")
    return fewer, queue_refits(stores, fewer, home)


def _smaller_plans(stores: Stores, study: Study, plan: ExportPlan, home: Home) -> Iterator[ExportPlan]:
    """The plan with fewer and fewer seeds, then with fewer and fewer members that are trained once."""
    for seeds in range(plan.seeds, 0, -1):
        yield replace(plan, seeds=seeds)
    for members in range(len(plan.members) - 1, 0, -1):
        yield plan_export(stores, study, seeds=1, full_data=False, members_at_most=members, home=home)


def _ready_plan(
    stores: Stores, study: Study, home: Home, console: Console, otherwise: ExportPlan | None = None
) -> ExportPlan:
    """The best export that needs no training; if there is none, ``otherwise``."""
    try:
        plan = plan_export(stores, study, seeds=1, full_data=False, home=home, ready=True)
    except NothingFinished:
        if otherwise is None:
            raise
        return otherwise
    final = study.spec.final
    changed = [f"final.epochs = {final.epochs}"] * bool(final.epochs)
    changed += [f"final.image_size = {final.image_size}"] * bool(final.image_size)
    if changed:
        note(console, f"no time for a refit with {' and '.join(changed)}: the networks of the search are exported")
    return plan
