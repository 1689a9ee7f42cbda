"""The pictures of the report: drawn by an export within a small share of the study's time, never past its deadline."""

from __future__ import annotations

import logging

from search.export.final_model import Refits
from search.page.gallery.contents import remove_gallery, write_gallery
from search.page.text import command
from search.runtime.home import Home
from search.study_state.study import Study, read_study
from storage.errors import StorageError
from storage.stores import Stores
from storage.values import WorkKind
from trainer.common.errors import TrainerError
from trainer.data.image_set import ImageSet

REPORT_SECONDS, REPORT_SECONDS_OF_TRIAL = 5.0, 0.01
"""Cautious estimate of the time that the report takes: about twice that of a quiet processor core."""
PICTURES_SHARE = 0.03
"""Largest share of a study's time for the pictures of its report."""

log = logging.getLogger(__name__)


def seconds_of_report(stores: Stores, study: Study) -> float:
    """Seconds that the report of a study takes, without its pictures, by a cautious estimate."""
    return REPORT_SECONDS + REPORT_SECONDS_OF_TRIAL * stores.trials.count(study.id, WorkKind.SEARCH)


def draw_pictures(stores: Stores, study: Study, refits: Refits, images: ImageSet, home: Home) -> bool:
    """Draw the pictures of the leading recipe and store them in ``home``, in place of those of an earlier export.

    Returns:
        Whether they are stored. A disk that is full, for example, is no reason to end an export.
    """
    from search.page.gallery.draw import draw_gallery

    seconds, limit = time_for_pictures(stores, study)
    try:
        remove_gallery(stores, home, study.name)
        if seconds <= 0.0:
            return False
        write_gallery(
            stores, home, study.name, draw_gallery(stores, refits, images, home, seconds=seconds, limit=limit)
        )
    except (OSError, StorageError, TrainerError) as problem:
        log.warning("the report has no pictures: %s", problem)
        return False
    return True


def time_for_pictures(stores: Stores, study: Study) -> tuple[float, str]:
    """Seconds that the pictures may take, and what limits them, as the end of a sentence.

    The time of a study is that of its trainings, or that since it began where several workers trained at once.
    """
    read, now = read_study(stores, study.name), stores.database.now()
    trained = sum(record.cost for record in stores.trials.records(study.id))
    seconds = PICTURES_SHARE * min(trained, max(0.0, now - read.stored.created))
    limit = f"the limit of {PICTURES_SHARE:.0%} of the study's time"
    if read.deadline is None or now >= read.deadline:
        return seconds, limit
    left = read.deadline - now - seconds_of_report(stores, study)
    if left >= seconds:
        return seconds, limit
    again = command("search", "export-best", "--study", study.name)
    return left, f"the deadline; `{again}`, typed after it, draws them"
