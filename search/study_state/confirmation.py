"""The confirmation of a study: what the database says of its finalists, their next round, and the stage as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console

from search.report.progress import trials_named
from search.runtime.console import note, say
from search.runtime.home import Home
from search.statistics.estimates import Estimates
from search.statistics.ranking import Candidate, rank
from search.study_state.confirmation_schedule import (
    DEFAULT_TRIAL,
    TRIALS_PER_FINALIST,
    Contender,
    Step,
    choose_finalists,
    finalist_count,
    money_for,
    next_step,
)
from search.study_state.finalists import TRIAL_NOTE, Finalist, finalists_of, judge_finalists
from search.study_state.snapshot import Standing, candidates, read_costs
from search.study_state.time_budget import confirmations_in_time
from search.study_state.training_costs import correction, final_recipe, length_ratio
from storage.artifacts import ArtifactFolder
from storage.database.outages import patiently
from storage.records.studies import StoredStudy
from storage.stores import Ledger
from storage.values import TrialRecord, TrialStatus, WorkKind, recipe_hash
from studies.spec import StudySpec
from trainer.common.errors import DataError
from trainer.common.randomness import random_key
from trainer.data.folds import fold_groups, make_folds
from trainer.data.image_set import ImageSet

Until = Callable[[Callable[[Standing], bool]], None]
"""Waits until a study stands as asked, see `search.workflow.watch.watch`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Confirmation:
    """A study's confirmation as the database has it."""

    study: StoredStudy
    spec: StudySpec
    trials: dict[int, TrialRecord]
    """Finished search trials by number."""
    numbers: tuple[int, ...]
    """Of the trials that are to be confirmed; none: too few have ended, or no confirmation is wanted."""
    ranking: tuple[Candidate, ...]
    """Finished search trials by the search's own scores, the best first."""
    counted: int
    """Trials that count against the budget and have ended."""
    finalists: tuple[Finalist, ...]
    """Those with a finished confirmation, as long as the export will train them."""
    broken: tuple[TrialRecord, ...]
    """Confirmations that failed or diverged."""
    seconds: float
    """What all search trials took."""
    spent: float
    """What all confirmations took."""

    @property
    def best(self) -> int | None:
        """The trial that is best by the search's own scores; None before any has finished."""
        return self.ranking[0].number if self.ranking else None

    def final_recipe(self, number: int) -> dict[str, object]:
        """The flat recipe with which a finished trial is confirmed."""
        return dict(final_recipe(self.trials[number].recipe or {}, self.spec.final).to_flat())


def read_confirmation(ledger: Ledger, name: str) -> Confirmation:
    """How the confirmation of the study called ``name`` stands.

    Raises:
        UnknownStudyError: there is no such study.
    """
    study = ledger.studies.get(name)
    spec = StudySpec.from_dict(study.spec)
    records = ledger.runs.records(study.id, kind=WorkKind.SEARCH)
    trials = {r.number: r for r in records if r.status is TrialStatus.FINISHED and r.number is not None}
    finals = {n: final_recipe(r.recipe or {}, spec.final).to_flat() for n, r in trials.items()}
    confirmations = ledger.runs.records(study.id, kind=WorkKind.CONFIRM)
    # Those of another [final] are of other trainings than the one that will be exported.
    current = [r for r in confirmations if finals.get(r.note.get(TRIAL_NOTE, -1)) == r.recipe]
    finalists = finalists_of(trials, (r for r in current if r.status is TrialStatus.FINISHED))
    counted = sum(record.counts for record in records)
    ranking = rank(candidates(records, spec.protocol.metric))
    numbers = choose_finalists(
        [candidate.number for candidate in ranking],
        {number: recipe_hash(recipe) for number, recipe in finals.items()},
        finalist_count(counted, spec.confirm),
        [finalist.number for finalist in finalists],
    )
    return Confirmation(
        study=study,
        spec=spec,
        trials=trials,
        numbers=tuple(numbers),
        ranking=tuple(ranking),
        counted=counted,
        finalists=tuple(finalists),
        broken=tuple(r for r in current if r.status is not TrialStatus.FINISHED),
        seconds=sum(record.seconds for record in records),
        spent=sum(record.seconds for record in confirmations),
    )


