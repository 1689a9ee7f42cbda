"""A study that was begun with ``--weights``: later commands find the folder, or name the option."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import timm
from safetensors.torch import save_file

from tests.command_line import ENVIRONMENT, CommandLine
from tests.search.small_study import COLOURS, STUDY

pytestmark = pytest.mark.slow


def test_only_the_first_command_names_the_weights(
    command_line: CommandLine, competition_folder: Path, study_file: Path, tmp_path: Path
) -> None:
    def search(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return command_line.run(*arguments, cwd=tmp_path, environment=environment)

    environment = {**ENVIRONMENT, "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    study_file.write_text(STUDY.replace('init = "scratch"', 'init = "ssl"').replace("epochs = 3", "epochs = 1"))
    weights = tmp_path / "weights"
    weights.mkdir()
    save_file(timm.create_model("test_resnet", num_classes=len(COLOURS)).state_dict(), weights / "ssl.safetensors")
    start = ("start", "--study", study_file, "--data", competition_folder, "--trials", "1", "--no-probe")

    begun = search(*start, "--weights", "weights")
    assert begun.returncode == 0, begun.stderr
    exported = search("export-best", "--seeds", "2")
    assert exported.returncode == 0, exported.stdout + exported.stderr

    weights.rename(tmp_path / "elsewhere")
    for command in (start, ("export-best", "--seeds", "3"), ("worker", "--study", "colours"), ("replay", "0")):
        lacking = search(*command)
        assert lacking.returncode == 2, lacking.stdout + lacking.stderr
        assert str(weights) in lacking.stderr and "--weights FOLDER" in lacking.stderr
    replayed = search("replay", "0", "--weights", "elsewhere")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
