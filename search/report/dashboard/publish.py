"""Shows an export on the dashboard's page of its study."""

from __future__ import annotations

from pathlib import Path

from search.runtime.home import Home
from storage.artifacts import ArtifactFolder
from storage.stores import Stores

PUBLISHED = ("confusion_matrix.png", "submission.csv")
"""Files of an export that are uploaded as artifacts of the study. Each export adds its own."""


def publish(stores: Stores, study_name: str, home: Home, folder: Path) -> None:
    """Show the export in ``folder`` on the dashboard's page of the study."""
    # Imported here, because these imports take as long as all others of an export.
    from optuna.artifacts import upload_artifact
    from optuna_dashboard import save_note

    from search.tuning.restore_optuna import optuna_study

    study = optuna_study(stores, stores.study(study_name))
    save_note(study, (folder / "MODEL_CARD.md").read_text(encoding="utf-8"))
    for name in PUBLISHED:
        if (folder / name).is_file():
            upload_artifact(
                study_or_trial=study,
                file_path=str(folder / name),
                artifact_store=ArtifactFolder(home.artifacts).pictures(),
            )
