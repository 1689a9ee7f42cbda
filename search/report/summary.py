"""What `start` and `export-best` say to a person, at the beginning and at the end."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from search.export.files import Export
from search.report.progress import recipe_difference
from search.statistics.member_names import members_named
from search.study_setup.data_folder import Competition
from search.study_state.snapshot import Standing
from storage.records.studies import StoredStudy
from storage.values import TrialStatus
from studies.spec import StudySpec
from trainer.data.description import duplicate_lines
from trainer.evaluation.metrics import METRICS

RANKED = 5  # trials in the final table

FILES: dict[str, str] = {
    "submission.csv": "hand this in",
    "test_proba.csv": "class probabilities of the test images",
    "oof.csv": "out-of-fold predictions: where it errs",
    "folds.csv": "which image was held out when",
    "confusion_matrix.png": "which classes it confuses",
    "MODEL_CARD.md": "how good it is and what it was made from",
    "model": "weights, recipe and a predict.py that needs nothing of Retable",
}
"""What each file of an export is for, in the order in which they are listed."""


def print_study(
    console: Console,
    study: StoredStudy,
    spec: StudySpec,
    competition: Competition,
    where: str,
    notes: Sequence[str] = (),
) -> None:
    """The first lines of `start`: data, protocol, budget, workers, warnings."""
    images = competition.images
    console.print(
        f"{len(images.y)} training and {len(images.test_ids)} test images, {len(images.class_names)} classes; "
        f"{spec.protocol.folds} folds, {spec.protocol.metric}; {study.budget} trials; "
        f"{where}",
        highlight=False,
    )
    for line in (*notes, *images.warnings, *duplicate_lines(images, competition.duplicates)):
        mark = "" if line.startswith(" ") else "[yellow]note:[/] "
        console.print(f"{mark}{escape(line)}", highlight=False)


def print_warm_starts(console: Console, origins: Mapping[int, str]) -> None:
    """Which trials a new study begins with besides the default recipe, and why, a line each."""
    for number, origin in origins.items():
        if number:
            console.print(f"trial {number:3d}  planned   {escape(origin)}", highlight=False, soft_wrap=True)


def print_ranking(console: Console, standing: Standing) -> None:
    """The best finished trials, and what became of the others."""
    default = StudySpec.from_dict(standing.study.spec).default_recipe()
    by_number = {record.number: record for record in standing.records}
    table = Table(title=f"{standing.study.name}: the best finished trials", title_justify="left")
    for name in ("trial", standing.metric, "averaged", "Brier", "recipe"):
        table.add_column(name, justify="left" if name == "recipe" else "right", no_wrap=name != "recipe")
    for candidate in standing.ranking[:RANKED]:
        table.add_row(
            str(candidate.number),
            f"{candidate.value:.4f} ± {candidate.standard_error:.4f}",
            f"{candidate.averaged:.4f}",
            f"{candidate.brier:.4f}",
            recipe_difference(by_number[candidate.number], default),
        )
    console.print(table)
    if METRICS[standing.metric].needs == "labels":
        console.print(
            f"Ranked by what the average of a trial's fold models may be expected to score: its {standing.metric} and "
            "its Brier score (lower is better), which count the same.",
            highlight=False,
        )
    counts = {status: standing.count(status) for status in TrialStatus if standing.count(status)}
    console.print("Trials: " + ", ".join(f"{count} {status}" for status, count in counts.items()), highlight=False)
    if standing.study.state_reason:
        console.print(f"[yellow]The search stopped:[/] {escape(standing.study.state_reason)}", highlight=False)


def print_export(console: Console, export: Export) -> None:
    """What was written, how good it is, and what to type next."""
    console.print()
    for line in (*_how_good(export), *map(escape, export.reasons)):
        console.print(line, highlight=False)
    for line in export.warnings:
        console.print(f"[yellow]note:[/] {escape(line)}", highlight=False)
    console.print(f"Written to [bold]{escape(str(export.folder))}[/]:", highlight=False)
    for name in sorted(export.files, key=list(FILES).index):
        console.print(f"  {name:22}{FILES[name]}", highlight=False)
    console.print("\nNext:", highlight=False)
    for command, why in _next_steps(export):
        console.print(f"  {command}", highlight=False, soft_wrap=True)
        console.print(f"      [dim]{why}[/]", highlight=False)


def _how_good(export: Export) -> Iterator[str]:
    """What it scored, and what to expect of it: by the forecast; where there is nothing to forecast by fresh splits."""
    named, first = members_named(export.members), export.members[0]
    foretold = bool(export.expected or export.estimate)
    if export.score is not None:
        how = "cross-validated in confirmation" if export.by_confirmations else "out-of-fold"
        value = f"{export.score:.4f} ± {export.score_error:.4f}"
        # Names of studies stay as they are.
        named = named if first.study else f"{named[0].upper()}{named[1:]}"
        networks = f"{export.networks} network{'s' * (export.networks > 1)}"
        views = "; ".join(dict.fromkeys(", ".join(views) for views in export.views))
        flatters = foretold and not export.by_confirmations
        yield (
            f"{named} ({networks}): {how} {export.metric} {value if foretold else f'[bold]{value}[/]'} "
            f"(test-time views: {views})" + ", on images by which it was chosen: it flatters" * flatters
        )
    if export.expected:
        yield f"[bold]{escape(export.expected)}[/]"
    elif export.estimate is not None:
        value = f"{export.estimate.shrunk:.4f} ± {export.estimate.error:.4f}"
        yield f"Expect {export.metric} [bold]{value}[/] of {first} alone: that is what it scored on fresh splits"


def _next_steps(export: Export) -> list[tuple[str, str]]:
    folder: Path = export.folder
    return [
        ("search status", "all trials of the study"),
        ("search dashboard", "curves and parameters in the browser"),
        (f"search predict {shlex.quote(str(folder / 'model'))} IMAGES", "the model on new images"),
        ("search export-best --seeds 3", "more refits averaged: steadier on the private board"),
    ]


def print_interrupted(console: Console, name: str) -> None:
    """After Ctrl-C."""
    console.print(
        f"\nStudy {name} is interrupted, nothing is lost: type the same command again and it goes on from here.",
        highlight=False,
    )
