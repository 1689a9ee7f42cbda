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
    name, family, parameters, size, speed, memory, terms, _ = row(first, "test_vit.r160_in1k")
    assert (name, family, parameters, size) == ("test_vit.r160_in1k", "transformer", "0.4", "160")
    assert terms == "apache-2.0" and "Some of these licences" not in first
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
    assert all(float(parameters) <= 8.0 for _, _, parameters, *_ in rows)
    assert {name.partition(".")[0] for name, *_ in rows} > {"mobilevit_s", "tiny_vit_5m_224"}, "256 and 224 pixels"


def test_a_part_of_a_name_is_enough(tmp_path: Path) -> None:
    assert listing(tmp_path, "lite0", "--no-measure") == listing(tmp_path, "*lite0*", "--no-measure")
    assert "resnet18.a1_in1k" in listing(tmp_path, "resnet18.a1_in1k", "--no-measure")


def test_licences_are_listed_and_filter_the_list(tmp_path: Path) -> None:
    output = listing(tmp_path, "vit_base_patch16_*", "--no-measure")
    assert row(output, "vit_base_patch16_224.mae")[4] == "cc-by-nc-4.0"
    assert row(output, "vit_base_patch16_dinov3.lvd1689m")[4] == "dinov3-license"
    assert row(output, "vit_base_patch16_224.bamboo")[4] == "unknown"
    assert "Permissive are apache-2.0, bsd-3-clause, cc-by-4.0, mit (--license permissive)." in output
    free = listing(tmp_path, "vit_base_patch16_*", "--license", "permissive", "--no-measure")
    assert {cells(line)[4] for line in free.splitlines() if line.startswith("vit_")} == {"apache-2.0", "mit"}
    assert "Some of these licences" not in free
    assert row(listing(tmp_path, "*", "--license", "unknown", "--no-measure"), "res2net101d.in1k")[4] == "unknown"


def test_what_cannot_be_used_is_named_with_the_reason(tmp_path: Path) -> None:
    output = " ".join(listing(tmp_path, "qwen3_vit_88m*", "--no-measure").split())
    assert "Left out: qwen3_vit_88m_enc.qwen3_5_0_8b: no class scores (encoders)" in output
    output = " ".join(listing(tmp_path, "levit_1*", "--family", "hybrid", "--no-measure").split())
    assert "Left out" not in output
    with pytest.raises(BackboneError, match=r"levit_128\.fb_dist_in1k.*: unusable for images of at most 128 pixels"):
        listing(tmp_path, "levit_1*", "--max-size", "128", "--no-measure")


@pytest.mark.parametrize(
    ("arguments", "error", "expected"),
    [
        (["nosuch"], BackboneError, "there are no timm models nosuch"),
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
        (["--license", "apache"], BackboneError, "no weights have the licence 'apache'; did you mean apache-2.0"),
        (["--license", "MIT License"], StudyError, "license: 'MIT License' is no name of a licence"),
        (["convnext_tiny.*", "--license", "bsd-3-clause"], BackboneError, "weights, under the licence bsd-3-clause"),
    ],
)
def test_invalid_options_are_explained(
    tmp_path: Path, arguments: list[str], error: type[Exception], expected: str
) -> None:
    with pytest.raises(error, match=expected):
        listing(tmp_path, *arguments)


@pytest.mark.parametrize(("name", "remedy"), [("no", "does not exist"), ("lite.safetensors", "--weights .")])
def test_the_folder_of_weights_is_checked_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, remedy: str
) -> None:
    def measure(*_: object) -> Measurement:
        raise AssertionError("measured with weights that are not there")

    monkeypatch.setattr(trainer.training.throughput, "measure_training", measure)
    monkeypatch.chdir(tmp_path)
    Path("lite.safetensors").touch()
    for pattern in ("test_vit.*", "resnet*"):
        with pytest.raises(BackboneError, match=remedy):
            listing(tmp_path, pattern, "--weights", name)


@pytest.mark.parametrize("command", ["check", "backbones"])
def test_commands_without_a_study_promise_no_memory_of_the_weights(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
    assert "--weights" in shown and "remembers" not in shown
