"""`search backbones`: the list, and measurements that are stored."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import trainer.training.throughput
from search.cli.app import app
from studies.errors import StudyError
from trainer.common.errors import BackboneError
from trainer.training.throughput import Measurement, TooLarge


def listing(tmp_path: Path, *arguments: str) -> str:
    result = CliRunner().invoke(
        app,
        ["backbones", *arguments, "--home", str(tmp_path / "home")],
        env={"COLUMNS": "200", "HF_HUB_OFFLINE": "1"},
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output
    return result.output


def row(output: str, name: str) -> list[str]:
    (line,) = (line for line in output.splitlines() if name in line)
    return cells(line)


def cells(line: str) -> list[str]:
    """The cells of a row; columns are at least two spaces apart."""
    return re.split(r" {2,}", line.strip())


def test_short_lists_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = listing(tmp_path, "test_vit.*")
    name, family, parameters, size, speed, memory, _ = row(first, "test_vit.r160_in1k")
    assert (name, family, parameters, size) == ("test_vit.r160_in1k", "transformer", "0.4", "160")
    assert float(speed) > 0
    assert float(memory) > 0
    assert "in batches of" in first

    def again(*_: object) -> Measurement:
        raise AssertionError("measured again")

    monkeypatch.setattr(trainer.training.throughput, "measure_training", again)
    assert row(listing(tmp_path, "test_vit.*"), "test_vit.r160_in1k")[4:6] == [speed, memory]
    # Long lists show stored measurements, too.
    long = listing(tmp_path, "test_*", "--no-measure")
    assert row(long, "test_vit.r160_in1k")[4:6] == [speed, memory]
    assert row(long, "test_resnet.r160_in1k")[4:6] == ["-", "-"]
    assert "--measure" in long


def test_a_backbone_too_large_to_measure_is_named_and_the_rest_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(architecture: str, *_: object) -> Measurement:
        if architecture == "test_vit2":
            raise TooLarge("test_vit2 does not fit")
        return Measurement(images_per_second=123.4, memory=2**30)

    monkeypatch.setattr(trainer.training.throughput, "measure_training", measure)
    output = listing(tmp_path, "test_vit*")
    assert row(output, "test_vit.r160_in1k")[4:6] == ["123", "1.00"]
    assert row(output, "test_vit2.r160_in1k")[4:6] == ["-", "-"]
    assert "Not measured: test_vit2 does not fit" in output


def test_a_long_list_is_measured_only_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*_: object) -> Measurement:
        raise AssertionError("measured without a request")

    monkeypatch.setattr(trainer.training.throughput, "measure_training", measure)
    output = listing(tmp_path, "resnet*")
    assert "images/s" not in output
    assert "--measure" in output
    assert "Narrow the pattern" in output


def test_options_filter_the_list(tmp_path: Path) -> None:
    output = listing(tmp_path, "*", "--family", "hybrid", "--max-params", "8", "--max-size", "224", "--no-measure")
    title, header, _, *lines = output.splitlines()
    assert cells(header)[:4] == ["name", "family", "M params", "px"]
    rows = [cells(line) for line in lines[: int(title.split()[0])]]
    assert len(rows) > 5
    assert {family for _, family, *_ in rows} == {"hybrid"}
    assert all(float(parameters) <= 8.0 and int(size) <= 224 for _, _, parameters, size, *_ in rows)


@pytest.mark.parametrize(
    ("arguments", "error", "expected"),
    [
        (["nosuch"], BackboneError, "there are no timm models nosuch"),
        (["lite0"], BackboneError, r"'\*lite0\*' finds \d+, such as efficientnet_lite0"),
        (["EfficientNet-Lite0"], BackboneError, r"'\*efficientnet_lite0\*' finds"),
        (["lite0", "--family", "transformer"], BackboneError, r"'\*lite0\*' matches \d+, .*other criteria"),
        (["resnet5O"], BackboneError, r"did you mean 'resnet50\*'"),
        (
            ["resnet18.*", "--family", "transformer"],
            BackboneError,
            r"names match \d+, such as resnet18.*other criteria",
        ),
        (["resnet*", "--max-params", "0.1"], BackboneError, "at most 0.1 million parameters"),
        (["--family", "cn"], StudyError, "did you mean cnn"),
        (["a b"], StudyError, "'a b' is no pattern"),
    ],
)
def test_invalid_options_are_explained(
    tmp_path: Path, arguments: list[str], error: type[Exception], expected: str
) -> None:
    with pytest.raises(error, match=expected):
        listing(tmp_path, *arguments)
