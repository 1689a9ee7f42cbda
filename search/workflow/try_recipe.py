"""``search try``: queues a recipe given by hand for the next free worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from search.report.live.progress import difference
from search.runtime.console import note, open_console, say
from search.runtime.errors import SearchError
from search.study_state.optuna_attributes import EPOCHS_ATTRIBUTE, ORIGIN_ATTRIBUTE
from search.study_state.snapshot import read_snapshot
from search.study_state.study import Study, read_study, require_search
from search.tuning.restore_optuna import optuna_study, record_enqueued
from search.tuning.warm_starts import BY_HAND
from storage.stores import Stores, open_stores
from storage.values import StudyState
from studies.errors import StudyError
from studies.file.document import known_field, shorten
from studies.file.overrides import parse_value
from studies.space.fit_recipe import Fit, fit
from studies.space.parse_dimensions import check_value
from studies.spec import StudySpec
from trainer.recipe.recipe import RecipeError, Scalar


class CannotTry(SearchError):
    """The recipe is not in the search space, or another trial has it."""


def try_recipe(request: TryRequest) -> None:
    """Queue the default recipe, or that of a trial, with some fields changed; raise the budget by one trial.

    Raises:
        CannotTry: a field is not sampled, a value is outside its range, or another trial has the recipe. Nothing was
            queued.
        UnknownStudyError, NoStudy: there is no such study.
    """
    stores, console = open_stores(request.storage_url), open_console()
    study = require_search(read_study(stores, request.study), "adds")
    spec = study.spec
    backend = optuna_study(stores, study.stored)
    trials = backend.get_trials(deepcopy=False)
    like = spec.default_recipe() if request.like is None else _recipe_of(spec, trials, request.like)
    wanted = _wanted(spec, study.name, request.assignments)
    found = fit(spec.space, spec.recipe, wanted, like=like)
    assert found is not None, "there is no condition that could fail"
    if found.misfits:
        raise CannotTry("\n".join(f"study {study.name}: {misfit}" for misfit in found.misfits))
    _refuse_duplicate(trials, found.params)
    number = _enqueue(stores, study, backend, found, request.like)
    changes = difference(found.settings, spec.default_recipe()) or "the default recipe"
    say(console, f"Trial {number} of study {study.name} waits: {changes}")
    for field in [field for field in like if field not in wanted and found.settings[field] != like[field]]:
        note(console, f"{field} = {like[field]} does not fit the other settings, so it is {found.settings[field]}")
    _print_what_runs_it(stores, console, study)


def parameters_of(trial: FrozenTrial) -> Mapping[str, Scalar]:
    """Sampled values of a trial by parameter name; of an enqueued trial that has not started, its fixed values."""
    fixed: Mapping[str, Scalar] = trial.system_attrs.get("fixed_params", {})
    return trial.params or fixed


def _recipe_of(spec: StudySpec, trials: Sequence[FrozenTrial], number: int) -> Mapping[str, Scalar]:
    if number >= len(trials):
        raise CannotTry(f"--like {number}: the trials of this study have the numbers 0 to {len(trials) - 1}")
    try:
        return spec.assemble(parameters_of(trials[number]))
    except StudyError as error:
        raise CannotTry(f"--like {number}: that trial has no recipe yet") from error


def _wanted(spec: StudySpec, name: str, assignments: Sequence[str]) -> dict[str, Scalar]:
    """The assigned fields, each checked by itself.

    Raises:
        CannotTry: lists every invalid assignment.
    """
    sampled = dict.fromkeys(dimension.field for dimension in spec.space)
    wanted: dict[str, Scalar] = {}
    problems = []
    for text in assignments:
        left, equals, given = text.partition("=")
        field = left.strip().replace('"', "").removeprefix("recipe.")
        try:
            if not equals or not given.strip():
                raise RecipeError("give FIELD=VALUE, such as optimizer.lr=1e-3")
            wanted[field] = check_value(known_field(field), parse_value(given.strip()))
        except RecipeError as error:
            problems.append(f"--set {shorten(text)}: {error}")
            continue
        if field not in sampled:
            problems.append(
                f"--set {shorten(text)}: {field} is {spec.recipe[field]} in every trial of study {name}. "
                f"Sampled are: {', '.join(sampled) or 'no fields'}. A new study can fix another value: search start "
                f"--study FILE --name NEW --from {name} --set recipe.{field}={given.strip()}"
            )
    if problems:
        raise CannotTry("\n".join(problems))
    return wanted


def _refuse_duplicate(trials: Sequence[FrozenTrial], params: Mapping[str, Scalar]) -> None:
    for trial in trials:
        if trial.state is not TrialState.FAIL and parameters_of(trial) == params:
            state = {TrialState.WAITING: "waits to be run", TrialState.RUNNING: "is running"}
            raise CannotTry(f"trial {trial.number} has this recipe already; it {state.get(trial.state, 'has ended')}")


def _enqueue(stores: Stores, study: Study, backend: optuna.Study, found: Fit, like: int | None) -> int:
    """Queue the recipe, then raise the budget; returns the trial's number.

    In this order, because a crash in between then costs a sampled trial and not this one.
    """
    origin = BY_HAND if like is None else f"{BY_HAND}: like trial {like}"
    before = len(backend.get_trials(deepcopy=False))
    backend.enqueue_trial(
        dict(found.params), user_attrs={EPOCHS_ATTRIBUTE: found.settings["epochs"], ORIGIN_ATTRIBUTE: origin}
    )
    stores.studies.grow_budget(study.id)
    record_enqueued(stores, study.id, backend)
    added = backend.get_trials(deepcopy=False)[before:]
    return next(trial.number for trial in added if parameters_of(trial) == found.params)


def _print_what_runs_it(stores: Stores, console: Console, study: Study) -> None:
    """Print whether a worker will run the queued trial, else the command that makes one run it."""
    snapshot, command = read_snapshot(stores, study.name), f"`search start --study {study.name}"
    if study.state is not StudyState.RUNNING:
        say(console, f"The study is {study.state}: `search resume --study {study.name}` continues it.")
    elif not snapshot.in_time_for_trial:
        say(console, f"The study's deadline leaves no time for it: {command} --hours H` sets another.")
    elif not stores.queue.may_begin(study.id):
        needed = snapshot.counted + snapshot.running + snapshot.waiting + snapshot.trials_paused + 1
        say(console, f"The budget is used up: {command} --trials {needed}` runs it.")
    elif snapshot.workers:
        say(console, f"{snapshot.workers} worker(s) are available; the next free one runs it.")
    else:
        say(console, f"No worker is running: {command}` runs it.")


@dataclass(frozen=True, kw_only=True)
class TryRequest:
    """Options of ``search try``. None: not given."""

    study: str | None
    storage_url: str
    assignments: Sequence[str]
    """``FIELD=VALUE``, as given."""
    like: int | None
    """Number of the trial whose recipe gives the fields without an assignment; None: the default recipe."""
