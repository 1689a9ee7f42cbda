"""Tables of decisions about labels: the review that a person fills in, and the corrections beside the data.

- The *review* (`REVIEW_HEADER`) lists suspicious labels. Its column ``decision`` is empty at first.
- The *corrections* (`CORRECTIONS_FILE`, `CORRECTIONS_HEADER`) hold the decisions, the label that each image had when it
  was decided, and the column that gave it. The reader of a data folder applies them (`trainer.data.corrections`).

Both headers are fixed, so that no reader takes such a table for a table of labels. Where an image may have several
labels, a cell holds all of them (`trainer.data.corrections.label_cells`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.common.errors import DataError
from trainer.formats.delimited import Table, read_table, write_table

REVIEW_HEADER = ("id", "given", "proposed", "confidence", "label_source", "decision")
CORRECTIONS_HEADER = ("id", "given", "decision", "fingerprint", "label_source")
EARLIER_REVIEW_HEADER, EARLIER_CORRECTIONS_HEADER = (
    tuple(name for name in header if name != "label_source") for header in (REVIEW_HEADER, CORRECTIONS_HEADER)
)
"""Tables from before decisions recorded what gave the label; they are still read."""
CORRECTIONS_FILE = "retable_corrections.csv"
"""Name of the corrections, directly in the folder of the data."""
KEEP, DROP = "keep", "drop"
"""Decisions besides the name of a class: the label is right; the image is left out of training."""
CLASS_PREFIX = "class:"
"""Before a class name that could be taken for `KEEP` or `DROP`: ``class:drop``."""


@dataclass(frozen=True, kw_only=True)
class ReviewRow:
    """A suspicious label in a review."""

    id: str
    given: str
    """Class name, or the cell of several labels."""
    proposed: str
    """As ``given``; may be empty in a table that a person wrote."""
    confidence: str
    """Probability of the proposed class, as text; of several labels the highest by which one is contradicted."""
    decision: str
    """As the person wrote it, without blanks around it; empty: not decided."""
    label_source: str = ""
    """As in `Correction`."""
    row: str = ""
    """The row's name in messages."""


@dataclass(frozen=True, kw_only=True)
class Correction:
    """The decision about the label of one image."""

    id: str
    given: str
    """The label in the data when it was decided, or the cell of all labels."""
    label: str | None
    """What the image is to have instead: ``given`` if it is right; None: the image is left out of training."""
    fingerprint: str
    """Fingerprint of the data set, without corrections, when it was decided."""
    label_source: str = ""
    """What gave the label (`trainer.data.image_set.ImageSet.label_source`); empty: not on record."""
    row: str = ""
    """The row's name in messages."""

    def is_about(self, label_source: str) -> bool:
        """Whether labels from ``label_source`` are decided about, as far as that is on record."""
        return self.label_source in ("", label_source)


def read_review(path: Path) -> list[ReviewRow]:
    """Read a review, as it was written or as a spreadsheet saved it.

    Raises:
        DataError: the file is no table, or its columns ``id``, ``given`` and ``decision`` are not there once each; the
            other ones of `REVIEW_HEADER` may be missing.
    """
    table = read_table(path)
    names = [name.strip().lower() for name in table.rows[0]]
    missing = [name for name in ("id", "given", "decision") if names.count(name) != 1]
    if missing:
        raise DataError(
            f"{path.name} is no review of labels: it needs one column {' and one '.join(map(repr, missing))}; "
            f"`search labels` writes one with the columns {', '.join(REVIEW_HEADER)}"
        )
    place = {name: names.index(name) if name in names else None for name in REVIEW_HEADER}

    def cell(cells: Sequence[str], name: str) -> str:
        column = place[name]
        return "" if column is None else cells[column]

    return [
        ReviewRow(
            id=cell(cells, "id"),
            given=cell(cells, "given"),
            proposed=cell(cells, "proposed"),
            confidence=cell(cells, "confidence"),
            decision=cell(cells, "decision").strip(),
            label_source=cell(cells, "label_source"),
            row=table.row_name(index),
        )
        for index, cells in enumerate(table.rows)
        if index
    ]


def write_review(path: Path, rows: Iterable[ReviewRow]) -> None:
    """Write a review atomically.

    Raises:
        OSError: the file cannot be written.
    """
    cells = ((row.id, row.given, row.proposed, row.confidence, row.label_source, row.decision) for row in rows)
    write_table(path, [REVIEW_HEADER, *cells])


def read_corrections(path: Path) -> list[Correction]:
    """Read the corrections of a data folder.

    Raises:
        DataError: the file cannot be read, has another header, or decides twice about one label of an image.
    """
    table = read_table(path)
    if table.rows[0] not in (CORRECTIONS_HEADER, EARLIER_CORRECTIONS_HEADER):
        raise DataError(
            f"{path.name} has the columns {', '.join(table.rows[0])[:200]}, not {', '.join(CORRECTIONS_HEADER)}: "
            "restore it, or move it out of the data folder"
        )
    found = [_correction(table, index) for index in range(1, len(table.rows))]
    if problems := decided_twice(found):
        raise DataError(problems)
    return found


def decided_twice(corrections: Iterable[Correction]) -> list[str]:
    """A problem for each decision about a label of an image that an earlier row decides about."""
    before: dict[tuple[str, str], list[Correction]] = defaultdict(list)
    problems: list[str] = []
    for each in corrections:
        earlier = before[each.id, each.given]
        twice = [other for other in earlier if other.is_about(each.label_source) or each.is_about(other.label_source)]
        problems += [
            f"{each.row}: {each.id!r} with the label {each.given!r} is decided in {other.row} already; remove one of "
            "the two rows"
            for other in twice[:1]
        ]
        earlier.append(each)
    return problems


def _correction(table: Table, index: int) -> Correction:
    identifier, given, decision, fingerprint, *source = table.rows[index]
    label: str | None = decision.removeprefix(CLASS_PREFIX)
    if decision == KEEP:
        label = given
    elif decision == DROP:
        label = None
    return Correction(
        id=identifier,
        given=given,
        label=label,
        fingerprint=fingerprint,
        label_source=source[0] if source else "",
        row=table.row_name(index),
    )


def write_corrections(path: Path, corrections: Iterable[Correction]) -> None:
    """Write the corrections of a data folder atomically.

    Raises:
        OSError: the file cannot be written.
    """
    rows = ((each.id, each.given, _written(each), each.fingerprint, each.label_source) for each in corrections)
    write_table(path, [CORRECTIONS_HEADER, *rows])


def _written(correction: Correction) -> str:
    label = correction.label
    if label is None:
        return DROP
    if label == correction.given:
        return KEEP
    return f"{CLASS_PREFIX}{label}" if is_keyword(label) or label.startswith(CLASS_PREFIX) else label


def is_keyword(text: str) -> bool:
    """Whether a decision is `KEEP` or `DROP`, in upper or lower case."""
    return text.strip().lower() in (KEEP, DROP)
