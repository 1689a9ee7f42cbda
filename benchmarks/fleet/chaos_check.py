"""Verdict of `benchmarks.fleet.chaos`: consistency of the database, and each trial compared with an undisturbed one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from search.study_state.optuna_attributes import objective_of_trial
from search.study_state.search_trials import candidates
from search.study_state.study import Study
from search.tuning.report_to_optuna import shown_value
from search.worker.study_context import StudyContext
from search.worker.training.outcome import outcome_of
from storage.stores import Stores
from storage.values import EpochCurve, TrialOutcome, TrialRecord, TrialStatus, WorkKind

FIXED_PARAMS = "fixed_params"
"""Optuna's system attribute of a trial that was enqueued."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """State of the study after the crash test."""

    finished: int
    pruned: int
    failed: int
    agree: bool
    """Whether Retable's records and Optuna's trials have the same numbers, states and values, once each."""
    left_running: int
    """Trials in Optuna's state RUNNING."""
    other_recipes: int
    """Trials whose recipe is not the enqueued one."""
    compared: int
    unequal: tuple[str, ...]
    """Trials whose value, curves or predictions differ from those of an undisturbed training, and how."""
    adoptions: int
    """Number of times that a trial passed to another worker."""
    most_attempts: int
    tracebacks: int
    """Number of tracebacks in the workers' logs."""
    last_words: tuple[str, ...]
    """The last line of each traceback."""

    def is_clean(self, trials: int) -> bool:
        """Whether ``trials`` trials ran once each and equal undisturbed ones."""
        return (
            (self.finished + self.pruned, self.failed, self.left_running, self.other_recipes) == (trials, 0, 0, 0)
            and self.agree
            and self.compared == trials
            and not self.unequal
            and not self.tracebacks
        )


def compare(stores: Stores, stored: Study, data: Path, home: Path, logs: Sequence[Path]) -> Verdict:
    """Check the database, and train every recipe again, undisturbed, in this process.

    Args:
        data: folder of the images.
        home: folder for the pixels of the undisturbed trainings.
        logs: log files of the workers.
    """
    from tests.search.small_study import make_context

    records = stores.trials.records(stored.id, kind=WorkKind.SEARCH)
    trials = stores.optuna_study(stored.name).get_trials(deepcopy=False)
    by_number = {trial.number: trial for trial in trials}
    finished = [record for record in records if record.status is TrialStatus.FINISHED]
    pruned = [record for record in records if record.status is TrialStatus.PRUNED]
    context = make_context(stores, stored, data, home, "undisturbed")
    try:
        trained = [*finished, *pruned]
        unequal = [f"trial {record.number}: {text}" for record in trained if (text := _differences(context, record))]
    finally:
        context.loader.close()
    tracebacks = [line for log in logs for line in _traceback_ends(log)]
    return Verdict(
        finished=len(finished),
        pruned=len(pruned),
        failed=sum(record.status is TrialStatus.FAILED for record in records),
        agree=_agree(records, trials, context.spec.protocol.metric) and not stores.queue.unreported(stored.id),
        left_running=sum(not trial.state.is_finished() for trial in trials),
        other_recipes=sum(_is_other(context, record, by_number.get(record.number or 0)) for record in trained),
        compared=len(trained),
        unequal=tuple(unequal),
        adoptions=sum(record.attempt - 1 for record in records),
        most_attempts=max((record.attempt for record in records), default=0),
        tracebacks=len(tracebacks),
        last_words=tuple(tracebacks),
    )


def _agree(records: Sequence[TrialRecord], trials: Sequence[FrozenTrial], metric: str) -> bool:
    objectives = {candidate.number: candidate.objective for candidate in candidates(records, metric)}
    ours = Counter((r.number, _values(r, objectives)) for r in records)
    complete = {t.number: (objective_of_trial(t), t.value) for t in trials if t.state is TrialState.COMPLETE}
    theirs = Counter((trial.number, complete.get(trial.number)) for trial in trials)
    return ours == theirs


def _values(record: TrialRecord, objectives: Mapping[int, float]) -> tuple[float, float | None] | None:
    """What samplers see of a finished trial, and what Optuna shows; None for another one."""
    if record.status is not TrialStatus.FINISHED:
        return None
    return objectives[record.number or 0], shown_value(record)


def _is_other(context: StudyContext, record: TrialRecord, trial: FrozenTrial | None) -> bool:
    if trial is None or FIXED_PARAMS not in trial.system_attrs:
        return True
    return record.recipe != context.spec.assemble(trial.system_attrs[FIXED_PARAMS])


def _differences(context: StudyContext, record: TrialRecord) -> str:
    """Parts of a record that differ from an undisturbed training in any bit; empty if none does."""
    expected, trials = _undisturbed(context, record), context.stores.trials
    differing = []
    if (record.value, record.value_se, record.mean_true_probability) != (
        expected.value,
        expected.value_se,
        expected.mean_true_probability,
    ):
        differing.append(f"value {record.value!r}, undisturbed {expected.value!r}")
    curves = trials.curves(record.id)
    if len(curves) != len(expected.curves) or not all(map(_same_curve, curves, expected.curves)):
        differing.append("curves")
    # The best trials also have predictions of further views.
    if not set(expected.predictions) <= set(trials.prediction_names(record.id)):
        differing.append("names of predictions")
    differing += [
        f"predictions {name}"
        for name in set(trials.prediction_names(record.id)) & set(expected.predictions)
        if trials.prediction(record.id, name).tobytes() != expected.predictions[name].astype(np.float32).tobytes()
    ]
    return ", ".join(differing)


def _same_curve(one: EpochCurve, other: EpochCurve) -> bool:
    numbers = [
        (
            curve.epoch,
            curve.metric,
            curve.mean_true_probability,
            curve.train_loss,
            curve.fold_metrics,
            curve.true_class.tobytes(),
        )
        for curve in (one, other)
    ]
    return numbers[0] == numbers[1]


def _undisturbed(context: StudyContext, record: TrialRecord) -> TrialOutcome:
    from trainer.recipe.recipe import Recipe
    from trainer.training.cross_validation import cross_validate
    from trainer.training.results import EpochReport
    from trainer.training.results import Verdict as EpochVerdict

    recipe, metric = Recipe.from_flat(record.recipe or {}), context.spec.protocol.metric

    def until_pruned(report: EpochReport) -> EpochVerdict:
        ended = record.status is TrialStatus.PRUNED and report.epoch == record.epochs_done
        return EpochVerdict.PRUNE if ended else EpochVerdict.CONTINUE

    result = cross_validate(
        recipe,
        context.training_data(recipe, record.split),
        metric=metric,
        seed=record.seed,
        device=context.device,
        on_epoch=until_pruned,
        checkpoint=None,
        loader=context.loader,
    )
    return outcome_of(result, metric, context.targets)


def _traceback_ends(log: Path) -> list[str]:
    """The last line of each traceback in a log."""
    if not log.exists():
        return []
    ends, inside = [], False
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("Traceback"):
            inside = True
        elif inside and line and not line.startswith(" "):
            inside = False
            ends.append(f"{log.name}: {line}")
    return ends
