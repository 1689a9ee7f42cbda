"""``search submissions``: every export, what the competition's board said of it, and what that means."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from rich.console import Console

from search.export.notes import ExportNotes, ImportNotes, RecipeNotes
from search.report.leaderboard import board_lines
from search.runtime.console import Column, open_console, print_table, say
from search.statistics.submission_scores import Board, Submission
from search.study_state.study import Study
from storage.records.datasets import StoredDataset
from storage.records.exports import ExportRecord
from storage.stores import Stores, open_stores
from trainer.evaluation.metrics import METRICS


class NoExport(ValueError):  # noqa: N818 - named for the fact
    """There is no export, or none of that number."""


class ImpossibleScore(ValueError):  # noqa: N818 - named for the fact
    """A score that the metric cannot have."""


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """What a person says of the board. None: not typed."""

    export: int | None = None
    """Number of the export; None: the latest."""
    public: float | None = None
    private: float | None = None
    public_images: int | None = None

    @property
    def anything(self) -> bool:
        """Whether there is anything to record."""
        return any(told is not None for told in (self.public, self.private, self.public_images))


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An export and the study that it is of."""

    study: Study
    export: ExportRecord

    @property
    def metric(self) -> str:
        """What the study maximises."""
        return self.study.metric

    @cached_property
    def notes(self) -> ExportNotes:
        """What the export was made from.

        Raises:
            StorageError: they are damaged.
        """
        return ExportNotes.from_json(self.export.notes)


def submissions(name: str | None, url: str, request: ScoreRequest) -> None:
    """List the exports of a study, or of all; first record what was said of one of them.

    Raises:
        UnknownStudyError: no study of that name.
        NoExport: there is none of that number.
        ImpossibleScore: a score outside of what the metric can be.
        StorageError: a number of public images that there cannot be. In all of these cases nothing was recorded.
    """
    stores = open_stores(url)
    console = open_console()
    entries = entries_of(stores, name)
    if request.anything or request.export is not None:
        for line in record(stores, find_entry(entries, request.export), request):
            say(console, line)
        entries = entries_of(stores, name)
    if not entries:
        say(
            console,
            "Nothing has been exported yet: `search start` ends by exporting, `search export-best` does it again.",
        )
    print_submissions(console, stores, entries)


def entries_of(stores: Stores, name: str | None) -> list[Entry]:
    """Every export of a study, or of all studies, the oldest first."""
    rows = stores.studies.all() if name is None else [stores.studies.get(name)]
    studies = [Study.of(row) for row in rows]
    entries = [Entry(study=study, export=export) for study in studies for export in stores.exports.all(study.id)]
    return sorted(entries, key=lambda entry: entry.export.id)


def find_entry(entries: Sequence[Entry], number: int | None) -> Entry:
    """The export of that number, or the latest.

    Raises:
        NoExport: there is none.
    """
    if not entries:
        raise NoExport("nothing has been exported yet, so there is nothing to record a score of: `search export-best`")
    if number is None:
        return entries[-1]
    for entry in entries:
        if entry.export.id == number:
            return entry
    valid = ", ".join(str(entry.export.id) for entry in entries)
    raise NoExport(f"there is no export {number} here; there are: {valid} (`search submissions` lists them)")


def record(stores: Stores, entry: Entry, request: ScoreRequest) -> Iterator[str]:
    """Record what was said, all or nothing, and tell it in lines.

    Raises:
        ImpossibleScore, StorageError: as `submissions`.
    """
    public, private = (
        None if typed is None else as_scored(entry.metric, typed) for typed in (request.public, request.private)
    )
    if request.public_images is not None:
        stores.datasets.set_public_images(entry.study.fingerprint, request.public_images)
        yield f"Public scores of this competition are on {request.public_images} test images."
    before = stores.exports.record_scores(entry.export.id, public=public, private=private)
    for which, new, old in (("public", public, before.public_score), ("private", private, before.private_score)):
        if new is not None:
            instead = "" if old is None else f", in place of {old:.4f}"
            yield f"Recorded: the {which} score of export {entry.export.id} is {new:.4f}{instead}."


def as_scored(metric: str, typed: float) -> float:
    """A score as the board shows it, as studies count: higher is better. A log loss is negated, which boards do not.

    Raises:
        ImpossibleScore: the metric cannot be that; the message says what it can be.
    """
    low, high = METRICS[metric].bounds
    value = -abs(typed) if metric == "log_loss" else typed
    if not (low <= value <= high and abs(value) < float("inf")):
        valid = "any number from 0 on" if metric == "log_loss" else f"from {low:g} to {high:g}"
        percent = f"; {typed:g} percent is {typed / 100:g}" if high == 1 and 1 < typed <= 100 else ""
        raise ImpossibleScore(f"{metric} cannot be {typed:g}: it is {valid}{percent}")
    return value


