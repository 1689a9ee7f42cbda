"""The confirmation of a study: what the database says of its finalists, their next round, and the stage as a whole."""

from __future__ import annotations

from dataclasses import dataclass

from search.statistics.estimates import Estimates
from search.statistics.ranking import Candidate, rank
from search.study_state.confirmation_schedule import (
    TRIALS_PER_FINALIST,
    Contender,
    Step,
    choose_finalists,
    confirmation_budget,
    finalist_count,
    next_step,
)
from search.study_state.finalists import Finalist, finalists_of, judge_finalists
from search.study_state.snapshot import candidates, read_costs
from search.study_state.study import Study, read_study
from search.study_state.time_budget import confirmations_in_time
from search.study_state.training_costs import correction, final_recipe, length_ratio
from storage.stores import Stores
from storage.values import DEFAULT_TRIAL, TRIAL_NOTE, TrialRecord, TrialStatus, WorkKind, recipe_hash
from trainer.common.randomness import random_key
from trainer.data.folds import fold_groups, make_folds
from trainer.data.image_set import ImageSet


@dataclass(frozen=True, kw_only=True, eq=False)
class Confirmation:
    """A study's confirmation as the database has it."""

    study: Study
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
        return dict(final_recipe(self.trials[number].recipe or {}, self.study.spec.final).to_flat())


def read_confirmation(stores: Stores, name: str) -> Confirmation:
    """How the confirmation of the study called ``name`` stands.

    Raises:
        UnknownStudyError: there is no such study.
    """
    study = read_study(stores, name)
    spec = study.spec
    records = stores.trials.records(study.id, kind=WorkKind.SEARCH)
    trials = {r.number: r for r in records if r.status is TrialStatus.FINISHED and r.number is not None}
    finals = {n: final_recipe(r.recipe or {}, spec.final).to_flat() for n, r in trials.items()}
    confirmations = stores.trials.records(study.id, kind=WorkKind.CONFIRM)
    # Those of another [final] are of other trainings than the one that will be exported.
    current = [r for r in confirmations if finals.get(r.note.get(TRIAL_NOTE, -1)) == r.recipe]
    finalists = finalists_of(trials, (r for r in current if r.status is TrialStatus.FINISHED))
    counted = sum(record.counts for record in records)
    ranking = rank(candidates(records, study.metric))
    numbers = choose_finalists(
        [candidate.number for candidate in ranking],
        {number: recipe_hash(recipe) for number, recipe in finals.items()},
        finalist_count(counted, spec.confirm),
        [finalist.number for finalist in finalists],
    )
    return Confirmation(
        study=study,
        trials=trials,
        numbers=tuple(numbers),
        ranking=tuple(ranking),
        counted=counted,
        finalists=tuple(finalists),
        broken=tuple(r for r in current if r.status is not TrialStatus.FINISHED),
        seconds=sum(record.seconds for record in records),
        spent=sum(record.seconds for record in confirmations),
    )


def plan_step(stores: Stores, confirmation: Confirmation, estimates: Estimates | None) -> Step:
    """What is run next, by what has come out and what it cost.

    Args:
        estimates: of the finalists; None while there are none.
    """
    study, settings = confirmation.study, confirmation.study.spec.confirm
    at_once = None
    if study.deadline is not None:
        at_once = confirmations_in_time(read_costs(stores, study), now=stores.database.now(), deadline=study.deadline)
    return next_step(
        _contenders(confirmation, estimates),
        rounds=settings.rounds,
        budget_seconds=confirmation_budget(confirmation.seconds, settings.share) - confirmation.spent,
        at_once=at_once,
    )


def _contenders(confirmation: Confirmation, estimates: Estimates | None) -> list[Contender]:
    """As `next_step` wants them: who has not run in the order of the search, who has by the estimates."""
    splits = {f.number: frozenset(r.split for r in f.rounds) for f in confirmation.finalists}
    predicted = {number: _predicted_seconds(confirmation, number) for number in confirmation.numbers}
    ran = [(_predicted_seconds(confirmation, f.number), r.seconds) for f in confirmation.finalists for r in f.rounds]
    factor = correction([cost for cost, _ in ran], [seconds for _, seconds in ran])
    rows = {} if estimates is None else {row.number: row for row in estimates.rows}
    order = [*[n for n in confirmation.numbers if n not in rows], *[n for n in rows if n in predicted]]
    dropped = {record.note[TRIAL_NOTE] for record in confirmation.broken}
    return [
        Contender(
            number=number,
            seconds=predicted[number] * factor,
            splits=splits.get(number, frozenset()),
            needed=number in (confirmation.numbers[0], DEFAULT_TRIAL),
            eliminated=number in rows and rows[number].eliminated,
            dropped=number in dropped,
        )
        for number in order
    ]


def _predicted_seconds(confirmation: Confirmation, number: int) -> float:
    trial = confirmation.trials[number]
    return trial.seconds * length_ratio(trial.recipe or {}, confirmation.study.spec.final)


def queue_step(stores: Stores, confirmation: Confirmation, step: Step, images: ImageSet) -> None:
    """Queue what a step says, for any worker; what is queued already stays as it is.

    Raises:
        DataError: the images cannot be divided another time.
    """
    study = confirmation.study
    for split in {split for _, split in step.items}:
        freeze_split(stores, study, split, images)
    for number, split in step.items:
        stores.queue.add(
            study.id,
            WorkKind.CONFIRM,
            split=split,
            seed=split,
            recipe=confirmation.final_recipe(number),
            note={TRIAL_NOTE: number},
        )


def freeze_split(stores: Stores, study: Study, split: int, images: ImageSet) -> None:
    """Divide the images anew, unless this split of them exists. What stays together is the same as in the search, also
    where its folds were imported.

    Raises:
        DataError: they cannot be divided so.
    """
    protocol, key = study.protocol, study.fold_key(split)
    if stores.datasets.folds(study.fingerprint, **key) is not None:
        return
    duplicates = stores.datasets.get(study.fingerprint).groups
    assert duplicates is not None, "duplicates are looked for before a study begins"
    seed = random_key("split", protocol.split_seed, split)
    folds = make_folds(images.y, fold_groups(images, duplicates), protocol.folds, seed)
    stores.datasets.freeze_folds(study.fingerprint, folds, **key)


def judge(stores: Stores, confirmation: Confirmation) -> Estimates | None:
    """Estimates of those that have been confirmed; None while nobody has."""
    finalists = confirmation.finalists
    return judge_finalists(stores, confirmation.study, finalists) if finalists else None


def why_skipped(confirmation: Confirmation) -> str:
    """Why nobody is to be confirmed, for people; empty where somebody is."""
    if confirmation.numbers:
        return ""
    if not confirmation.study.spec.confirm.rounds:
        return "confirm.rounds is 0"
    if confirmation.trials and confirmation.counted < TRIALS_PER_FINALIST:
        return f"it takes {TRIALS_PER_FINALIST} trials, and {confirmation.counted} counted"
    return "no trial has finished"
