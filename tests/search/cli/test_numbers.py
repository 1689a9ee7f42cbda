"""Huge numbers, infinity and NaN are refused clearly, wherever a number can be given."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from click.testing import CliRunner
from typer.main import get_command
from typer.models import ArgumentInfo, OptionInfo

from search.cli.app import COMMANDS, app
from search.cli.options import LARGEST, gpu_names
from studies.errors import StudyError
from studies.load_study import load_study
from studies.settings import SECTIONS, setting_names
from trainer.recipe.recipe import FIELDS

EXTREMES = ("inf", "-inf", "nan", "1e999", "-1e999", str(2**70), f"-{2**70}", "9" * 5000, "²", "0x10", "")
FILLERS = {
    "start": ["--study", "quickstart"],
    "preview": ["--study", "quickstart"],
    "check": ["."],
    "predict": [".", "."],
    "replay": ["0"],
}
"""Required arguments of the commands with numbers."""


def numbers() -> Iterator[tuple[str, str, Any]]:
    """Command, spelling and declaration of every option and argument that takes a number."""
    for name, command in COMMANDS:
        hints = get_type_hints(command, include_extras=True)
        for parameter in inspect.signature(command).parameters:
            kind, info = get_args(hints[parameter])[:2] if get_args(hints[parameter]) else (None, None)
            plain = {inner for part in (kind, *get_args(kind)) for inner in (part, *get_args(part))}
            if isinstance(info, (OptionInfo, ArgumentInfo)) and plain & {int, float}:
                # Typer keeps the first spelling of an annotated option as its default.
                spellings = [text for text in (info.default, *(info.param_decls or ())) if isinstance(text, str)]
                option = next((text for text in spellings if text.startswith("--")), "")
                yield name, option, info


NUMBERS = list(numbers())
PROGRAM = get_command(app)
"""Built once: the options of every command take some time to declare."""


def test_the_numbers_are_found() -> None:
    found = {(command, option) for command, option, _ in NUMBERS}
    expected = {("start", "--trials"), ("retry", ""), ("submissions", "--public"), ("replay", "")}
    assert expected <= found
    assert len(found) >= 29


@pytest.mark.parametrize(("command", "option", "info"), NUMBERS, ids=[f"{c}{o or ' argument'}" for c, o, _ in NUMBERS])
def test_every_number_has_a_range_that_the_database_can_store(command: str, option: str, info: Any) -> None:
    assert info.min is not None and info.max is not None
    assert -LARGEST <= info.min <= info.max <= LARGEST


@pytest.mark.parametrize(("command", "option", "info"), NUMBERS, ids=[f"{c}{o or ' argument'}" for c, o, _ in NUMBERS])
def test_extreme_numbers_are_refused(
    command: str, option: str, info: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "retable.db").touch()
    for value in EXTREMES:
        given = [f"{option}={value}"] if option else ["--", value]
        fillers = [] if command == "replay" and not option else FILLERS.get(command, [])
        done = CliRunner().invoke(PROGRAM, [command, *fillers, *given])
        assert done.exit_code == 2, (value, done.output)
        assert isinstance(done.exception, SystemExit), (value, done.exception)
        assert "nvalid value" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["retable.db"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", ".", "--folds=1"], "'1' is too small; at least 2"),
        (["check", ".", "--folds=abc"], "'abc' is not a whole number"),
        (["check", ".", "--folds=2.5"], "'2.5' is not a whole number"),
        (["backbones", "--max-params=1e10"], "'1e10' is too large; at most 1000000000"),
        (["backbones", "--max-params=many"], "'many' is not a number"),
        (["start", "--study", "quickstart", f"--trials={'9' * 5000}"], "has too many digits"),
        (["convert", "model", "images", "--to=pt"], "'pt' is not one of 'onnx', 'torch-export'"),
    ],
)
def test_a_refused_value_is_explained_in_plain_words(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    output = CliRunner().invoke(PROGRAM, arguments).output
    assert said in output
    assert "Input should" not in output and "Value error" not in output


@pytest.mark.parametrize("text", ["²", "9" * 5000, "1,", ",", "-1", "1.5", "", "१", "0,none", "cpu", "GPU-"])
def test_gpu_names_are_plain_numbers_or_uuids(text: str) -> None:
    with pytest.raises(Exception, match="neither a list of GPU indices"):
        gpu_names(text)
    assert gpu_names(" 0, 02 ") == ["0", "2"]
    assert gpu_names("MIG-GPU-1a2b/1/0,GPU-77") == ["MIG-GPU-1a2b/1/0", "GPU-77"]


def test_gpus_none_asks_for_the_cpu() -> None:
    assert gpu_names(None) is None
    assert gpu_names(" None ") == []


@pytest.mark.parametrize("value", ["inf", "nan", "-inf", "1e999", str(2**70), "9" * 5000, f"-{2**70}"])
def test_no_setting_takes_an_extreme_number(value: str, tmp_path: Path) -> None:
    names = [f"{table}.{key}" for table in SECTIONS for key in setting_names(table) if not key.endswith("_column")]
    names += [f"recipe.{path}" for path in FIELDS] + [f"space.{path}.low" for path in FIELDS if path != "epochs"]
    for name in names:
        with pytest.raises(StudyError) as caught:
            load_study("aug_tuning", [f"{name}={value}"])
        assert len(str(caught.value)) < 2000
    file = tmp_path / "x.toml"
    for name in names:
        table, _, key = name.partition(".")
        field = key.removesuffix(".low")
        written = f'"{field}" = {{ low = {value}, high = {value} }}' if table == "space" else f'"{key}" = {value}'
        file.write_text(f"[{table}]\n{written}\n")
        with pytest.raises(StudyError):
            load_study(str(file))


def test_minus_zero_is_zero() -> None:
    spec = load_study("aug_tuning", ["recipe.optimizer.weight_decay=-0.0", "search.patience=-0"])
    assert spec.search_settings.patience == 0
    assert math.copysign(1, float(spec.default_recipe()["optimizer.weight_decay"])) in (1, -1)
