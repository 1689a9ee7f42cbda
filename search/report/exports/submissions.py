"""``search submissions``: every export with its forecast and leaderboard scores, and conclusions from them."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from rich.console import Console

from search.export.notes import ExportNotes
from search.report.exports.export_members import describe_export
from search.report.exports.leaderboard import board_lines
from search.runtime.console import Column, open_console, print_table, say
from search.runtime.errors import SearchError
from search.statistics.submission_scores import Board, Submission
from search.study_state.study import Study
from storage.records.datasets import StoredDataset
from storage.records.exports import ExportRecord
from storage.stores import Stores, open_stores
from trainer.evaluation.metrics import METRICS


class NoExport(SearchError):
    """There is no export, or none with the given number."""


class ImpossibleScore(SearchError):
    """A score outside the range of the metric."""


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """Options of ``search submissions``: leaderboard scores to record. None: not given."""

    export: int | None = None
    """Number of the export; None: the latest."""
    public: float | None = None
    private: float | None = None
    public_images: int | None = None
    """Number of test images that the public score is on."""

    @property
    def has_scores(self) -> bool:
        """Whether there is anything to record."""
        return any(value is not None for value in (self.public, self.private, self.public_images))


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An export and its study."""

    study: Study
    export: ExportRecord

    @property
    def metric(self) -> str:
        """What the study maximises."""
        return self.study.metric

    @cached_property
    def notes(self) -> ExportNotes:
        """Members, trainings and blend of the export.

        Raises:
            StorageError: the stored notes are damaged.
        """
        return ExportNotes.from_json(self.export.notes)


def submissions(name: str | None, url: str, request: ScoreRequest) -> None:
    """Record the leaderboard scores in ``request``, if there are any, then list the exports.

    Args:
        name: of the study whose exports are listed; None: all studies.

    Raises:
        UnknownStudyError: there is no study of that name.
        NoExport: there is no export with the requested number.
        ImpossibleScore: a score is outside the range of the metric.
        StorageError: the number of public images is impossible. In all of these cases nothing was recorded.
    """
    stores = open_stores(url)
    console = open_console()
    entries = entries_of(stores, name)
    if request.has_scores or request.export is not None:
        for line in record(stores, find_entry(entries, request.export), request):
            say(console, line)
        entries = entries_of(stores, name)
    if not entries:
        command = f"search export-best --study {stores.study(name).name}"
        say(console, f"Nothing has been exported yet. `{command}` exports the best trials so far.")
    print_submissions(console, stores, entries)


def entries_of(stores: Stores, name: str | None) -> list[Entry]:
    """All exports of a study, or of all studies, the oldest first."""
    rows = stores.studies.all() if name is None else [stores.studies.get(name)]
    studies = [Study.of(row) for row in rows]
    entries = [Entry(study=study, export=export) for study in studies for export in stores.exports.all(study.id)]
    return sorted(entries, key=lambda entry: entry.export.id)


def latest_in_folders(stores: Stores) -> frozenset[int]:
    """The latest export of each folder. Each other export was overwritten by one of them."""
    exports = [export for study in stores.studies.all() for export in stores.exports.all(study.id)]
    exports.sort(key=lambda export: export.id)
    return frozenset({export.folder: export.id for export in exports}.values())


def shown_folder(export: ExportRecord, latest: Collection[int]) -> str:
    """The folder of an export, and that a later one overwrote it if it is not among the ``latest``."""
    return f"{export.folder}{' (overwritten by a later export)' * (export.id not in latest)}"


def find_entry(entries: Sequence[Entry], number: int | None) -> Entry:
    """The export with that number; None: the latest.

    Raises:
        NoExport: there is no such export.
    """
    if not entries:
        raise NoExport("nothing has been exported yet, so no score can be recorded; `search export-best` exports")
    if number is None:
        return entries[-1]
    for entry in entries:
        if entry.export.id == number:
            return entry
    valid = ", ".join(str(entry.export.id) for entry in entries)
    raise NoExport(f"there is no export {number} here; there are: {valid} (`search submissions` lists them)")


