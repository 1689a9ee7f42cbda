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
from storage.records.exports import ExportRecord
from storage.stores import Stores

LEAST_DIFFERENCE = 5e-4
"""Difference of two expected scores, in the study's metric, from which it is named."""


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
    unless_same: ExportNotes | None = None,
) -> list[str]:
    """A warning if the study's export in ``target`` averages more networks than the one that is to replace it, or was
    expected to score more.

    Args:
        forecast: of the score of ``refits`` on the test images, as stored.
        keep_better: whether the earlier export stays if it holds the same recipes, or is expected to score as well.
        unless_same: notes of the new export, for which there is no time to write a report: the earlier one stays, with
            its report, if it holds the same networks and predicts the same. None: it does not stay for that.

    Raises:
        EarlierExportStays: it stays.
    """
    if unless_same is not None and (same := _same_export(stores, plan, unless_same, target)) is not None:
        raise EarlierExportStays(
            f"The export in {target} stays: that of {_moment(same.created)} averages the same networks and predicts "
            "the same. Its report stays as well, because the time until the deadline is too short for another one; "
            f"`search report --study {plan.study.name}` writes it."
        )
    before = _larger_export(stores, plan, refits, target, forecast)
    if before is None:
        return _lower_expectation(stores, plan, target, forecast)
    comparison = (
        f"the export of {_moment(before.created)} averages {before.networks} networks, one of what has finished now "
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


def _same_export(stores: Stores, plan: ExportPlan, notes: ExportNotes, target: Path) -> ExportRecord | None:
    """The study's export in ``target``, if its files are there and it has the members and predictions in ``notes``."""
    record, manifest = _record_of(stores, plan, target), read_manifest(target)
    if record is None or manifest is None or record.recipe != plan.leader.recipe.to_flat():
        return None
    if not all((target / name).exists() for name in manifest.files):
        return None
    try:
        before = ExportNotes.from_json(record.notes)
    except StorageError:  # damaged notes cannot be compared
        return None
    return record if before.model_to_json() == notes.model_to_json() else None


def _larger_export(
    stores: Stores, plan: ExportPlan, refits: Refits, target: Path, forecast: Mapping[str, Any] | None
) -> _Larger | None:
    """The study's export in ``target``, if it averages more networks than ``refits``; else None."""
    record = _record_of(stores, plan, target)
    if record is None:
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


def _lower_expectation(stores: Stores, plan: ExportPlan, target: Path, forecast: Mapping[str, Any] | None) -> list[str]:
    """A warning if the export that is to be replaced was expected to score more; empty if it was not."""
    record = _record_of(stores, plan, target)
    before, now = _expected(record.forecast if record is not None else None), _expected(forecast)
    if record is None or before is None or now is None or before - now < LEAST_DIFFERENCE:
        return []
    return [
        f"the export of {_moment(record.created)}, which this one replaces, was expected to score {before:.4f}, and "
        f"this one {now:.4f}; --output FOLDER writes an export beside earlier ones"
    ]


def _record_of(stores: Stores, plan: ExportPlan, target: Path) -> ExportRecord | None:
    """The study's latest export in ``target``; None if there is none, or another program wrote the folder."""
    manifest = read_manifest(target)
    if manifest is None or manifest.kind is not OutputKind.EXPORT:
        return None
    return next((e for e in reversed(stores.exports.all(plan.study.id)) if e.folder == str(target)), None)


def _moment(created: float) -> str:
    return f"{datetime.datetime.fromtimestamp(created):%Y-%m-%d %H:%M}"


def _trainings(notes: ExportNotes) -> dict[tuple[str | None, int], int]:
    """Number of trainings of each recipe, by its study (None: the export's own) and trial."""
    members = [member for member in notes.members if isinstance(member, RecipeNotes)]
    if not members:
        return {(notes.study, notes.trial): len(notes.trainings)}
    return {(member.study, member.trial): len(member.trainings) for member in members}


def _expected(forecast: Mapping[str, Any] | None) -> float | None:
    expected = (forecast or {}).get("expected")
    return float(expected) if isinstance(expected, int | float) else None
