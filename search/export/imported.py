"""Imported predictions for people: what is kept beside their numbers, and how it is told."""

from __future__ import annotations

from storage.records.imports import ImportRecord

SEEDS, FILES, DOUBTS = "seeds", "files", "doubts"
"""Keys in the notes: how many predictions of each image were averaged; names of the files; what there is to doubt, a
list of texts."""


def doubts_of(record: ImportRecord) -> list[str]:
    """What there is to doubt of them, as it was found when they were imported."""
    return [str(doubt) for doubt in record.notes.get(DOUBTS, ())]


def shown_value(record: ImportRecord) -> str:
    """Their score with its standard error."""
    return "-" if record.value is None else f"{record.value:.4f} ± {record.value_se or 0.0:.4f}"


def described(record: ImportRecord, metric: str) -> str:
    """In one line, without their name."""
    seeds = record.notes.get(SEEDS)
    mean_of = f", the mean of {seeds} seeds" if isinstance(seeds, int) and seeds > 1 else ""
    return f"out-of-fold {metric} {shown_value(record)}{mean_of}, if its file tells the truth"