def record(stores: Stores, entry: Entry, request: ScoreRequest) -> Iterator[str]:
    """Record all scores of ``request``, or none of them.

    Yields:
        A sentence for each recorded value.

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
            replaced = "" if old is None else f", in place of {old:.4f}"
            yield f"Recorded: the {which} score of export {entry.export.id} is {new:.4f}{replaced}."


def as_scored(metric: str, typed: float) -> float:
    """Convert a leaderboard score to a study's: higher is better, so a log loss is negated.

    Raises:
        ImpossibleScore: the score is outside the range of the metric; the message gives the range.
    """
    low, high = METRICS[metric].bounds
    value = -abs(typed) if metric == "log_loss" else typed
    if not (low <= value <= high and abs(value) < float("inf")):
        valid = "any number from 0 on" if metric == "log_loss" else f"from {low:g} to {high:g}"
        percent = f"; {typed:g} percent is {typed / 100:g}" if high == 1 and 1 < typed <= 100 else ""
        raise ImpossibleScore(f"{metric} cannot be {typed:g}: it is {valid}{percent}")
    return value


def print_submissions(console: Console, stores: Stores, entries: Sequence[Entry]) -> None:
    """Print a table of exports for each competition (data set and metric), each with conclusions from the scores."""
    latest = latest_in_folders(stores)
    competitions: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        competitions.setdefault((entry.study.fingerprint, entry.metric), []).append(entry)
    for (fingerprint, metric), competing in competitions.items():
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
            [
                _row(
                    entry,
                    shown_folder(entry.export, latest),
                    twin=next(iter(_copies(entry, competing, before=True)), None),
                    scored=_scored_copy(entry, competing),
                )
                for entry in competing
            ],
        )
        for line in _conclusions(competing, dataset, latest):
            say(console, line)


def _copies(entry: Entry, competing: Sequence[Entry], *, before: bool = False) -> list[Entry]:
    """The other exports that give every test image the same labels, the oldest first.

    Args:
        before: of the earlier ones alone.
    """
    labels = entry.notes.labels
    return [
        other
        for other in competing
        if other.export.id != entry.export.id
        and (other.export.id < entry.export.id or not before)
        and labels is not None
        and other.notes.labels is not None
        and np.array_equal(labels, other.notes.labels)
    ]


def _scored_copy(entry: Entry, competing: Sequence[Entry]) -> Entry | None:
    """The latest copy whose public score is that of ``entry`` as well; None: it has its own, or there is none.

    Where the metric scores probabilities, equal labels make no copy.
    """
    if entry.export.public_score is not None or METRICS[entry.metric].needs == "probabilities":
        return None
    scored = [copy for copy in _copies(entry, competing) if copy.export.public_score is not None]
    return scored[-1] if scored else None


def _row(entry: Entry, folder: str, *, twin: Entry | None, scored: Entry | None) -> tuple[str, ...]:
    export = entry.export
    public, private = ("-" if s is None else f"{s:.4f}" for s in (export.public_score, export.private_score))
    if scored is not None:
        public = f"{scored.export.public_score:.4f} (export {scored.export.id})"
    when = datetime.datetime.fromtimestamp(export.created)
    return (
        str(export.id),
        "-" if export.score is None else f"{export.score:.4f} ± {export.score_se or 0.0:.4f}",
        _forecast(export.forecast),
        public,
        private,
        f"{entry.study.name}: {describe_export(entry.notes)}, {when:%Y-%m-%d %H:%M}"
        + ("" if twin is None else f", the same labels as export {twin.export.id}"),
        folder,
    )


def expected_score(export: ExportRecord) -> tuple[float | None, float | None]:
    """Expected score of an export and its standard error.

    It is the forecast if there is one. Else it is the out-of-fold score, which is optimistic, because the recipe was
    chosen on the same split.
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


def _conclusions(competing: Sequence[Entry], dataset: StoredDataset, latest: Collection[int]) -> Iterator[str]:
    if not dataset.test_ids:
        return
    submitted: list[Submission] = []
    for entry in competing:
        export = entry.export
        if entry.notes.labels is None and len(competing) > 1:
            yield (
                f"note: the labels of export {export.id} cannot be compared, because it was exported before labels "
                "were stored; export again"
            )
        estimate, estimate_error = expected_score(export)
        submitted.append(
            Submission(
                number=export.id,
                estimate=estimate,
                estimate_error=estimate_error,
                public=export.public_score,
                private=export.private_score,
                labels=entry.notes.labels,
                is_overwritten=export.id not in latest,
            )
        )
    board = Board(
        metric=competing[0].metric,
        train_images=len(dataset.train_ids),
        test_images=len(dataset.test_ids),
        public_images=dataset.public_images,
        submissions=tuple(submitted),
    )
    study = competing[-1].study.name
    yield from board_lines(board, study) or [
        f"Record a score: `search submissions --study {study} --public SCORE --public-images N`. N is the number of "
        "test images behind public scores, which the competition's page gives"
    ]
