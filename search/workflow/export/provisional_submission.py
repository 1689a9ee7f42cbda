"""Writes a valid submission after the first finished trial, and after each better one until the export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.console import Console

from search.export.output.folder import Owner, writing
from search.export.output.manifest import MODEL, SUBMISSION, Manifest, OutputKind, read_manifest, write_manifest
from search.runtime.console import note, say
from search.runtime.errors import SearchError
from search.statistics.blending.blends import with_label_count
from search.study_state.snapshot import StudySnapshot
from search.study_state.study import Study
from storage.artifacts import digest_of
from storage.stores import Stores
from trainer.common.errors import DataError
from trainer.data.image_set import ImageSet
from trainer.evaluation.label_rules import as_certain
from trainer.evaluation.metrics import METRICS
from trainer.evaluation.targets import Targets
from trainer.formats.submission import OF_SEVERAL, check_submission, decide_kind, write_submission
from trainer.inference.blend import Blend


class ProvisionalSubmission:
    """Writes the test predictions of the best trial so far: the average of its fold models, as stored by the search.

    It never overwrites an export in the same folder, or a file of other origin.
    """

    def __init__(self, stores: Stores, study: Study, images: ImageSet, folder: Path, console: Console) -> None:
        self._stores, self._study, self._images = stores, study, images
        self._folder, self._console = folder, console
        self._written: int | None = None
        self._owner = Owner.of(stores, study.name)
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
            self._off = not self._write(record.id)
        except (DataError, SearchError, OSError) as problem:
            self._off = True
            note(self._console, f"no provisional submission: {problem}")
            return
        self._written = best
        if first and not self._off:
            path = self._folder / SUBMISSION
            say(
                self._console,
                f"You can hand in {path} from now on. It holds the best {'probe' if record.is_probe else 'trial'} so "
                "far, until the final export.",
            )

    def _write(self, record_id: int) -> bool:
        """Write the submission of a trial; False if an export has appeared in the folder, which then stays.

        Raises:
            SubmissionError: it would not be valid; the earlier file stays.
            OutputNotOurs, OutputNotWritable, OutputBusy: as `search.export.output.folder.check_output`.
            OSError: it cannot be written.
        """
        images, form = self._images, self._images.submission
        assert form is not None, "there is nothing to submit"
        proba = self._stores.trials.prediction(record_id, "test")
        kind = decide_kind(form, images.class_names, METRICS[self._study.metric].needs)
        if kind in OF_SEVERAL:
            rule = with_label_count(Blend(weights=(1.0,)), Targets(images.y))
            proba = as_certain(rule.labels(proba), proba.shape[1]).astype(np.float32)
        with writing(self._folder, self._owner) as (target, scratch):
            made = scratch / SUBMISSION
            write_submission(made, form, images.class_names, images.test_ids, proba, kind)
            check_submission(made, form, images.class_names, kind)
            earlier = read_manifest(target)
            if earlier is not None and earlier.kind is OutputKind.EXPORT:
                return False
            target.mkdir(exist_ok=True)
            # A process that is killed between the two writes leaves one of the files that the manifest names.
            files = {SUBMISSION: tuple(digest_of(path) for path in (made, target / SUBMISSION) if path.exists())}
            owner = self._owner
            provisional = OutputKind.PROVISIONAL
            write_manifest(target, Manifest(kind=provisional, database=owner.database, study=owner.study, files=files))
            made.replace(target / SUBMISSION)
        return True
