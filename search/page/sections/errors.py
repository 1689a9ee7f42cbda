"""Where the model errs: each class with its confusions, the confusion matrix, the reliability of the probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.page import text
from search.page.facts import Facts
from search.page.leader_predictions import LeaderPredictions
from search.page.svg.charts import Frame, Point, chart, x_scale, y_scale
from search.page.svg.matrix import matrix
from search.page.svg.rows import Mark, Row, rows_chart
from search.page.svg.shapes import Drawing
from search.study_state.study import Study
from trainer.evaluation.class_scores import ClassScore, class_scores, confusions
from trainer.evaluation.confusion.class_order import confusable_order, most_confused
from trainer.evaluation.confusion.confusable_groups import Groups, confusable_groups, mistakes, mistakes_within
from trainer.evaluation.confusion.confusion_matrix import confusion_matrix
from trainer.evaluation.metrics import METRICS
from trainer.evaluation.reliability import Reliability, reliability
from trainer.evaluation.targets import Targets
from trainer.evaluation.temperature_scaling import fit_temperature, scale_temperature

MOST_IN_MATRIX = 30
"""Largest number of classes in the confusion matrix; of more, those of the most frequent confusions are shown."""
SHOWN_CLASSES = 20
"""Number of classes in the picture of F1 scores, the worst ones, and of the most confused classes."""
SHOWN_CONFUSIONS = 15
PARTNERS = 3
"""Number of classes that a class is compared with in the table."""


@dataclass(frozen=True, kw_only=True)
class Partner:
    """Another class, and the number of images that are confused with it."""

    name: str
    """Empty: several classes together."""
    count: int


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """One class and its confusions."""

    name: str
    score: ClassScore
    taken_for: tuple[Partner, ...]
    """The classes that its images are taken for, the most frequent first."""
    mistaken: tuple[Partner, ...]
    """The classes whose images are taken for it."""
    suspects: int
    """Number of its labels that may be wrong (`trainer.evaluation.label_errors`)."""


@dataclass(frozen=True, kw_only=True)
class ConfusedPair:
    """Images of one class that are taken for another one."""

    true: str
    predicted: str
    count: int
    images: int
    """Number of images of the true class."""


@dataclass(frozen=True, kw_only=True)
class ErrorsView:
    """The errors of the leader's out-of-fold predictions."""

    source: str
    """Whose predictions these are."""
    summary: str
    confusions: tuple[ConfusedPair, ...]
    """The most frequent ones."""
    groups: tuple[tuple[str, ...], ...]
    """Names of the classes that a second stage could tell apart, by group."""
    groups_note: str
    """How many of the errors lie within the groups, and what could tell these classes apart; empty without groups."""
    classes: Drawing
    rows: tuple[ClassRow, ...]
    """The worst class first."""
    shown: int
    """Number of classes in ``classes``, the worst ones."""
    matrix: Drawing
    matrix_note: str
    matrix_names: tuple[str, ...]
    matrix_counts: tuple[tuple[int, ...], ...]
    """Images by true and predicted class, in the order of the picture."""
    reliability: Reliability
    reliability_drawing: Drawing
    reliability_note: str


def errors(facts: Facts) -> ErrorsView | None:
    """The errors of the leader; None before a trial has finished."""
    predictions, found = facts.predictions, facts.suspects
    if predictions is None or facts.several_labels:
        return None
    oof = predictions.oof
    y, names = facts.dataset.y, facts.dataset.class_names
    counts = confusion_matrix(y, oof.argmax(axis=1).astype(np.int64), len(names))
    doubtful = [] if found is None or found.too_many else [each.row for each in found.candidates]
    suspicious = np.bincount(y[doubtful], minlength=len(names))
    rows = _rows(counts, names, suspicious)
    order, note = _order(counts, ordinal=facts.metric == "qwk")
    block, ordered = counts[np.ix_(order, order)], [names[i] for i in order]
    right, groups = int(counts.trace()), confusable_groups(counts)
    plain = reliability(y, oof)
    hands_in_probabilities = METRICS[facts.metric].needs == "probabilities"
    scaled = None
    if hands_in_probabilities:
        temperature = predictions.temperature or fit_temperature(Targets(y), oof)
        scaled = reliability(y, scale_temperature(oof, temperature))
    return ErrorsView(
        source=_source(facts, predictions),
        summary=f"{right:,} of {len(y):,} images are right ({right / len(y):.1%}).",
        confusions=tuple(
            ConfusedPair(true=names[c.true], predicted=names[c.predicted], count=c.count, images=c.images)
            for c in confusions(counts)[:SHOWN_CONFUSIONS]
        ),
        groups=tuple(tuple(names[label] for label in group) for group in groups),
        groups_note=_groups_note(groups, counts, facts.study),
        classes=_class_chart(rows[:SHOWN_CLASSES]),
        rows=tuple(rows),
        shown=min(SHOWN_CLASSES, len(rows)),
        matrix=matrix("Confusion matrix: true classes in rows, predicted ones in columns", ordered, block),
        matrix_note=note,
        matrix_names=tuple(ordered),
        matrix_counts=tuple(tuple(int(count) for count in row) for row in block),
        reliability=plain,
        reliability_drawing=_reliability_chart(plain),
        reliability_note=_reliability_note(plain, scaled),
    )


