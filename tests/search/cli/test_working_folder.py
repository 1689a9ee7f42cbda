"""A whole study runs in a working folder with any name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.search.small_study import STUDY, write_competition


@pytest.mark.slow
def test_a_study_is_searched_and_exported_in_a_folder_with_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "コンペ 50% off x?y#z user@host [1] {0} $HOME"
    (folder / "data").mkdir(parents=True)
    write_competition(folder / "data")
    (folder / "colours.toml").write_text(STUDY)
    environment = {key: value for key, value in os.environ.items() if key != "RETABLE_STORAGE"}
    done = subprocess.run(
        [sys.executable, "-m", "search.cli", "start", "--study", "./colours.toml", "--data", "data", "--trials", "1"],
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1", "NO_ALBUMENTATIONS_UPDATE": "1", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert (folder / "retable" / "colours" / "submission.csv").is_file()
    assert (folder / "retable.db").is_file()
