"""A study that was begun with label corrections goes on, by every command, when further labels are corrected."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from storage.stores import open_stores
from tests.command_line import ENVIRONMENT, CommandLine
from tests.search.small_study import STUDY
from trainer.data.read import read_images
from trainer.formats.label_tables import CORRECTIONS_FILE, Correction, write_corrections

pytestmark = pytest.mark.slow


def test_every_command_goes_on_with_the_labels_of_the_begin(
    command_line: CommandLine, competition_folder: Path, study_file: Path, tmp_path: Path
) -> None:
    def search(*arguments: str | Path) -> str:
        done: subprocess.CompletedProcess[str] = command_line.run(
            *arguments, cwd=tmp_path, environment={**ENVIRONMENT, "COLUMNS": "200"}
        )
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return " ".join(done.stdout.split())

    study_file.write_text(STUDY.replace("epochs = 3", "epochs = 1").replace("folds = 2", "folds = 3"))
    data = Path(shutil.copytree(competition_folder, tmp_path / "data"))
    start = ("start", "--study", study_file, "--data", data, "--no-probe")
    raw = read_images(data, verify=False).fingerprint
    decided = (("p000", "blue", "red"), ("p002", "red", None))
    write_corrections(
        data / CORRECTIONS_FILE,
        [Correction(id=name, given=given, label=label, fingerprint=raw) for name, given, label in decided],
    )
    search(*start, "--trials", "1")
    stores = open_stores(f"sqlite:///{tmp_path / 'retable.db'}")
    begun = stores.study("colours")
    (tmp_path / "review.csv").write_text(
        "id,given,decision\np003,blue,green\np004,green,drop\np000,red,green\n", encoding="utf-8"
    )
    search("labels", "--apply", "review.csv", "--study", "colours")

    for options in ((), ("--no-corrections",)):
        out = search(*start, "--trials", "1", *options)
        assert "study colours keeps the labels that it was begun with, with 1 label corrected, 1 image dropped" in out
    for command in (
        ("export-best", "--seeds", "2"),
        ("worker",),
        ("replay", "0"),
        ("labels",),
        ("report",),
        ("single",),
    ):
        search(command[0], *command[1:], "--study", "colours")
    search(*start[:2], "taught", "--distil-from", "colours")
    fingerprints = {study.name: study.fingerprint for study in stores.studies.all()}
    assert fingerprints["colours"] == fingerprints["taught"] == begun.fingerprint
    stores.database.close()
    later = read_images(data, verify=False)
    assert later.fingerprint not in (begun.fingerprint, raw)
    assert len(later.train_ids) == 28
    assert later.class_names[later.y[later.train_ids.index("p000")]] == "green"
