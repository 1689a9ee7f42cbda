"""The note at the top of a study's page in Optuna Dashboard, as Markdown: the answer first, then how to read the page.

Other programs that show the note may render HTML inside Markdown. So every name from outside is
escaped (`search.export.model_card.plain`).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from search.export.doubts import doubts_of_data
from search.export.model_card import plain
from search.export.notes import ExportNotes
from search.export.output.manifest import SUBMISSION
from search.report.exports.export_members import describe_export
from search.report.finalists.comparison import Comparison, NothingConfirmed, compare_finalists
from search.report.live.progress import recipe_difference
from search.report.live.schedule import schedule_line
from search.report.live.status_line import status_line
from search.report.status import state_of
from search.runtime.commands import complete, completed
from search.study_state.snapshot import StudySnapshot
from search.study_state.stages import running_work, search_is_over
from storage.records.exports import ExportRecord
from storage.stores import Stores
from storage.values import TrialRecord, TrialStatus
from trainer.evaluation.metrics import METRICS
from trainer.inference.printable import printable

REPORT = "report.html"
"""Name of the report in the folder of an export."""
CARD = "MODEL_CARD.md"
BEST = 5
"""Number of trials in the table of the best."""
LARGE_STUDY = 1000
"""Number of trials above which a page of the dashboard may take longer than two seconds (`benchmarks/`)."""
_LONGEST_CARD = 2**16  # characters


def study_note(stores: Stores, snapshot: StudySnapshot, folder: Path, *, shows_metric: bool = True) -> str:
    """The note of a study at the moment of ``snapshot``.

    Args:
        folder: of the study's exports.
        shows_metric: whether the value of a trial is the metric; false in a study of an earlier release.
    """
    exports = stores.exports.all(snapshot.study.id)
    export = exports[-1] if exports else None
    comparison = _comparison(stores, snapshot)
    files = folder if export is None else Path(export.folder)
    parts = [
        _answer(snapshot, export),
        "### Progress",
        _progress(stores, snapshot),
        *_best(snapshot, comparison),
        *_list("### Doubts", _doubts(stores, snapshot, comparison, export)),
        *_list("### Files", _files(snapshot, files)),
        *_list("### How to read this page", _legend(snapshot, shows_metric)),
    ]
    card = _card(files) if export is not None else ""
    return "\n\n".join([*parts, *(["---", card] if card else [])]) + "\n"


def study_facts(stores: Stores, snapshot: StudySnapshot) -> dict[str, str]:
    """What the first page of a study shows as its user attributes, in the order of the keys: short plain texts.

    The note has a page of its own, which the last of them names.
    """
    exports = stores.exports.all(snapshot.study.id)
    best = snapshot.ranking[0] if snapshot.ranking else None
    answer = "no trial has finished yet"
    if best is not None:
        score = f"{snapshot.metric} {best.value:.4f} ± {best.standard_error:.4f}"
        answer = f"{score}: {snapshot.name_of(best.number)} is the best so far"
    if exports and exports[-1].forecast is not None:
        forecast = exports[-1].forecast
        interval = f"90% interval {forecast['low']:.4f} to {forecast['high']:.4f}"
        answer = f"{snapshot.metric} {forecast['expected']:.4f} expected of the exported model, {interval}"
    progress = status_line(snapshot, "", bar=False).partition(" · best:")[0]
    return {
        "1. answer": answer,
        "2. progress": f"{state_of(snapshot)}: {progress}",
        "3. more": "the page Note, the last symbol on the left: finalists, doubts, files, how to read the plots",
    }


def _comparison(stores: Stores, snapshot: StudySnapshot) -> Comparison | None:
    if snapshot.confirms_done:
        with suppress(NothingConfirmed):
            return compare_finalists(stores, snapshot.study.name)
    return None


def _answer(snapshot: StudySnapshot, export: ExportRecord | None) -> str:
    if export is not None:
        return _exported(snapshot, export)
    if not snapshot.ranking:
        return "## No trial has finished yet"
    best = snapshot.ranking[0]
    record = next(record for record in snapshot.records if record.number == best.number)
    recipe = record.recipe or {}
    return (
        f"## {plain(snapshot.metric)} {best.value:.4f} ± {best.standard_error:.4f}: "
        f"{plain(snapshot.name_of(best.number))}, the best so far\n\n"
        f"{plain(str(recipe.get('backbone')))} at {recipe.get('image_size')} px: {_settings(snapshot, record)}. "
        "Measured on the training images that were held out, ± standard error. The same images choose the best, so "
        "expect less on new images."
    )


def _exported(snapshot: StudySnapshot, export: ExportRecord) -> str:
    forecast, backbone = export.forecast, plain(str(export.recipe.get("backbone")))
    if forecast is not None:
        score = f"{forecast['expected']:.4f} expected on the {forecast['test_images']:,} test images"
        about = f"90% interval {forecast['low']:.4f} to {forecast['high']:.4f}. "
    elif export.score is not None:
        score, about = f"{export.score:.4f} ± {export.score_se or 0.0:.4f} on held-out training images", ""
    else:
        score, about = "unknown: no image was held out", ""
    boards = [("Public", export.public_score), ("private", export.private_score)]
    public = ", ".join(f"{name} score {value:.4f}" for name, value in boards if value is not None)
    made = plain(describe_export(ExportNotes.from_json(export.notes)))
    return (
        f"## {plain(snapshot.metric)} {score}\n\n{about}The exported model: {backbone} at "
        f"{export.recipe.get('image_size')} px; {made}; exported {_moment(export.created)}."
        + f" {public}."
        * bool(public)
    )


def _progress(stores: Stores, snapshot: StudySnapshot) -> str:
    is_over = search_is_over(snapshot) and not (snapshot.confirms_open or snapshot.refits_open)
    line = status_line(snapshot, "" if is_over else running_work(stores, snapshot), bar=False)
    schedule = schedule_line(stores, snapshot)
    workers = f"{snapshot.workers} worker{'s' * (snapshot.workers != 1)}"
    return "\n".join(
        [
            f"- {plain(state_of(snapshot))}, {workers}: {plain(line)}",
            *([f"- {_prose(schedule)}"] if schedule else []),
            f"- As of {_moment(stores.database.now())}.",
        ]
    )


def _best(snapshot: StudySnapshot, comparison: Comparison | None) -> Iterator[str]:
    """The finalists on fresh splits, else the best trials of the search, as a heading and a table."""
    metric = plain(snapshot.metric)
    if comparison is not None:
        yield "### Finalists on fresh splits"
        leader = comparison.estimates.leader
        rows = [
            f"| {plain(str(row.name))}{' =' * (row.tied and row is not leader)} | {row.averaged:.4f} | "
            + ("leads" if row is leader else f"{row.gap_to_leader:z.4f} ± {row.gap_error:.4f}")
            + f" | {row.chance_best:.0%} | {plain(comparison.differences[row.number])} |"
            for row in comparison.estimates.rows
        ]
        head = f"| recipe | {metric} of the average | behind the leader | chance to be the best | settings |"
        yield "\n".join([head, "| --- | ---: | ---: | ---: | --- |", *rows])
        yield "= may be as good as the leader: within one standard error."
        return
    if not snapshot.ranking:
        return
    yield "### Best trials"
    records = {record.number: record for record in snapshot.records}
    rows = [
        f"| {plain(snapshot.name_of(c.number))} | {c.value:.4f} ± {c.standard_error:.4f} | "
        f"{plain(str((records[c.number].recipe or {}).get('backbone')))} | {_settings(snapshot, records[c.number])} |"
        for c in snapshot.ranking[:BEST]
    ]
    yield "\n".join([f"| trial | {metric} | backbone | settings |", "| --- | ---: | --- | --- |", *rows])


def _settings(snapshot: StudySnapshot, record: TrialRecord) -> str:
    return (
        plain(recipe_difference(record, snapshot.study.spec.default_recipe())) or "the settings of the default recipe"
    )


def _doubts(
    stores: Stores, snapshot: StudySnapshot, comparison: Comparison | None, export: ExportRecord | None
) -> Iterator[str]:
    """Doubts about the export, as `search export-best` prints them; before there is one, those about the search."""
    exported = None if export is None else ExportNotes.from_json(export.notes).doubts
    if exported is not None:
        yield from map(_prose, exported)
        return
    study = snapshot.study
    if study.state_reason:
        yield _prose(study.state_reason)
    if comparison is not None:
        yield from map(_prose, comparison.doubts)
    elif snapshot.ranking:
        yield "No recipe was tested on fresh splits yet, so the lead of the best trial may be luck."
    failed = snapshot.count(TrialStatus.FAILED)
    if failed:
        yield f"{failed} failed: {_command(f'search status --failed --study {study.name}')} shows the reasons."
    yield from map(_prose, doubts_of_data(stores.datasets.get(study.fingerprint), study.name))


def _files(snapshot: StudySnapshot, folder: Path) -> Iterator[str]:
    report, command = folder / REPORT, _command(f"search report --study {snapshot.study.name}")
    if report.is_file():
        yield f"Report: {_code(str(report))}. {command} writes it again."
    else:
        yield f"Report: {command} writes it to {_code(str(report))}."
    if (folder / SUBMISSION).is_file():
        yield f"Submission: {_code(str(folder / SUBMISSION))}"
    if (folder / CARD).is_file():
        yield f"Model card: {_code(str(folder / CARD))}"


def _legend(snapshot: StudySnapshot, shows_metric: bool) -> Iterator[str]:
    metric = plain(snapshot.metric)
    value = f"The value of a trial is its {metric} on held-out images"
    if not shows_metric:
        value = f"The value of a trial is the mean of its {metric} and of 1 minus its Brier score"
    yield (
        f"{value}, higher is better. The plot of intermediate values shows another number: the mean probability that "
        "the networks give to the right class, after each epoch. Pruning compares trials by it."
    )
    if METRICS[snapshot.metric].needs == "labels" and shows_metric:
        yield (
            f"Retable ranks trials by {metric} together with the Brier score (column {_code('search_objective')}), "
            f"because {metric} alone is mostly luck among the best. So the trial with the highest value, which the "
            "dashboard calls the best, may be another one."
        )
    yield "Learning curves of the best trials are among the artifacts of these trials."
    if len(snapshot.records) > LARGE_STUDY:
        name = snapshot.study.name
        yield (
            f"**This study has {len(snapshot.records):,} trials: its pages are slow here.** "
            f"{_command(f'search status --study {name}')} and {_command(f'search report --study {name}')} are not."
        )


def _list(heading: str, lines: Iterator[str]) -> list[str]:
    """A heading and a list; nothing without lines."""
    items = [f"- {line}" for line in lines]
    return [heading, "\n".join(items)] if items else []


def _prose(text: str) -> str:
    """A sentence with commands in backticks, which are completed."""
    parts = complete(text).split("`")
    return "".join(_code(part) if i % 2 else _ends(part) for i, part in enumerate(parts))


def _ends(text: str) -> str:
    """A part of a sentence; `plain` removes the blanks at its ends."""
    return f"{' ' * text.startswith(' ')}{plain(text)}{' ' * (text.endswith(' ') and bool(text.strip()))}"


def _command(command: str) -> str:
    return _code(completed(command))


def _code(text: str) -> str:
    """Text from outside as code. The dashboard shows HTML tags as they are written, so that backticks enclose it."""
    shown = printable(" ".join(text.split()))
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    space = " " * (shown.startswith("`") or shown.endswith("`"))
    return f"{fence}{space}{shown}{space}{fence}"


def _moment(unix: float) -> str:
    return f"{datetime.datetime.fromtimestamp(unix):%Y-%m-%d %H:%M}"


def _card(folder: Path) -> str:
    """The model card of an export without the tables of its recipes; empty if this machine does not have it."""
    try:
        with (folder / CARD).open(encoding="utf-8") as file:
            return file.read(_LONGEST_CARD).partition("\n## Recipe")[0].strip()
    except (OSError, UnicodeDecodeError):
        return ""