def print_submissions(console: Console, stores: Stores, entries: Sequence[Entry]) -> None:
    """The exports by competition (data set and metric), each followed by what the board tells of them."""
    folders = {entry.export.folder: entry.export.id for entry in entries_of(stores, None)}
    competitions: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        competitions.setdefault((entry.study.fingerprint, entry.metric), []).append(entry)
    for (fingerprint, metric), held in competitions.items():
        dataset = stores.datasets.get(fingerprint)
        public = "" if dataset.public_images is None else f", {dataset.public_images} of them public"
        print_table(
            console,
            f"{metric} on {len(dataset.train_ids)} training and {len(dataset.test_ids)} test images{public}",
            [
                *(
                    Column(name=name, number=True)
                    for name in ("export", "out-of-fold", "forecast", "public", "private")
                ),
                Column(name="made of", prose=True),
                Column(name="folder", prose=True),
            ],
            [_row(entry, overwritten=folders[entry.export.folder] != entry.export.id) for entry in held],
        )
        for line in _told(held, dataset):
            say(console, line)


def what_it_is(notes: ExportNotes) -> str:
    """Which trials, seeds and views an export was made from, after the notes kept with it."""
    if notes.members:
        parts = [_named(one) + ("" if one.weight is None else f" x {one.weight:.2g}") for one in notes.members]
        recipes = sum(isinstance(one, RecipeNotes) for one in notes.members)
        facts = [f"trial{'s' * (recipes != 1)} {', '.join(parts)}"]
    else:
        facts = [f"trial {_of_study(notes.study)}{notes.trial}"]
    facts.append(f"{notes.seeds} seed{'s' * (notes.seeds != 1)}")
    if notes.full_data:
        facts.append("trained on all images")
    if notes.views:
        facts.append("views " + "+".join(notes.views))
    return ", ".join(facts)


def _named(member: RecipeNotes | ImportNotes) -> str:
    """A member of an export; with its study where that is another than the export's."""
    study = _of_study(member.study)
    return f"imported {study}{member.label}" if isinstance(member, ImportNotes) else f"{study}{member.trial}"


def _of_study(name: str | None) -> str:
    return "" if name is None else f"{name}:"


def _row(entry: Entry, *, overwritten: bool) -> tuple[str, ...]:
    export = entry.export
    public, private = ("-" if s is None else f"{s:.4f}" for s in (export.public_score, export.private_score))
    when = datetime.datetime.fromtimestamp(export.created)
    return (
        str(export.id),
        "-" if export.score is None else f"{export.score:.4f} ± {export.score_se or 0.0:.4f}",
        _forecast(export.forecast),
        public,
        private,
        f"{entry.study.name}: {what_it_is(entry.notes)}, {when:%Y-%m-%d %H:%M}",
        f"{export.folder}{' (holds a later export by now)' * overwritten}",
    )


def believed(export: ExportRecord) -> tuple[float | None, float | None]:
    """What an export may be expected to score, and the standard error of that: by its forecast where it has one. Its
    own out-of-fold score is on the split by which the search chose, and so flatters.
    """
    expected, error = ((export.forecast or {}).get(name) for name in ("expected", "error"))
    if isinstance(expected, (int, float)) and isinstance(error, (int, float)):
        return float(expected), float(error)
    return export.score, export.score_se


def _forecast(forecast: dict[str, object] | None) -> str:
    expected, low, high = ((forecast or {}).get(name) for name in ("expected", "low", "high"))
    if not all(isinstance(number, (int, float)) for number in (expected, low, high)):
        return "-"
    return f"{expected:.4f} ({low:.4f} to {high:.4f})"


def _told(held: Sequence[Entry], dataset: StoredDataset) -> Iterator[str]:
    if not dataset.test_ids:
        return
    submitted: list[Submission] = []
    for entry in held:
        export = entry.export
        if entry.notes.labels is None and len(held) > 1:
            yield (
                f"note: what export {export.id} predicts cannot be compared: it was exported before labels were "
                "stored; export again"
            )
        estimate, estimate_error = believed(export)
        submitted.append(
            Submission(
                number=export.id,
                estimate=estimate,
                estimate_error=estimate_error,
                public=export.public_score,
                private=export.private_score,
                labels=entry.notes.labels,
            )
        )
    board = Board(
        metric=held[0].metric,
        train_images=len(dataset.train_ids),
        test_images=len(dataset.test_ids),
        public_images=dataset.public_images,
        submissions=tuple(submitted),
    )
    lines = board_lines(board)
    yield from lines or ["Record a score: `search submissions --public SCORE --public-images IMAGES`"]
