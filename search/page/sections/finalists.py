"""Which recipes tie: paired gaps to the leader with their standard errors."""

from __future__ import annotations

from dataclasses import dataclass

from search.page import text
from search.page.facts import Facts
from search.page.svg.rows import Mark, Row, rows_chart
from search.page.svg.shapes import Drawing
from search.report.finalists.comparison import Comparison
from search.report.live.progress import recipe_difference
from search.statistics.paired_gain import quick_gain
from search.study_state.study_targets import read_targets
from storage.values import DEFAULT_TRIAL, TrialRecord

MOST_OF_SEARCH = 6
"""Number of trials that are compared without fresh splits."""


@dataclass(frozen=True, kw_only=True)
class FinalistRow:
    """One recipe."""

    name: str
    score: str
    gap: str
    """How far below the leader, with its standard error; ``leads`` for the leader."""
    chance: str
    """Probability of being the best; empty if it is unknown."""
    tied: bool
    recipe: str


@dataclass(frozen=True, kw_only=True)
class FinalistsView:
    """The comparison of the best recipes."""

    summary: str
    lines: tuple[str, ...]
    drawing: Drawing
    rows: tuple[FinalistRow, ...]
    """The leader first."""
    on_fresh_splits: bool


def finalists(facts: Facts) -> FinalistsView | None:
    """The finalists on fresh splits, else the best trials of the search; None with fewer than two."""
    if facts.comparison is not None and len(facts.comparison.estimates.rows) > 1:
        return _on_fresh_splits(facts.comparison)
    if len(facts.snapshot.ranking) > 1:
        return _of_search(facts)
    return None


def _on_fresh_splits(comparison: Comparison) -> FinalistsView:
    rows, leader = comparison.estimates.rows, comparison.estimates.leader
    tied = [row for row in rows if row.tied and row is not leader]
    names = {row.number: f"{row.name}{' (default recipe)' * (row.number == DEFAULT_TRIAL)}" for row in rows}
    chart = _chart(
        comparison.metric,
        [(names[r.number], r.gap_to_leader, r.gap_error if r is not leader else 0.0, r.tied) for r in rows],
        "finalists on fresh splits",
    )
    return FinalistsView(
        summary=_summary(str(leader.name), len(tied), "On fresh splits"),
        lines=comparison.conclusions,
        drawing=chart,
        rows=tuple(
            FinalistRow(
                name=names[row.number] + " =" * (row.tied and row is not leader),
                score=text.score(row.averaged),
                gap="leads" if row is leader else f"{row.gap_to_leader:z.4f} ± {row.gap_error:.4f}",
                chance=f"{row.chance_best:.0%}",
                tied=row.tied,
                recipe=comparison.differences[row.number],
            )
            for row in rows
        ),
        on_fresh_splits=True,
    )


def _of_search(facts: Facts) -> FinalistsView:
    ranking = facts.snapshot.ranking[:MOST_OF_SEARCH]
    records = {record.number: record for record in facts.finished}
    targets = read_targets(facts.stores, facts.study)
    best, *others = ranking
    leading = facts.stores.trials.prediction(records[best.number].id, "oof")
    gains = [
        quick_gain(facts.metric, targets, leading, facts.stores.trials.prediction(records[c.number].id, "oof"))
        for c in others
    ]
    tied = [gain.mean <= gain.error for gain in gains]
    name = facts.snapshot.name_of(best.number)
    drawn = [(name, 0.0, 0.0, True)]
    rows = [_row_of_search(facts, name, records[best.number], "leads", True)]
    for candidate, gain, ties in zip(others, gains, tied, strict=True):
        name = facts.snapshot.name_of(candidate.number)
        drawn.append((name, gain.mean, gain.error, ties))
        gap = f"{gain.mean:z.4f} ± {gain.error:.4f}"
        rows.append(_row_of_search(facts, name, records[candidate.number], gap, ties))
    return FinalistsView(
        summary=_summary(rows[0].name, sum(tied), "On the images of the search"),
        lines=(
            "These images chose the leader, so its lead is too large. The order weighs the Brier score too, so a trial "
            "below the leader may have the higher score.",
            f"{facts.unconfirmed[0].upper()}{facts.unconfirmed[1:]}." if facts.unconfirmed else "",
        ),
        drawing=_chart(facts.metric, drawn, "best trials of the search"),
        rows=tuple(rows),
        on_fresh_splits=False,
    )


def _row_of_search(facts: Facts, name: str, record: TrialRecord, gap: str, tied: bool) -> FinalistRow:
    return FinalistRow(
        name=name,
        score=text.score(record.value),
        gap=gap,
        chance="",
        tied=tied,
        recipe=recipe_difference(record, facts.default),
    )


def _summary(leader: str, tied: int, where: str) -> str:
    if not tied:
        return f"{where}, {leader} leads by more than one standard error over all others."
    others = "1 other recipe is" if tied == 1 else f"{tied} other recipes are"
    return f"{where}, {leader} leads, but {others} within one standard error of it (blue) and may be as good."


def _chart(metric: str, rows: list[tuple[str, float, float, bool]], what: str) -> Drawing:
    drawn = [
        Row(
            name=name,
            marks=(
                Mark(
                    value=-gap,
                    error=error,
                    style="dot" if tied else "faint",
                    hint="leads" if i == 0 else f"{-gap:+z.4f} ± {error:.4f}",
                ),
            ),
            note="leads" if i == 0 else f"{-gap:+z.4f}",
        )
        for i, (name, gap, error, tied) in enumerate(rows)
    ]
    return rows_chart(
        f"Gaps to the leader in {metric}: {what}",
        drawn,
        label="gap to the leader, ± 1 standard error",
        guide=0.0,
    )
