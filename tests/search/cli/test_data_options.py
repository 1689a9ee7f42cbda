"""The options that say where the labels are: equal in every command that reads a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from search.cli.app import app
from search.cli.options import overrides_of
from studies.settings import LAYOUTS, setting_names
from tests.trainer.images import save
from trainer.data.read import READERS
from trainer.formats.delimited import write_table

OPTIONS = ("id_column", "label_column", "group_column", "table", "layout", "similar_labels", "encoding")


def test_every_option_is_a_setting() -> None:
    assert set(OPTIONS) <= set(setting_names("data"))
    assert set(LAYOUTS) == set(READERS)
    given = overrides_of(["recipe.epochs=1"], True, table="a b.csv", layout=None)
    assert given == ["recipe.epochs=1", "data.table=a b.csv", "data.skip_bad=true"]


@pytest.mark.parametrize("command", ["check", "start", "preview"])
def test_commands_that_read_a_folder_take_them(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
    assert [name for name in OPTIONS if f"--{name.replace('_', '-')}" not in shown] == []


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