def _source(facts: Facts, predictions: LeaderPredictions) -> str:
    """Whose predictions these are, and where they differ from what the score and the submission count."""
    line = (
        f"Out-of-fold predictions of {predictions.subject}: each training image is predicted by networks that did not "
        "see it, as its most probable class."
    )
    if predictions.note:
        line += f" {predictions.note}"
    if facts.study.protocol.weighting != "none":
        line += " All images count equally here, unlike in the scores."
    if facts.notes is not None and (facts.notes.offsets or facts.notes.cuts):
        line += f" The submission may prefer another class: its label rule is fitted to {facts.metric}."
    return line


def _groups_note(groups: Groups, counts: NDArray[np.int64], study: Study) -> str:
    if not groups:
        return ""
    within, wrong = mistakes_within(groups, counts), mistakes(counts)
    note = f"{within:,} of {text.counted(wrong, 'error')} lie within these groups ({within / wrong:.0%})."
    if study.second is not None:
        return note
    command = f"search start --study {study.name}-groups --two-stage-from {study.name}"
    return f"{note} A second stage can learn to tell them apart, and is used only if that really helps: {command}"


def _rows(counts: NDArray[np.int64], names: tuple[str, ...], suspicious: NDArray[np.int64]) -> list[ClassRow]:
    by_true: dict[int, list[Partner]] = {}
    by_predicted: dict[int, list[Partner]] = {}
    for pair in confusions(counts):
        by_true.setdefault(pair.true, []).append(Partner(name=names[pair.predicted], count=pair.count))
        by_predicted.setdefault(pair.predicted, []).append(Partner(name=names[pair.true], count=pair.count))
    rows = [
        ClassRow(
            name=names[score.label],
            score=score,
            taken_for=_first(by_true.get(score.label, [])),
            mistaken=_first(by_predicted.get(score.label, [])),
            suspects=int(suspicious[score.label]),
        )
        for score in class_scores(counts)
    ]
    return sorted(rows, key=lambda row: (2.0 if row.score.f1 is None else row.score.f1, row.score.label))


def _first(partners: list[Partner]) -> tuple[Partner, ...]:
    rest = sum(partner.count for partner in partners[PARTNERS:])
    return (*partners[:PARTNERS], *([Partner(name="", count=rest)] if rest else []))


def _order(counts: NDArray[np.int64], *, ordinal: bool) -> tuple[list[int], str]:
    """The classes of the matrix, and the sentence on what it shows.

    Args:
        ordinal: whether the classes have an order of their own, which then stays.
    """
    if ordinal and len(counts) <= MOST_IN_MATRIX:
        return list(range(len(counts))), (
            "Rows are true classes, columns what they are taken for, both in their own order. Orange cells are errors, "
            "the worse the further from the diagonal."
        )
    if len(counts) <= MOST_IN_MATRIX:
        return confusable_order(counts), (
            "Rows are true classes, columns what they are taken for. Orange cells are errors; classes that are "
            "confused lie together."
        )
    order = most_confused(counts, SHOWN_CLASSES) or list(range(SHOWN_CLASSES))
    block = counts[np.ix_(order, order)]
    hidden = int(counts.sum() - counts.trace()) - int(block.sum() - block.trace())
    return order, (
        f"The {len(order)} classes of the most frequent confusions, out of {len(counts)}. Orange cells are errors; "
        f"{text.counted(hidden, 'further error')} {'involves' if hidden == 1 else 'involve'} other classes."
    )


def _class_chart(rows: list[ClassRow]) -> Drawing:
    drawn = [
        Row(
            name=row.name,
            marks=(Mark(value=row.score.f1 or 0.0, is_bar=True, hint=f"F1 {row.score.f1 or 0.0:.3f}"),),
            note=f"F1 {row.score.f1:.3f}, n={row.score.images}" if row.score.f1 is not None else "no image",
        )
        for row in rows
    ]
    return rows_chart("F1 of each class, the worst first", drawn, label="F1", ends=(0.0, 1.0))


def _reliability_chart(found: Reliability) -> Drawing:
    points = [
        Point(
            x=b.confidence,
            y=b.accuracy,
            error=float(np.sqrt(b.accuracy * (1.0 - b.accuracy) / b.images)),
            hint=f"{text.counted(b.images, 'image')}: confidence {b.confidence:.0%}, right {b.accuracy:.0%}",
        )
        for b in found.bins
    ]
    frame = Frame(
        title="Share of right predictions against their confidence",
        x_label="confidence: largest probability",
        y_label="share that is right, ± 1 standard error",
        x=x_scale([0.0, 1.0], margin=0.02),
        y=y_scale([0.0, 1.0], margin=0.02),
    )
    return chart(frame, points, line=[(0.0, 0.0), (1.0, 1.0)])


def _reliability_note(found: Reliability, scaled: Reliability | None) -> str:
    """``scaled`` is None for a metric of labels: its export applies no temperature scaling."""
    if abs(found.overconfidence) < 0.02:
        verdict = "The probabilities can be taken at their word"
    elif found.overconfidence > 0:
        verdict = f"The probabilities are {found.overconfidence:.0%} too high on average (points below the line)"
    else:
        verdict = f"The probabilities are {-found.overconfidence:.0%} too low on average (points above the line)"
    line = f"{verdict}: expected calibration error {found.error:.3f}"
    if scaled is None:
        return f"{line}."
    return f"{line}, and {scaled.error:.3f} after temperature scaling, which an export applies if it raises the score."
