"""Where a model of several labels errs: each label with its scores, and labels that are predicted for each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from search.page import text
from search.page.facts import Facts
from search.page.svg.rows import Mark, Row, rows_chart
from search.page.svg.shapes import Drawing
from trainer.evaluation.class_scores import LabelScore, label_scores

SHOWN_LABELS = 20
"""Number of labels in the picture of F1 scores, the worst ones."""


@dataclass(frozen=True, kw_only=True)
class LabelRow:
    """One label."""

    name: str
    score: LabelScore


@dataclass(frozen=True, kw_only=True)
class LabelScoresView:
    """The errors of the leader's out-of-fold predictions."""

    source: str
    """Whose predictions these are."""
    summary: str
    rows: tuple[LabelRow, ...]
    """The worst label first."""
    drawing: Drawing
    shown: int
    """Number of labels in ``drawing``."""


def scores_of_labels(facts: Facts) -> LabelScoresView | None:
    """The errors of the leader; None before a trial has finished, and where each image has one label."""
    predictions = facts.predictions
    if predictions is None or not facts.several_labels:
        return None
    y, names = facts.dataset.y, facts.dataset.class_names
    predicted = (predictions.oof > 0.5).astype(np.int64)
    rows = [LabelRow(name=names[own.score.label], score=own) for own in label_scores(y, predictions.oof, predicted)]
    rows.sort(key=lambda row: (2.0 if row.score.score.f1 is None else row.score.score.f1, row.score.score.label))
    missed, wrong = int((y > predicted).sum()), int((predicted > y).sum())
    exact = int((y == predicted).all(axis=1).sum())
    shown = rows[:SHOWN_LABELS]
    return LabelScoresView(
        source=f"Out-of-fold predictions of {predictions.subject}: each training image is predicted by networks that "
        "did not see it, to have the labels of a probability above 0.5."
        + f" {predictions.note}" * bool(predictions.note)
        + " The submission may use other thresholds, fitted to the metric." * bool(facts.notes and facts.notes.offsets),
        summary=f"All labels of {exact:,} of {len(y):,} images are right ({exact / len(y):.1%}). Of "
        f"{text.counted(int(y.sum()), 'label')} {missed:,} {'is' if missed == 1 else 'are'} missed; "
        f"{text.counted(wrong, 'further label')} {'is' if wrong == 1 else 'are'} predicted wrongly.",
        rows=tuple(rows),
        drawing=rows_chart(
            "F1 of each label, the worst first", [_bar(row) for row in shown], label="F1", ends=(0.0, 1.0)
        ),
        shown=len(shown),
    )


def _bar(row: LabelRow) -> Row:
    f1 = row.score.score.f1
    mark = Mark(value=f1 or 0.0, is_bar=True, hint=f"F1 {f1 or 0.0:.3f}")
    return Row(
        name=row.name, marks=(mark,), note="no image" if f1 is None else f"F1 {f1:.3f}, n={row.score.score.images}"
    )
