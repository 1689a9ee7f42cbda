"""What is said of a final model, in the card and on the console: why these recipes, what is expected, what to doubt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from search.export.final_model import Refits
from search.export.members import doubts_of
from search.export.plan import ExportPlan
from search.statistics.ensemble_selection import Choice
from search.statistics.member_names import members_named
from search.statistics.paired_gain import Gain, paired_gain, shown_difference, shown_gain
from search.study_state.study_targets import read_targets
from storage.stores import Stores
from storage.values import DEFAULT_TRIAL, TrialStatus, WorkKind

WAYS = {"equal": "average", "greedy": "weighted average", "stack": "stacked regression"}
"""What an ensemble of each ``final.ensemble`` is called."""


def reasons(plan: ExportPlan, refits: Refits) -> tuple[str, ...]:
    """Why the final model is made of these recipes in this way, a sentence each."""
    choice = plan.choice
    lines = [why(choice, plan.metric)]
    if choice.gain is not None and choice.note:
        lines.append(f"{choice.note[0].upper()}{choice.note[1:]}.")
    if refits.fitted is not None:
        lines += [f"{note[0].upper()}{note[1:]} (nested)." for note in refits.fitted.notes]
        if len(refits.members) + len(refits.imported) > 1 and refits.has_oof:
            gain = shown_gain(refits.fitted.gain, plan.metric)
            lines.append(
                f"By the out-of-fold predictions of all its networks it gains {gain} over {plan.leader.name}, which "
                "was chosen by some of these."
            )
    return tuple(lines)


def why(choice: Choice, metric: str) -> str:
    """Why several recipes make the model, or why one does."""
    leader = choice.names[0]
    if choice.gain is None:
        return f"{leader.first} alone: {choice.note}."
    if len(choice.scored) < 2:
        return f"{leader.first} alone: no average with others that may as well be the best predicts better out-of-fold."
    several = len(choice.names) > 1
    ensemble = f"the {WAYS[choice.method if several else 'equal']} of {members_named(choice.scored)}"
    gains = f"gains {shown_gain(choice.gain, metric)}"
    if several:
        said = f"{ensemble[0].upper()}{ensemble[1:]} {gains} over {leader} alone, out-of-fold, nested"
        return f"{said}; less where the networks of all folds are averaged anyway, as for the test images."
    return f"{leader.first} alone: {ensemble} {gains} over it, out-of-fold, nested, which is not beyond doubt."


def warnings(stores: Stores, plan: ExportPlan, refits: Refits) -> tuple[str, ...]:
    """What is to be known of this export; what there is to say of the data was told before."""
    lines = [*_against_default_line(stores, plan), *refits.left_out, *plan.notes, *_of_imported(plan, refits)]
    if plan.short_of_time:
        count = len(plan.members)
        lines.append(f"the deadline left time to refit {count} recipe{'s' * (count > 1)} only")
    if plan.full_data and plan.study.spec.final.tta and any(m.views == ("identity",) for m in refits.members):
        lines.append("no test-time augmentation: without held-out images it is unknown which flips help")
    return tuple(lines)


def forecast_line(forecast: Mapping[str, Any], metric: str) -> str:
    """What is expected on the test images, from a forecast as it is stored with an export."""
    return (
        f"Expected on the {forecast['test_images']} test images: {metric} {forecast['expected']:.4f}, between "
        f"{forecast['low']:.4f} and {forecast['high']:.4f} with {forecast['level']:.0%} probability"
        f" (one network {forecast['single']:.4f}, averaging all {shown_difference(forecast['averaging'], metric)})."
    )


def chances_line(forecast: Mapping[str, Any]) -> str:
    """How probably each finalist is truly the best, of those for whom that is a percent at least; empty without any."""
    chances = [f"{name} {chance:.0%}" for name, chance in forecast["chances"].items() if chance >= 0.01]
    return f"Truly the best of the finalists: {', '.join(chances)}." if len(chances) > 1 else ""


def _of_imported(plan: ExportPlan, refits: Refits) -> Iterator[str]:
    """What imported members leave open, and what the model folder is without them."""
    for part in refits.imported:
        name = part.member.name
        yield f"{name} was made elsewhere: its out-of-fold predictions cannot be checked"
        yield from (f"{name}: {doubt}" for doubt in doubts_of(part.member.record))
    if refits.runnable is not None:
        names = members_named(refit.member.name for refit in refits.members)
        yield f"model/ holds {names} only (imports cannot be run): it does not predict submission.csv"
        fitted = refits.runnable.fitted
        if fitted is not None:
            how = "cross-validated in confirmation" if refits.by_confirmations else "out-of-fold"
            yield f"model/ alone has {plan.metric} {fitted.score:.4f} ± {fitted.error:.4f}, {how}"


def _against_default_line(stores: Stores, plan: ExportPlan) -> Iterator[str]:
    doubt = _against_default(stores, plan)
    if doubt is not None:
        leader = f"{plan.leader.name} is " * (len(plan.members) > 1)
        where = "on fresh splits" if plan.estimates else "in the search"
        yield f"{leader}not clearly better than the default recipe: {shown_gain(doubt, plan.metric)} {where}"


def _against_default(stores: Stores, plan: ExportPlan) -> Gain | None:
    """What the leader gains over the default recipe, where that is not more than noise; None where it is, where the
    leader is the default recipe, or where the default recipe did not finish.
    """
    if plan.leader.number == DEFAULT_TRIAL:
        return None
    if plan.estimates is not None:
        default_name = (plan.leader.name.study, DEFAULT_TRIAL)
        row = next((row for row in plan.estimates.rows if (row.study, row.number) == default_name), None)
        return Gain(mean=row.gap_to_leader, error=row.gap_error) if row is not None and row.tied else None
    records = stores.trials.records(plan.leader.study.id, kind=WorkKind.SEARCH, status=TrialStatus.FINISHED)
    default = next((record for record in records if record.number == DEFAULT_TRIAL), None)
    if default is None:
        return None
    leads, other = (stores.trials.prediction(record.id, "oof") for record in (plan.leader.trial, default))
    gain = paired_gain(plan.metric, read_targets(stores, plan.study), leads, other)
    return None if gain.real else gain
