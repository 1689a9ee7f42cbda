"""The answer: which recipe, which score to expect, which file to hand in, what to type next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from search.export.doubts import doubts_of_data
from search.export.files import ADVISED_SEEDS
from search.export.notes import ExportNotes, RecipeNotes
from search.page import text
from search.page.facts import Facts
from search.report.exports.export_members import describe_export
from search.report.exports.next_steps import next_steps
from search.report.live.progress import recipe_difference
from search.report.status import state_of
from search.report.summary import other_settings, probe_line, trial_counts
from search.runtime.commands import completed
from search.study_setup.second_study import Comparison, lines_about
from search.study_state.study import Study
from search.study_state.training_costs import hours_to_continue
from storage.records.exports import ExportRecord
from storage.values import TrialRecord
from trainer.recipe.recipe import LINEAR_PROBE


@dataclass(frozen=True, kw_only=True)
class AnswerView:
    """The answer in short texts."""

    heading: str
    recipe: str
    """Settings that differ from the default recipe."""
    score: str
    """The expected score; empty before a trial has finished."""
    score_note: str
    """What the score is, and its interval."""
    details: tuple[tuple[str, str], ...]
    """Further facts: label and text."""
    submission: str
    """Path of the file to hand in; empty if there is none."""
    doubts: tuple[str, ...]
    steps: tuple[tuple[str, str], ...]
    """Commands and their purposes."""


def answer(facts: Facts) -> AnswerView:
    """The answer as far as it is known."""
    if facts.export is not None and facts.notes is not None:
        return _exported(facts, facts.export, facts.notes)
    if facts.leader is not None:
        return _leading(facts, facts.leader)
    return AnswerView(
        heading="No trial has finished yet",
        recipe="",
        score="",
        score_note="",
        details=tuple(_details(facts)),
        submission="",
        doubts=_doubts(facts),
        steps=tuple(_steps(facts)),
    )


def _exported(facts: Facts, export: ExportRecord, notes: ExportNotes) -> AnswerView:
    backbone, size = export.recipe.get("backbone"), export.recipe.get("image_size")
    members = f"{len(notes.members)} recipes, led by " * bool(notes.members)
    count = _networks(facts, notes)
    average = f", average of {count} networks" if count > 1 else ""
    default = facts.leader_study.spec.default_recipe()
    score, note = _expected(facts, export)
    folder = Path(export.folder)
    has_test = bool(facts.dataset.test_ids)
    details = [("Made of", describe_export(notes)), ("Exported", text.moment(export.created))]
    for label, value in (("Public score", export.public_score), ("Private score", export.private_score)):
        if value is not None:
            details.append((label, text.score(value)))
    return AnswerView(
        heading=f"{members}{backbone} at {size} px{average}",
        recipe=probe_line(export.recipe)
        if export.recipe.get("method") == LINEAR_PROBE
        else other_settings(export.recipe, default),
        score=score,
        score_note=note,
        details=(*details, *_details(facts)),
        submission=str(folder / "submission.csv") if has_test else "",
        doubts=_doubts(facts),
        steps=tuple(_steps(facts)),
    )


def _networks(facts: Facts, notes: ExportNotes) -> int:
    """Number of averaged networks; those of imports are unknown and do not count."""
    parts = [part.trainings for part in notes.members if isinstance(part, RecipeNotes)] or [notes.trainings]
    return sum(map(len, parts)) * (1 if notes.full_data else facts.study.protocol.folds)


def _expected(facts: Facts, export: ExportRecord) -> tuple[str, str]:
    metric, forecast = facts.metric, export.forecast
    if forecast is not None:
        interval = f"{forecast['level']:.0%} interval {forecast['low']:.4f} to {forecast['high']:.4f}"
        return (
            f"{metric} {forecast['expected']:.4f}",
            f"expected on the {forecast['test_images']:,} test images, {interval}",
        )
    if export.score is None:
        return "unknown", "no image was held out"
    return (
        f"{metric} {text.score(export.score, export.score_se)}",
        "out-of-fold on the training images, ± standard error; on new images expect less",
    )


def _leading(facts: Facts, leader: TrialRecord) -> AnswerView:
    name = text.trial_name(leader)
    recipe = leader.recipe or {}
    method = "linear probe of " * leader.is_probe
    return AnswerView(
        heading=f"Leader so far: {name}, {method}{recipe.get('backbone')} at {recipe.get('image_size')} px",
        recipe="" if leader.is_probe else recipe_difference(leader, facts.default),
        score=f"{facts.metric} {text.score(leader.value, leader.value_se)}",
        score_note="out-of-fold on the training images, ± standard error; nothing is exported yet",
        details=tuple(_details(facts)),
        submission="" if facts.provisional is None else str(facts.provisional),
        doubts=_doubts(facts),
        steps=tuple(_steps(facts)),
    )


def _details(facts: Facts) -> Iterator[tuple[str, str]]:
    dataset, study = facts.dataset, facts.study
    images = f"{text.counted(len(dataset.y), 'training image')}, {text.counted(len(dataset.test_ids), 'test image')}"
    yield "Data", f"{images}, {text.counted(len(dataset.class_names), 'class')}"
    yield "Study", f"{study.name}, {state_of(facts.snapshot)}: {trial_counts(facts.snapshot) or 'no trial has ended'}"
    if study.second is not None:
        about = f"The best recipe of {study.first} again, with {study.second.name}."
        yield "Second study", " ".join([about, *lines_about(facts.stores, study)])
        yield "Compared with the first", "not yet" if facts.with_first is None else facts.with_first.sentence
    yield "Scored by", f"{text.metric_line(facts.metric)}; {study.protocol.folds} folds"


def _doubts(facts: Facts) -> tuple[str, ...]:
    if facts.notes is not None and facts.notes.doubts is not None:
        return facts.notes.doubts
    lines = [
        *([] if facts.comparison is None else facts.comparison.doubts),
        *doubts_of_data(facts.dataset, facts.study.name),
    ]
    return (facts.study.state_reason, *lines) if facts.study.state_reason else tuple(lines)


def _step_of_second(study: Study, found: Comparison | None) -> tuple[str, str]:
    """What to type for a second study that is not exported."""
    if found is None:
        return completed(study.continuing), "continues, and exports what is better than the first study"
    if found.adopted:
        return text.command("search", "export-best", "--study", study.name), "exports it"
    return text.command("search", "report", "--study", study.first), "the study whose export stays the answer"


def _steps(facts: Facts) -> Iterator[tuple[str, str]]:
    name = facts.study.name
    if facts.export is None:
        if facts.study.is_pretraining:
            yield completed(facts.study.continuing), "registers the weights for other studies"
            return
        if facts.study.second is not None:
            yield _step_of_second(facts.study, facts.with_first)
            return
        yield text.command("search", "start", "--study", name), "continues the study and exports at its end"
        if facts.leader is not None:
            yield text.command("search", "export-best", "--study", name), "exports the best trials so far"
        return
    for command, purpose in next_steps(
        Path(facts.export.folder),
        name,
        submitted=bool(facts.dataset.test_ids),
        more_seeds_help=facts.export.recipe.get("method") != LINEAR_PROBE
        and (facts.notes is None or (facts.notes.seeds < ADVISED_SEEDS and not facts.notes.second_stage)),
        compared=facts.comparison is not None,
        probed=facts.study.budget == 0,
        more_hours=hours_to_continue(facts.snapshot.records) if facts.study.runs_until_deadline else 0,
    ):
        yield completed(command), purpose
