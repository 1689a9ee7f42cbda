"""The options that say where the labels are: equal in every command that reads a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from search.cli.app import app
from search.cli.overrides import overrides_of
from studies.settings import LAYOUTS, setting_names
from tests.trainer.images import save
from trainer.data.read import READERS
from trainer.formats.delimited import write_table
from trainer.formats.label_tables import CORRECTIONS_FILE, Correction, write_corrections

OPTIONS = ("id_column", "label_column", "group_column", "table", "layout", "similar_labels", "encoding")


def test_every_option_is_a_setting() -> None:
    assert set(OPTIONS) <= set(setting_names("data"))
    assert set(LAYOUTS) == set(READERS)
    given = overrides_of(["recipe.epochs=1"], True, table="a b.csv", layout=None)
    assert given == ["recipe.epochs=1", "data.table=a b.csv", "data.skip_bad=true"]
    assert overrides_of(None, False, True) == ["data.corrections=false"]


@pytest.mark.parametrize(
    ("options", "assignment"),
    [
        (["--label-column", "label"], "data.label_column=id"),
        (["--table", "one.csv"], 'data.table="two.csv"'),
        (["--skip-bad"], "data.skip_bad=false"),
        (["--no-corrections"], "data.corrections=true"),
    ],
)
def test_an_option_and_a_setting_that_contradict_are_refused(
    options: list[str], assignment: str, tmp_path: Path
) -> None:
    done = CliRunner().invoke(app, ["check", str(tmp_path), *options, "--set", assignment], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert f"{' '.join(options)} and --set {assignment} contradict each other: leave out one of them" in done.output


def test_an_option_and_a_setting_may_say_the_same() -> None:
    same = ["data.label_column = 'id'", "data.skip_bad=true"]
    assert overrides_of(same, True, label_column="id") == [*same, "data.label_column=id", "data.skip_bad=true"]
    assert overrides_of(["data.label_column=2021"], False, label_column="2021")


@pytest.mark.parametrize("command", ["check", "start", "preview"])
def test_commands_that_read_a_folder_take_them(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
    assert [name for name in OPTIONS if f"--{name.replace('_', '-')}" not in shown] == []


@pytest.mark.parametrize("command", ["check", "start", "probe", "preview"])
def test_commands_that_read_a_folder_can_leave_its_corrections_out(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
    assert "--no-corrections" in shown


def test_check_says_what_corrections_change_and_reads_the_labels_without_them(tmp_path: Path) -> None:
    for i in range(8):
        save(tmp_path / "data" / "ab"[i % 2] / f"{i}.png", i, 8)
    correction = Correction(id="a/0.png", given="a", label="b", fingerprint="")
    write_corrections(tmp_path / "data" / CORRECTIONS_FILE, [correction])
    arguments = ["check", str(tmp_path / "data"), "--no-shift", "--no-labels", "--folds", "2"]
    shown = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"}).output
    assert "1 label corrected, 0 images dropped by the corrections in retable_corrections.csv" in shown
    assert "b: 5 (62.5%)" in shown
    raw = CliRunner().invoke(app, [*arguments, "--no-corrections"], env={"COLUMNS": "200"}).output
    assert "corrected" not in raw and "b: 4 (50.0%)" in raw


@pytest.mark.parametrize(("option", "valid"), [("--layout", "table, folders, npz"), ("--similar-labels", "ask, merge")])
def test_an_unknown_choice_is_refused_with_the_valid_ones(tmp_path: Path, option: str, valid: str) -> None:
    done = CliRunner().invoke(app, ["check", str(tmp_path), option, "nix"], env={"COLUMNS": "200"})
    assert done.exit_code == 2 and f"'nix' is none of {valid}" in done.output


def test_check_follows_them_and_names_the_decision(tmp_path: Path) -> None:
    for i in range(12):
        save(tmp_path / "images" / f"{i}.png", i, 8)
    rows = [("id", "species", "sort"), *((str(i), "xy"[i % 2], "uvw"[i % 3]) for i in range(12))]
    write_table(tmp_path / "one.csv", rows)
    write_table(tmp_path / "two.csv", rows)
    arguments = ["check", str(tmp_path), "--no-shift", "--table", "two.csv", "--label-column", "sort"]
    shown = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"}).output
    assert "two.csv: id column 'id', label column 'sort'" in shown
    assert "12 in 3 classes" in shown
