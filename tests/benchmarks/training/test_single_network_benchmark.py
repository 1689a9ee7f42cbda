"""The benchmark of single networks, on a small scale."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from benchmarks.training import single_network
from benchmarks.training.single_network import KINDS, main
from tests.benchmarks.training.shape_folders import write_shapes
from tests.command_line import ENVIRONMENT, CommandLine


@pytest.mark.slow
def test_a_small_run_compares_the_mean_of_weights_with_the_ensemble(
    tmp_path: Path, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search(folder: Path, *arguments: str) -> None:
        done = command_line.run(*arguments, cwd=folder, environment={**ENVIRONMENT, "HF_HUB_OFFLINE": "1"})
        assert done.returncode == 0, done.stderr

    monkeypatch.setattr(single_network, "_search", search)
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", num_classes=5).state_dict(), tmp_path / "test_resnet.safetensors")
    data, results = write_shapes(tmp_path / "shapes"), tmp_path / "out.json"
    small = ["--backbone", "test_resnet", "--size", "32", "--kinds", "probe", "--json", str(results)]
    main([str(data), "--weights", str(tmp_path), "--folder", str(tmp_path / "made"), *small])
    (row,) = json.loads(results.read_text())["rows"]
    assert row["ensemble"] == "probe, 5 networks" and row["one network"] == "mean of weights"
    assert 0.0 < row["ms, one"] < row["ms, ensemble"]
    assert abs(float(row["difference"].partition(" ")[0])) <= float(row["other class"]) + 0.1, "the bound holds"


def test_unknown_kinds_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["data", "--weights", "weights", "--kinds", "probe,swin"])
    assert f"there is no swin; valid: {', '.join(KINDS)}" in capsys.readouterr().err
