"""What a study's page in Optuna Dashboard shows beside the trials: a note, learning curves, the files of an export."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from search.export.output.folder import Owner, output_folder
from search.report.dashboard.note import study_facts, study_note
from search.runtime.errors import SearchError
from search.runtime.home import Home
from search.study_state.snapshot import StudySnapshot, read_snapshot
from search.study_state.stages import search_is_over
from storage.artifacts import ArtifactFolder
from storage.database.outages import is_outage
from storage.errors import StorageError
from storage.stores import Stores
from storage.values import TrialStatus
from studies.errors import StudyError
from trainer.inference.printable import cause_of

if TYPE_CHECKING:
    import optuna

PUBLISHED = ("confusion_matrix.png", "submission.csv")
"""Files of an export that are uploaded as artifacts of the study. Each export adds its own."""
CURVES = "learning_curves.png"
BEST = 5
"""Number of the best trials that get a picture of their learning curves."""
INTERVAL = 10.0
"""Least seconds between two notes of a study, because each takes a few writes."""
AT_REST = 120.0
"""Seconds after which the note is written again although no trial has ended: epochs and expected ends change."""

log = logging.getLogger(__name__)


def publish(stores: Stores, study_name: str, home: Home, folder: Path) -> None:
    """Show the export in ``folder`` on the dashboard's page of the study."""
    # Imported here, because these imports take as long as all others of an export.
    from optuna.artifacts import upload_artifact

    from search.tuning.restore_optuna import optuna_study

    study = optuna_study(stores, stores.study(study_name))
    try:
        pictures = ArtifactFolder(home.artifacts).pictures()
        for name in PUBLISHED:
            if (folder / name).is_file():
                upload_artifact(study_or_trial=study, file_path=str(folder / name), artifact_store=pictures)
    except OSError as error:  # the export itself is complete, such as one from the home of a colleague
        log.warning("the dashboard does not show the pictures of this export: %s", cause_of(error))
    StateKeeper(stores, home).update(read_snapshot(stores, study_name))


def publish_state(stores: Stores, snapshot: StudySnapshot, home: Home) -> None:
    """Write the note of a study, its facts, and the learning curves of its best trials that lack them.

    Raises:
        SearchError, StudyError, StorageError, OSError: it cannot be read or written.
    """
    from optuna_dashboard import get_note, save_note

    from search.tuning.restore_optuna import optuna_study

    name = snapshot.study.name
    study = optuna_study(stores, snapshot.study.stored)
    folder = output_folder(Owner.of(stores, name), home)
    note = study_note(stores, snapshot, folder, shows_metric=study.metric_names == [snapshot.metric])
    if note != get_note(study):
        save_note(study, note)
    for key, value in study_facts(stores, snapshot).items():
        if study.user_attrs.get(key) != value:
            study.set_user_attr(key, value)
    _attach_curves(stores, snapshot, study, home)


def _attach_curves(stores: Stores, snapshot: StudySnapshot, study: optuna.Study, home: Home) -> None:
    from search.tracking.learning_curves import draw_curves
    from storage.optuna_storage.optuna_trials import trial_id_of
    from storage.optuna_storage.trial_artifacts import attach_artifact, trials_with_artifact

    known = trials_with_artifact(study, CURVES)
    records = {r.number: r for r in snapshot.records if r.status is TrialStatus.FINISHED}
    for candidate in snapshot.ranking[:BEST]:
        curves = stores.trials.curves(records[candidate.number].id)
        if len(curves) < 2 or trial_id_of(study, candidate.number) in known:
            continue
        with TemporaryDirectory(prefix="retable-") as folder:
            picture = Path(folder) / CURVES
            title = f"{snapshot.study.name}: {snapshot.name_of(candidate.number)}"
            draw_curves(picture, title=title, metric=snapshot.metric, curves=curves)
            attach_artifact(study, candidate.number, ArtifactFolder(home.artifacts).pictures(), picture)


class StateKeeper:
    """Keeps the dashboard's page of a study current while the study runs."""

    def __init__(self, stores: Stores, home: Home, monotonic: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            monotonic: monotonic time in seconds.
        """
        self._stores, self._home, self._monotonic = stores, home, monotonic
        self._time = -float("inf")
        self._state: tuple[object, ...] = ()
        self._off = False

    def update(self, snapshot: StudySnapshot) -> None:
        """Publish the state if it has changed, at most every `INTERVAL` seconds, else every `AT_REST` seconds.

        A problem is logged once and ends the attempts: the search is more important than its page.
        """
        counts = (len(snapshot.records), snapshot.confirms_done, snapshot.refits_open)
        state = (*counts, snapshot.study.state, search_is_over(snapshot), snapshot.workers > 0)
        passed = self._monotonic() - self._time
        if self._off or passed < (AT_REST if state == self._state else INTERVAL):
            return
        try:
            publish_state(self._stores, snapshot, self._home)
        except (SearchError, StudyError, StorageError, OSError) as problem:
            self._off = not is_outage(problem)
            log.warning("the note of study %s in Optuna Dashboard is not written: %s", snapshot.study.name, problem)
        self._time, self._state = self._monotonic(), state
