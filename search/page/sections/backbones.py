"""Backbones: the score of the linear probe, the best score after fine-tuning, and what both cost."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from search.page import text
from search.page.facts import Facts
from search.page.svg.rows import Mark, Row, rows_chart
from search.page.svg.shapes import Drawing
from storage.values import TrialRecord, TrialStatus

MOST_ROWS = 25
"""Largest number of backbones in the picture, the best ones."""


@dataclass(frozen=True, kw_only=True)
class BackboneRow:
    """One backbone at one size of the images."""

    backbone: str
    size: int
    probe: TrialRecord | None
    """The finished linear probe with the best score."""
    tuned: TrialRecord | None
    """The fine-tuned trial with the best score."""
    trials: int
    """Number of finished fine-tuned trials."""
    seconds: float | None
    """Median duration of a fine-tuned trial."""

    @property
    def best(self) -> float:
        """The higher of both scores."""
        return max((r.value or float("-inf") for r in (self.probe, self.tuned) if r is not None), default=float("-inf"))


@dataclass(frozen=True, kw_only=True)
class BackbonesView:
    """Scores and costs of the backbones."""

    summary: str
    drawing: Drawing
    rows: tuple[BackboneRow, ...]
    """The best first."""
    failed: tuple[str, ...]
    """Probes that failed: backbone and reason."""


def backbones(facts: Facts) -> BackbonesView | None:
    """One row for each backbone and size; None if there is only one."""
    groups: dict[tuple[str, int], list[TrialRecord]] = {}
    for record in facts.finished:
        recipe = record.recipe or {}
        groups.setdefault((str(recipe.get("backbone")), int(recipe.get("image_size", 0))), []).append(record)
    rows = sorted((_row(*key, records) for key, records in groups.items()), key=lambda row: -row.best)
    if len(rows) < 2:
        return None
    drawn = [Row(name=f"{row.backbone}, {row.size} px", marks=_marks(row), note=text.score(row.best)) for row in rows]
    drawing = rows_chart(
        f"{facts.metric} of each backbone: linear probe and fine-tuned",
        drawn[:MOST_ROWS],
        label=f"{facts.metric}, ± 1 standard error",
    )
    return BackbonesView(
        summary=_summary(rows, facts.metric),
        drawing=drawing,
        rows=tuple(rows),
        failed=tuple(
            f"{(record.recipe or {}).get('backbone')}: {text.name(record.reason)}"
            for record in facts.snapshot.records
            if record.is_probe and record.status is TrialStatus.FAILED
        ),
    )


def _row(backbone: str, size: int, records: list[TrialRecord]) -> BackboneRow:
    probes = [record for record in records if record.is_probe]
    tuned = [record for record in records if not record.is_probe]
    return BackboneRow(
        backbone=backbone,
        size=size,
        probe=max(probes, key=lambda r: r.value or 0.0, default=None),
        tuned=max(tuned, key=lambda r: r.value or 0.0, default=None),
        trials=len(tuned),
        seconds=median(record.seconds for record in tuned) if tuned else None,
    )


def _marks(row: BackboneRow) -> tuple[Mark, ...]:
    pairs = (("probe", "probe", row.probe), ("fine-tuned", "dot", row.tuned))
    return tuple(
        Mark(
            value=record.value or 0.0,
            error=record.value_se or 0.0,
            style=style,
            hint=f"{kind}: {text.score(record.value, record.value_se)}",
        )
        for kind, style, record in pairs
        if record is not None
    )


def _summary(rows: list[BackboneRow], metric: str) -> str:
    best = rows[0]
    both = [row for row in rows if row.probe is not None and row.tuned is not None]
    lead = f"{best.backbone} at {best.size} px has the highest {metric} ({text.score(best.best)})."
    if not any(row.tuned for row in rows):
        return f"{lead} These are linear probes (rings): nothing is fine-tuned yet."
    if not both:
        return lead
    gains = sorted((row.tuned.value or 0.0) - (row.probe.value or 0.0) for row in both if row.tuned and row.probe)
    gained = f"{gains[0]:+z.4f}" if len(gains) == 1 else f"{gains[0]:+z.4f} to {gains[-1]:+z.4f}"
    compared = f"{both[0].backbone} at {both[0].size} px" if len(both) == 1 else f"the {len(both)} networks with both"
    return f"{lead} Fine-tuning (dots) changed the score of the linear probe (rings) of {compared} by {gained}."
