"""Writes a valid submission after the first finished trial, and after each better one until the export."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.console import Console

from search.runtime.console import note, say
from search.study_state.snapshot import StudySnapshot
from search.study_state.study import Study
from storage.stores import Stores
from trainer.common.errors import DataError
from trainer.data.image_set import ImageSet
from trainer.evaluation.metrics import METRICS
from trainer.formats.submission import check_submission, decide_kind, write_submission

SUBMISSION = "submission.csv"
MODEL = "model"
"""Folder beside an exported submission; where it exists, the submission is final and not overwritten."""


class ProvisionalSubmission:
    """Writes the test predictions of the best trial so far: the average of its fold models, as stored by the search.

    An export in the same folder is never overwritten.
    """

    def __init__(self, stores: Stores, study: Study, images: ImageSet, folder: Path, console: Console) -> None:
        self._stores, self._study, self._images = stores, study, images
        self._folder, self._console = folder, console
        self._written: int | None = None
        self._off = images.submission is None or (folder / MODEL).exists()

    def update(self, snapshot: StudySnapshot) -> None:
        """Write the best trial's predictions, unless they are written already or not stored.

        A problem is printed once and ends the attempts, because the export will have the same problem.
        """
        if self._off or not snapshot.ranking or snapshot.ranking[0].number == self._written:
            return
        best = snapshot.ranking[0].number
        record = next(record for record in snapshot.records if record.number == best)
        if "test" not in self._stores.trials.prediction_names(record.id):
            return
        first = self._written is None
        try:
            self._write(record.id)
        except (DataError, OSError) as problem:
            self._off = True
            note(self._console, f"no provisional submission: {problem}")
            return
        self._written = best
        if first:
            path = self._folder / SUBMISSION
            say(
                self._console,
                f"You can hand in {path} from now on. It holds the best trial so far, until the final export.",
            )

    def _write(self, record_id: int) -> None:
        """
        Raises:
            SubmissionError: it would not be valid; the earlier file stays.
            OSError: it cannot be written.
        """
        images, form = self._images, self._images.submission
        assert form is not None, "there is nothing to submit"
        proba = self._stores.trials.prediction(record_id, "test")
        kind = decide_kind(form, images.class_names, METRICS[self._study.metric].needs)
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{self._folder.name}-", dir=self._folder.parent) as scratch:
            made = Path(scratch) / SUBMISSION
            write_submission(made, form, images.class_names, images.test_ids, proba, kind)
            check_submission(made, form, images.class_names, kind)
            made.replace(self._folder / SUBMISSION)