def plan_step(ledger: Ledger, confirmation: Confirmation, estimates: Estimates | None) -> Step:
    """What is run next, by what has come out and what it cost.

    Args:
        estimates: of the finalists; None while there are none.
    """
    study, settings = confirmation.study, confirmation.spec.confirm
    at_once = None
    if study.deadline is not None:
        at_once = confirmations_in_time(read_costs(ledger, study), now=ledger.database.now(), deadline=study.deadline)
    return next_step(
        _contenders(confirmation, estimates),
        rounds=settings.rounds,
        money=money_for(confirmation.seconds, settings.share) - confirmation.spent,
        at_once=at_once,
    )


def _contenders(confirmation: Confirmation, estimates: Estimates | None) -> list[Contender]:
    """As `next_step` wants them: who has not run in the order of the search, who has by the estimates."""
    splits = {f.number: frozenset(r.split for r in f.rounds) for f in confirmation.finalists}
    foretold = {number: _foretold(confirmation, number) for number in confirmation.numbers}
    ran = [(_foretold(confirmation, f.number), r.seconds) for f in confirmation.finalists for r in f.rounds]
    factor = correction([cost for cost, _ in ran], [seconds for _, seconds in ran])
    rows = {} if estimates is None else {row.number: row for row in estimates.rows}
    order = [*[n for n in confirmation.numbers if n not in rows], *[n for n in rows if n in foretold]]
    dropped = {record.note[TRIAL_NOTE] for record in confirmation.broken}
    return [
        Contender(
            number=number,
            seconds=foretold[number] * factor,
            splits=splits.get(number, frozenset()),
            needed=number in (confirmation.numbers[0], DEFAULT_TRIAL),
            fallen=number in rows and rows[number].fallen,
            dropped=number in dropped,
        )
        for number in order
    ]


def _foretold(confirmation: Confirmation, number: int) -> float:
    trial = confirmation.trials[number]
    return trial.seconds * length_ratio(trial.recipe or {}, confirmation.spec.final)


def queue_step(ledger: Ledger, confirmation: Confirmation, step: Step, images: ImageSet) -> None:
    """Queue what a step says, for any worker; what is queued already stays as it is.

    Raises:
        DataError: the images cannot be divided another time.
    """
    study = confirmation.study
    for split in {split for _, split in step.items}:
        freeze_split(ledger, study, split, images)
    for number, split in step.items:
        ledger.queue.add(
            study.id,
            WorkKind.CONFIRM,
            split=split,
            seed=split,
            recipe=confirmation.final_recipe(number),
            note={TRIAL_NOTE: number},
        )


def freeze_split(ledger: Ledger, study: StoredStudy, split: int, images: ImageSet) -> None:
    """Divide the images anew, unless this split of them exists. What stays together is the same as in the search, also
    where its folds were imported.

    Raises:
        DataError: they cannot be divided so.
    """
    protocol = StudySpec.from_dict(study.spec).protocol
    key = {"n_folds": protocol.folds, "split": split, "seed": protocol.split_seed}
    if ledger.datasets.folds(study.fingerprint, **key) is not None:
        return
    duplicates = ledger.datasets.get(study.fingerprint).groups
    assert duplicates is not None, "duplicates are looked for before a study begins"
    seed = random_key("split", protocol.split_seed, split)
    folds = make_folds(images.y, fold_groups(images, duplicates), protocol.folds, seed)
    ledger.datasets.freeze_folds(study.fingerprint, folds, **key)


def confirmations_are_over(standing: Standing) -> bool:
    """Whether every confirmation that was asked for has ended, or no other can be begun in time."""
    if standing.paused and standing.confirms_open:
        return False
    return not standing.confirms_open or not (standing.confirms_running or standing.in_time_to_confirm)


