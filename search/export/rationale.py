"""Sentences about a final model, for the model card and the console: the choice of recipes, the forecast, warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from search.export.candidates.members import doubts_of
from search.export.final_model import Refits
from search.export.plan import ExportPlan
from search.statistics.blending.ensemble_selection import Choice
from search.statistics.blending.second_stage import TWO_STAGE
from search.statistics.member_names import members_named
from search.statistics.paired_gain import Gain, paired_gain, shown_difference, shown_gain
from search.study_setup.second_study import compare_with_first, lines_about
from search.study_state.study_targets import read_targets
from storage.stores import Stores
from storage.values import DEFAULT_TRIAL, TrialStatus, WorkKind

BLEND_NAMES = {"equal": "average", "greedy": "weighted average", "stack": "stacked regression", TWO_STAGE: "two stages"}
"""Name of the blend for each value of ``final.ensemble``."""


def reasons(plan: ExportPlan, refits: Refits) -> tuple[str, ...]:
    """Why these recipes make the final model, and how their blend was chosen, a sentence each."""
    choice = plan.choice
    lines = [choice_reason(choice, plan.metric)]
    if choice.gain is not None and choice.note:
        lines.append(f"{choice.note[0].upper()}{choice.note[1:]}.")
    if refits.fitted is not None:
        lines += [f"{note[0].upper()}{note[1:]} (nested)." for note in refits.fitted.notes]
        if len(refits.members) + len(refits.imported) > 1 and refits.has_oof:
            gain = shown_gain(refits.fitted.gain, plan.metric)
            lines.append(
                f"By the out-of-fold predictions of all its networks it gains {gain} over {plan.leader.name}. Some of "
                "these predictions chose that trial."
            )
    return tuple(lines)


def choice_reason(choice: Choice, metric: str) -> str:
    """Why several recipes make the model, or one alone does."""
    leader = choice.names[0]
    if choice.gain is None:
        return f"{leader.first} alone: {choice.note}."
    if choice.method == TWO_STAGE:
        return (
            f"{leader.first}, and {choice.names[1]} as a second stage, which shares the probability of each group of "
            f"confusable classes among its classes: gains {shown_gain(choice.gain, metric)} over {leader} alone, "
            "out-of-fold. The groups for each fold were found in the other folds; which classes the second stage has "
            "learned was not nested."
        )
    if len(choice.scored) < 2:
        return f"{leader.first} alone: no average with tied recipes scores better out-of-fold."
    several = len(choice.names) > 1
    ensemble = f"the {BLEND_NAMES[choice.method if several else 'equal']} of {members_named(choice.scored)}"
    shown = shown_gain(choice.gain, metric)
    if several:
        how = f"gains {shown} over" if choice.gain.mean > 0.0 else f"differs by {shown} from"
        reason = f"{ensemble[0].upper()}{ensemble[1:]} {how} {leader} alone, out-of-fold, nested."
        if choice.gained:
            return f"{reason} The gain on test images is smaller, because there the networks of all folds are averaged."
        return f"{reason} That is no clear loss, and an average seldom scores worse than its members."
    why = "no real gain" if choice.gain.no_clear_loss else "a clear loss"
    return f"{leader.first} alone: {ensemble} differs by {shown} from it, out-of-fold, nested: {why}."


def warnings(stores: Stores, plan: ExportPlan, refits: Refits) -> tuple[str, ...]:
    """Doubts about this export, a line each; those about the data come from `search.export.doubts.doubts_of_data`."""
    lines = [*_default_recipe_line(stores, plan), *refits.left_out, *plan.notes, *_about_imports(plan, refits)]
    if plan.short_of_time:
        count = len(plan.members)
        lines.append(f"the deadline left time to refit only {count} recipe{'s' * (count > 1)}")
    if plan.full_data and plan.study.spec.final.tta and any(m.views == ("identity",) for m in refits.members):
        lines.append("no test-time augmentation, because without held-out images it is unknown which flips help")
    return tuple(lines)


def starting_weights(refits: Refits) -> tuple[str, ...]:
    """The weights from which the networks of each recipe began, and what is known of their images, a sentence each."""
    from trainer.networks.backbones import license_of  # timm

    lines = []
    for part in refits.members:
        recipe, machine = part.member.recipe, part.records[0].machine
        if recipe.init == "scratch":
            start = "random weights"
        elif recipe.init == "pretrained":
            start = f"the published weights of {recipe.backbone} (licence {license_of(recipe.backbone)})"
        elif about := machine.get("init_about"):
            start = f"the weights {recipe.init}: {about}"
        else:
            digest = machine.get("init_sha256", "not recorded")
            start = f"the checkpoint {recipe.init} (SHA-256 {digest}), whose training images are not recorded"
        lines.append(f"{part.member.name.first} begins with {start}.")
    return tuple(lines)


def second_study_lines(stores: Stores, refits: Refits) -> tuple[str, ...]:
    """What the members of second studies have learned from, and by how much that helped, a sentence each."""
    lines: list[str] = []
    for part in refits.members:
        study = part.member.study
        if study.second is not None:
            lines.append(f"{part.member.name.first} has learned {study.second.learned} {study.first}.")
            lines += lines_about(stores, study)
            found = compare_with_first(stores, study)
            lines += [found.sentence] if found is not None else []
    return tuple(lines)


def forecast_line(forecast: Mapping[str, Any], metric: str) -> str:
    """The forecast for the test images as a sentence, from the form that is stored with an export."""
    return (
        f"Expected on the {forecast['test_images']} test images: {metric} {forecast['expected']:.4f}, between "
        f"{forecast['low']:.4f} and {forecast['high']:.4f} with {forecast['level']:.0%} probability. "
        f"One of its networks, labelled in the same way, scores {forecast['single']:.4f} on average; averaging all of "
        "them changes that by "
        f"{shown_difference(forecast['averaging'], metric)}."
    )


def chances_line(forecast: Mapping[str, Any]) -> str:
    """Probability of being the best, for each finalist where it is at least one percent; empty for fewer than two."""
    chances = [f"{name} {chance:.0%}" for name, chance in forecast["chances"].items() if chance >= 0.01]
    return f"Probability of being the best finalist: {', '.join(chances)}." if len(chances) > 1 else ""


def _about_imports(plan: ExportPlan, refits: Refits) -> Iterator[str]:
    """Doubts about imported members, and what the model folder predicts without them."""
    for part in refits.imported:
        name = part.member.name
        yield f"{name} was made elsewhere, so nothing proves that its out-of-fold predictions were held out"
        yield from (f"{name}: {doubt}" for doubt in doubts_of(part.member.record))
    if refits.runnable is not None:
        names = members_named(refit.member.name for refit in refits.members)
        yield f"model/ holds only {names}, because imports cannot be run: it does not predict submission.csv"
        fitted = refits.runnable.fitted
        if fitted is not None:
            how = "cross-validated in confirmation" if refits.by_confirmations else "out-of-fold"
            yield f"model/ alone scores {plan.metric} {fitted.score:.4f} ± {fitted.error:.4f}, {how}"


def _default_recipe_line(stores: Stores, plan: ExportPlan) -> Iterator[str]:
    gain = _doubtful_gain(stores, plan)
    if gain is not None:
        leader = f"{plan.leader.name} is " * (len(plan.members) > 1)
        where = "on fresh splits" if plan.estimates else "in the search"
        yield f"{leader}not clearly better than the default recipe: {shown_gain(gain, plan.metric)} {where}"


def _doubtful_gain(stores: Stores, plan: ExportPlan) -> Gain | None:
    """The leader's gain over the default recipe if it may be noise; else None.

    It is also None if the leader is the default recipe, or if the default recipe did not finish.
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
    leading, other = (stores.trials.prediction(record.id, "oof") for record in (plan.leader.trial, default))
    gain = paired_gain(plan.metric, read_targets(stores, plan.study), leading, other)
    return None if gain.real else gain
