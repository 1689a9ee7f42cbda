"""Comparison of an export with the one that it would replace: a deadline may leave the later one fewer networks."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.export.final_model import Refits
from search.export.notes import ExportNotes, RecipeNotes
from search.export.output.manifest import OutputKind, read_manifest
from search.export.plan import ExportPlan
from search.runtime.errors import SearchError
from storage.errors import StorageError
from storage.stores import Stores


class EarlierExportStays(SearchError):
    """The export that would be replaced is better. Nothing was written."""


@dataclass(frozen=True, kw_only=True)
class _Larger:
    """An export with more networks than the one that is about to replace it."""

    created: float
    """Unix seconds."""
    networks: int
    seeds: int
    """Number of trainings of its leader."""
    is_better: bool
    """Whether it holds the same recipes, or is expected to score as well."""
    expected: str
    """Both expected scores, the earlier one first; empty if they are not known."""


def compare_with_earlier(
    stores: Stores,
    plan: ExportPlan,
    refits: Refits,
    target: Path,
    forecast: Mapping[str, Any] | None,
    *,
    keep_better: bool,
) -> list[str]:
    """A warning if the study's export in ``target`` averages more networks than the one that is to replace it.

    Args:
        forecast: of the score of ``refits`` on the test images, as stored.
        keep_better: whether the earlier export stays if it holds the same recipes, or is expected to score as well.

    Raises:
        EarlierExportStays: it stays.
    """
    before = _larger_export(stores, plan, refits, target, forecast)
    if before is None:
        return []
    when = f"{datetime.datetime.fromtimestamp(before.created):%Y-%m-%d %H:%M}"
    comparison = (
        f"the export of {when} averages {before.networks} networks, one of what has finished now "
        f"{networks_of(plan, refits)}{before.expected}"
    )
    enlarge = f"`search export-best --study {plan.study.name} --seeds {before.seeds}`"
    if keep_better and before.is_better:
        raise EarlierExportStays(
            f"The export in {target} stays: {comparison}. {enlarge} trains the missing networks and replaces it; "
            "--output FOLDER writes the smaller one elsewhere."
        )
    return [f"fewer networks than before: {comparison}; {enlarge} trains the missing ones"]


def networks_of(plan: ExportPlan, refits: Refits) -> int:
    """Number of averaged networks, over all recipes."""
    return plan.networks_per_training * sum(len(part.records) for part in refits.members)


def _larger_export(
    stores: Stores, plan: ExportPlan, refits: Refits, target: Path, forecast: Mapping[str, Any] | None
) -> _Larger | None:
    """The study's export in ``target``, if it averages more networks than ``refits``; else None."""
    manifest = read_manifest(target)
    record = next((e for e in reversed(stores.exports.all(plan.study.id)) if e.folder == str(target)), None)
    if manifest is None or manifest.kind is not OutputKind.EXPORT or record is None:
        return None
    try:
        notes = ExportNotes.from_json(record.notes)
    except StorageError:  # damaged notes are no reason to write no export
        return None
    trainings = _trainings(notes)
    networks = plan.networks_per_training * sum(trainings.values())
    if notes.full_data != plan.full_data or networks <= networks_of(plan, refits):
        return None
    found_by = [(part.member.study.name, part.member.number) for part in refits.members]
    recipes = {(None if study == plan.study.name else study, number) for study, number in found_by}
    same = recipes == trainings.keys() and record.recipe == plan.leader.recipe.to_flat()
    before, now = _expected(record.forecast), _expected(forecast)
    expected, no_gain = "", False
    if before is not None and now is not None:
        expected, no_gain = f" (expected {plan.metric} {before:.4f} and {now:.4f})", now <= before
    return _Larger(
        created=record.created,
        networks=networks,
        seeds=notes.seeds,
        is_better=same or no_gain,
        expected=expected,
    )


def _trainings(notes: ExportNotes) -> dict[tuple[str | None, int], int]:
    """Number of trainings of each recipe, by its study (None: the export's own) and trial."""
    members = [member for member in notes.members if isinstance(member, RecipeNotes)]
    if not members:
        return {(notes.study, notes.trial): len(notes.trainings)}
    return {(member.study, member.trial): len(member.trainings) for member in members}


def _expected(forecast: Mapping[str, Any] | None) -> float | None:
    expected = (forecast or {}).get("expected")
    return float(expected) if isinstance(expected, int | float) else None