def run_confirmation(
    ledger: Ledger, study: StoredStudy, images: ImageSet, home: Home, until: Until, console: Console
) -> None:
    """Confirm a study's finalists, round after round, and say how it goes. Interrupted and called again it goes on.

    Args:
        home: from which checkpoints and weights are removed of what is given up.

    Raises:
        Whatever ``until`` does.
    """
    confirmation = patiently(lambda: read_confirmation(ledger, study.name))
    reason = why_skipped(confirmation)
    if reason:
        say(console, f"No confirmation: {reason}.")
        return
    _withdraw(ledger, confirmation, home, everything=False)
    told: set[int] = set()
    while True:
        until(confirmations_are_over)
        _withdraw(ledger, confirmation, home, everything=True)
        confirmation = patiently(lambda: read_confirmation(ledger, study.name))
        _tell_broken(console, confirmation.broken, told)
        estimates = patiently(lambda: judge(ledger, confirmation))  # noqa: B023 - called at once
        _forget_fallen(confirmation, estimates, home)
        step = patiently(lambda: plan_step(ledger, confirmation, estimates))  # noqa: B023 - called at once
        if step.left_out:
            say(console, f"Confirmation: {step.why}; left out: {trials_named(step.left_out)}.")
        if not step.items:
            if not step.left_out:
                say(console, f"Confirmation is over: {step.why}.")
            return
        try:
            patiently(lambda: queue_step(ledger, confirmation, step, images))  # noqa: B023 - called at once
        except DataError as problem:
            say(console, f"No confirmation on a fresh split: {problem}.")
            return
        say(console, _heading(confirmation, step, estimates))


def judge(ledger: Ledger, confirmation: Confirmation) -> Estimates | None:
    """Estimates of those that have been confirmed; None while nobody has."""
    finalists = confirmation.finalists
    return judge_finalists(ledger, confirmation.study, finalists) if finalists else None


def why_skipped(confirmation: Confirmation) -> str:
    """Why nobody is to be confirmed, for people; empty where somebody is."""
    if confirmation.numbers:
        return ""
    if not confirmation.spec.confirm.rounds:
        return "confirm.rounds is 0"
    if confirmation.trials and confirmation.counted < TRIALS_PER_FINALIST:
        return f"it takes {TRIALS_PER_FINALIST} trials, and {confirmation.counted} counted"
    return "no trial has finished"


def _withdraw(ledger: Ledger, confirmation: Confirmation, home: Home, *, everything: bool) -> None:
    """Take back what waits and will not be begun: everything, or what another ``[final]`` asked for."""
    study = confirmation.study
    wanted = {} if everything else {n: confirmation.final_recipe(n) for n in confirmation.numbers}
    for item in patiently(lambda: ledger.queue.waiting(study.id, WorkKind.CONFIRM)):
        if wanted.get(item.note.get(TRIAL_NOTE, -1)) != item.recipe and patiently(
            lambda: ledger.queue.withdraw(item.id)  # noqa: B023 - called at once
        ):
            ArtifactFolder(home.artifacts).remove_checkpoint(study.name, item.id)


def _forget_fallen(confirmation: Confirmation, estimates: Estimates | None, home: Home) -> None:
    """Remove the weights of those that are clearly beaten: they will not be exported, and all finalists' take room."""
    fallen = {row.number for row in estimates.rows if row.fallen} if estimates is not None else set()
    artifacts = ArtifactFolder(home.artifacts)
    for finalist in confirmation.finalists:
        if finalist.number in fallen:
            for record in (finalist.trial, *finalist.rounds):
                artifacts.remove_weights(confirmation.study.name, record.work_id)


def _tell_broken(console: Console, broken: Sequence[TrialRecord], told: set[int]) -> None:
    for record in broken:
        if record.id not in told:
            told.add(record.id)
            number = record.note[TRIAL_NOTE]
            note(
                console,
                f"trial {number} is no finalist any more: on split {record.split} it {record.status} ({record.reason})",
            )


def _heading(confirmation: Confirmation, step: Step, estimates: Estimates | None) -> str:
    """What the next round is."""
    count, split = len(step.items), step.items[0][1]
    who = "the finalist" if count == 1 else f"{count} finalists"
    fallen = [] if estimates is None else [row.number for row in estimates.rows if row.fallen]
    line = f"Confirming {who} on fresh split {split} (of up to {confirmation.spec.confirm.rounds})"
    return line + (f"; clearly beaten: {trials_named(fallen)}" if fallen else "")
