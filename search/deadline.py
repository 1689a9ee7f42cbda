"""Whether one more trial can still end in time: early is allowed, late is not."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from storage.stored_studies import StoredStudy
from storage.values import TrialRecord, TrialStatus
from studies.spec import StudySpec

MARGIN = 1.2
"""Trials differ in length; a deadline is met by planning for somewhat longer ones than those seen."""


def is_time_for_another(study: StoredStudy, records: Sequence[TrialRecord], now: float) -> bool:
    """Whether a trial begun at ``now`` (Unix seconds) and the refits of the winner would end before the deadline.

    Before the first trial has ended nothing is known, and the deadline itself decides.

    Args:
        records: outcomes of the study's search trials.
    """
    if study.deadline is None:
        return True
    finished = [record.seconds for record in records if record.status is TrialStatus.FINISHED]
    if not finished:
        return now < study.deadline
    trial = statistics.mean(finished)
    return now + MARGIN * (trial + refit_seconds(StudySpec.from_dict(study.spec), trial)) <= study.deadline


def refit_seconds(spec: StudySpec, trial_seconds: float) -> float:
    """How long the refits take, from how long a finished trial took: more seeds, more epochs, larger images."""
    epochs, size = float(spec.recipe["epochs"]), float(spec.recipe["image_size"])
    longer = (spec.final.epochs or epochs) / epochs
    larger = ((spec.final.image_size or size) / size) ** 2
    return trial_seconds * spec.final.seeds * longer * larger
