"""Whether one more trial can still end in time: early is allowed, late is not."""

from __future__ import annotations

from storage.stored_studies import StoredStudy
from studies.spec import StudySpec

MARGIN = 1.2
"""Trials differ in length; a deadline is met by planning for somewhat longer ones than those seen."""


def is_time_for_another(study: StoredStudy, trial_seconds: float | None, now: float) -> bool:
    """Whether a trial begun at ``now`` (Unix seconds) and the refits of the winner would end before the deadline.

    Before the first trial has ended nothing is known, and the deadline itself decides.

    Args:
        trial_seconds: how long the study's finished trials took on average; None before the first.
    """
    if study.deadline is None:
        return True
    if trial_seconds is None:
        return now < study.deadline
    refits = refit_seconds(StudySpec.from_dict(study.spec), trial_seconds)
    return now + MARGIN * (trial_seconds + refits) <= study.deadline


def refit_seconds(spec: StudySpec, trial_seconds: float) -> float:
    """How long the refits take, from how long a finished trial took: more seeds, more epochs, larger images."""
    epochs, size = float(spec.recipe["epochs"]), float(spec.recipe["image_size"])
    longer = (spec.final.epochs or epochs) / epochs
    larger = ((spec.final.image_size or size) / size) ** 2
    return trial_seconds * spec.final.seeds * longer * larger
