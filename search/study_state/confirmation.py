"""The confirmation of a study in the database: its finalists, their estimates and the trainings that come next."""

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
from search.study_state.search_trials import candidates
from search.study_state.study import Study, read_study
from search.study_state.time_budget import confirmations_in_time
from search.study_state.time_left import read_costs
from search.study_state.training_costs import correction_factor, final_cost, final_recipe
from storage.stores import Stores
from storage.values import DEFAULT_TRIAL, OF_PROBE_NOTE, TRIAL_NOTE, TrialRecord, TrialStatus, WorkKind, recipe_hash
from trainer.common.randomness import random_key
from trainer.data.folds import fold_groups, make_folds
from trainer.data.image_set import ImageSet


@dataclass(frozen=True, kw_only=True, eq=False)
class Confirmation:
    """The state of a study's confirmation."""

    study: Study
    trials: dict[int, TrialRecord]
    """Finished search trials by number."""
    numbers: tuple[int, ...]
    """Numbers of the trials to confirm; empty if too few have ended or the study has no confirmation."""
    ranking: tuple[Candidate, ...]
    """Finished search trials by their scores in the search, the best first."""
    counted: int
    """Number of ended trials that count against the budget."""
    finalists: tuple[Finalist, ...]
    """Trials with a finished confirmation that has the epochs and image size of the export."""
    broken: tuple[TrialRecord, ...]
    """Confirmations that failed or diverged."""
    seconds: float
    """Training time of all search trials."""
    spent: float
    """Training time of all confirmations."""

    @property
    def best(self) -> int | None:
        """Number of the best trial by the scores of the search; None before any has finished."""
        return self.ranking[0].number if self.ranking else None

    @property
    def probes(self) -> frozenset[int]:
        """Numbers of the finished trials that are linear probes."""
        return frozenset(number for number, trial in self.trials.items() if trial.is_probe)

    def final_recipe(self, number: int) -> dict[str, object]:
        """The flat recipe by which the finished trial ``number`` is confirmed."""
        return dict(final_recipe(self.trials[number].recipe or {}, self.study.spec.final).to_flat())


def read_confirmation(stores: Stores, name: str) -> Confirmation:
    """Read the state of the confirmation of the study called ``name``.

    Raises:
        UnknownStudyError: there is no such study.
    """
    study = read_study(stores, name)
    spec = study.spec
    records = stores.trials.records(study.id, kind=WorkKind.SEARCH)
    trials = {r.number: r for r in records if r.status is TrialStatus.FINISHED and r.number is not None}
    finals = {n: final_recipe(r.recipe or {}, spec.final).to_flat() for n, r in trials.items()}
    confirmations = stores.trials.records(study.id, kind=WorkKind.CONFIRM)
    # Confirmations from before a change of [final] are trainings of another length than the export.
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
    """Decide which confirmations run next, by the estimates and the training times so far.

    Args:
        estimates: of the finalists, see `judge`; None while there are none.
    """
    study, settings = confirmation.study, confirmation.study.spec.confirm
    max_trainings = None
    if study.deadline is not None:
        costs, now = read_costs(stores, study), stores.database.now()
        max_trainings = confirmations_in_time(costs, now=now, deadline=study.deadline)
    return next_step(
        _contenders(confirmation, estimates),
        rounds=settings.rounds,
        budget_seconds=confirmation_budget(confirmation.seconds, settings.share) - confirmation.spent,
        max_trainings=max_trainings,
    )


def _contenders(confirmation: Confirmation, estimates: Estimates | None) -> list[Contender]:
    """Contenders in the order that `next_step` takes.

    The unconfirmed ones come first, as the search ranks them. Then come the others, as the estimates rank them.
    """
    splits = {f.number: frozenset(r.split for r in f.rounds) for f in confirmation.finalists}
    predicted = {number: _predicted_seconds(confirmation, number) for number in confirmation.numbers}
    finished = [(finalist.number, record) for finalist in confirmation.finalists for record in finalist.rounds]
    factor = correction_factor(
        [_predicted_seconds(confirmation, number) for number, _ in finished],
        [record.cost for _, record in finished],
    )
    rows = {} if estimates is None else {row.number: row for row in estimates.rows}
    order = [*[n for n in confirmation.numbers if n not in rows], *[n for n in rows if n in predicted]]
    dropped = {record.repeated_trial for record in confirmation.broken}
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
    return final_cost(trial, confirmation.study.spec.final)


def queue_step(stores: Stores, confirmation: Confirmation, step: Step, images: ImageSet) -> None:
    """Queue the confirmations of a step for any worker. Those that are queued already do not change.

    Raises:
        DataError: the images cannot be divided into other folds.
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
            note={TRIAL_NOTE: number} | ({OF_PROBE_NOTE: True} if number in confirmation.probes else {}),
        )


def freeze_split(stores: Stores, study: Study, split: int, images: ImageSet) -> None:
    """Store the folds of a fresh split, unless it exists.

    Images that stay together are those of the search's groups and duplicates, even if the search's folds were imported.

    Raises:
        DataError: the images cannot be divided into such folds.
    """
    protocol, key = study.protocol, study.fold_key(split)
    if stores.datasets.folds(study.fingerprint, **key) is not None:
        return
    duplicates = stores.datasets.get(study.fingerprint).groups
    assert duplicates is not None, "duplicates are stored when a study is created"
    seed = random_key("split", protocol.split_seed, split)
    folds = make_folds(images.y, fold_groups(images, duplicates), protocol.folds, seed)
    stores.datasets.freeze_folds(study.fingerprint, folds, **key)


def judge(stores: Stores, confirmation: Confirmation) -> Estimates | None:
    """Estimates of the confirmed finalists; None while there are none."""
    finalists = confirmation.finalists
    return judge_finalists(stores, confirmation.study, finalists) if finalists else None


def why_skipped(confirmation: Confirmation) -> str:
    """The reason, for people, why the study has no trials to confirm; empty if it has some."""
    if confirmation.numbers:
        return ""
    if not confirmation.study.spec.confirm.rounds:
        return "confirm.rounds is 0"
    if confirmation.trials and not confirmation.counted:
        return "only linear probes have ended"
    if confirmation.trials and confirmation.counted < TRIALS_PER_FINALIST:
        return f"it takes {TRIALS_PER_FINALIST} trials, and {confirmation.counted} counted"
    return "no trial has finished"
