"""The data: classes and their sizes, duplicates, the shift to the test images, suspicious labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from search.page import text
from search.page.facts import Facts
from search.page.labels.sentences import summary
from search.page.svg.rows import Mark, Row, rows_chart
from search.page.svg.shapes import Drawing
from search.study_setup.data_folder import stored_corrections
from search.study_setup.image_weights import weights_lines
from storage.records.datasets import StoredDataset
from trainer.evaluation.label_errors.candidate import CandidateLabel
from trainer.evaluation.several_labels import class_counts

MOST_ROWS = 20
"""Largest number of classes in the picture: of more, the ten largest and the ten smallest."""
SHOWN_LABELS = 12


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A training image whose label may be wrong."""

    image: str
    given: tuple[CandidateLabel, ...]
    proposed: tuple[CandidateLabel, ...]


@dataclass(frozen=True, kw_only=True)
class DataView:
    """The data set as the database describes it."""

    drawing: Drawing
    left_out: int
    """Number of classes that the picture leaves out."""
    classes: tuple[tuple[str, int], ...]
    """Name and number of training images of each class, the largest first."""
    lines: tuple[str, ...]
    suspects_line: str
    """Empty before a trial has finished."""
    suspects: tuple[Suspect, ...]
    """The least probable label first."""


def data(facts: Facts) -> DataView:
    """The data set of the study."""
    dataset = facts.dataset
    counts = class_counts(dataset.y, len(dataset.class_names))
    classes = sorted(zip(dataset.class_names, counts.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))
    shown = classes if len(classes) <= MOST_ROWS else [*classes[: MOST_ROWS // 2], *classes[-MOST_ROWS // 2 :]]
    drawn = [Row(name=name, marks=(Mark(value=count, is_bar=True),), note=f"{count:,}") for name, count in shown]
    line, suspects = _suspects(facts)
    return DataView(
        drawing=rows_chart("Training images of each class", drawn, label="training images", ends=_ends(classes)),
        left_out=len(classes) - len(shown),
        classes=tuple(classes),
        lines=(*_corrections(dataset), *_duplicates(dataset), *_shift(facts), *_skipped(dataset)),
        suspects_line=line,
        suspects=suspects,
    )


def _ends(classes: list[tuple[str, int]]) -> tuple[float, float]:
    return 0.0, 1.04 * max(1, classes[0][1])


def _corrections(dataset: StoredDataset) -> Iterator[str]:
    if corrections := stored_corrections(dataset):
        yield f"{corrections[:1].upper()}{corrections[1:]}."


def _duplicates(dataset: StoredDataset) -> Iterator[str]:
    if dataset.groups is None:
        return
    images = dict(zip(dataset.train_ids, dataset.groups[: len(dataset.y)].tolist(), strict=True))
    together = [count for count in Counter(images.values()).values() if count > 1]
    if together:
        yield (
            f"{text.counted(sum(together), 'training image')} form {text.counted(len(together), 'group')} of "
            f"near-duplicates, up to {max(together)} in one. A group is always in one fold."
        )
    else:
        yield "No two training images are near-duplicates."


def _shift(facts: Facts) -> Iterator[str]:
    yield from weights_lines(facts.stores, facts.study)
    if not facts.dataset.test_ids:
        yield "There are no test images."
    elif facts.study.protocol.weighting == "none":
        yield (
            f"`{text.command('search', 'check', '--study', facts.study.name)}` compares the test images with the "
            "training images by their sizes and their content. What it finds is not stored with a study."
        )


def _skipped(dataset: StoredDataset) -> Iterator[str]:
    skipped = dataset.summary.get("skipped")
    if isinstance(skipped, list) and skipped:
        yield f"{text.counted(len(skipped), 'file')} could not be read and were left out."


def _suspects(facts: Facts) -> tuple[str, tuple[Suspect, ...]]:
    found = facts.suspects
    if facts.leader is None:
        return "", ()
    if found is None:
        return f"The labels are not judged: {facts.unjudged}.", ()
    command = text.command("search", "labels", "--study", facts.study.name)
    line = f"{' '.join(summary(found))} `{command}` shows pictures and corrects labels."
    shown = () if found.too_many else found.candidates[:SHOWN_LABELS]
    ids = facts.dataset.train_ids
    return line, tuple(Suspect(image=ids[each.row], given=each.given, proposed=each.proposed) for each in shown)
