"""What an export adds to the dashboard: the model card as the study's note, pictures as its artifacts."""

from __future__ import annotations

from pathlib import Path

from search.runtime.home import Home
from storage.artifacts import ArtifactFolder
from storage.stores import Ledger

PUBLISHED = ("confusion_matrix.png", "submission.csv")
"""Files of an export that become artifacts of the study; each export adds its own."""


def publish(ledger: Ledger, study_name: str, home: Home, folder: Path) -> None:
    """Show the export in ``folder`` on the dashboard's page of the study."""
    # The dashboard takes as long to import as all else that an export needs.
    from optuna.artifacts import upload_artifact
    from optuna_dashboard import save_note

    study = ledger.optuna_study(study_name)
    save_note(study, (folder / "MODEL_CARD.md").read_text(encoding="utf-8"))
    for name in PUBLISHED:
        if (folder / name).is_file():
            upload_artifact(
                study_or_trial=study,
                file_path=str(folder / name),
                artifact_store=ArtifactFolder(home.artifacts).pictures(),
            )
