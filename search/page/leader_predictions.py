"""Out-of-fold predictions of the leading recipe: by its exported networks, where they held images out."""

from __future__ import annotations

from dataclasses import dataclass

from search.export.final_model import over_views
from search.export.notes import ExportNotes
from search.page import text
from search.statistics.ranking import average
from search.study_state.study import Study
from storage.records.exports import ExportRecord
from storage.stores import Stores
from storage.values import TrialRecord, TrialStatus
from trainer.common.arrays import Float32Array


@dataclass(frozen=True, kw_only=True, eq=False)
class LeaderPredictions:
    """Probabilities for each training image, by networks that did not see it."""

    oof: Float32Array
    """``(n, C)``."""
    subject: str
    """The networks that predict, such as ``trial 3`` or ``the exported networks of trial 3``."""
    note: str
    """How the export's predictions differ, as a sentence; empty where they do not, and before an export."""
    temperature: float | None
    """Calibrates the probabilities; None: it is not known."""


def read_leader_predictions(
    stores: Stores, leader: TrialRecord, study: Study, export: ExportRecord | None, notes: ExportNotes | None
) -> LeaderPredictions | None:
    """Read the predictions of ``leader``, a finished trial; None if there are none.

    There are none of a second stage either, which by itself knows some classes alone.

    Args:
        study: of ``leader``.
        export: the latest, led by ``leader``; None: nothing is exported yet.
        notes: of ``export``.
    """
    if study.is_second_stage or "oof" not in stores.trials.prediction_names(leader.id):
        return None
    name, note = text.trial_name(leader), ""
    if notes is not None and notes.study is not None:
        name += f" of {notes.study}"
    if notes is not None and notes.second_stage:
        name += ", the first stage alone"
    if export is not None and notes is not None:
        exported = _exported_trainings(stores, study, export, notes)
        if exported:
            averaged = export.recipe.get("tta", "none") != "none"
            return LeaderPredictions(
                oof=average([over_views(stores, each, "oof", notes.views, averaged=averaged) for each in exported]),
                subject=f"the exported networks of {name}",
                note=_about_other_members(notes),
                temperature=None,
            )
        name += " in the search"
        note = f"The export has other networks{', trained on all images' if notes.full_data else ''}."
    return LeaderPredictions(
        oof=stores.trials.prediction(leader.id, "oof"), subject=name, note=note, temperature=leader.temperature
    )


def _exported_trainings(stores: Stores, study: Study, export: ExportRecord, notes: ExportNotes) -> list[TrialRecord]:
    """The trainings whose networks the leader contributes; none where any of them lacks out-of-fold predictions."""
    if notes.full_data:
        return []
    by_training = {
        (record.split, record.seed): record
        for record in stores.trials.records(study.id, status=TrialStatus.FINISHED)
        if record.recipe == export.recipe and "oof" in stores.trials.prediction_names(record.id)
    }
    if not all(training in by_training for training in notes.trainings):
        return []
    return [by_training[training] for training in notes.trainings]


def _about_other_members(notes: ExportNotes) -> str:
    """How the export uses other members, as a sentence; empty without any."""
    if not notes.members:
        return ""
    return f"The export blends them with the predictions of {text.counted(len(notes.members) - 1, 'other member')}."
