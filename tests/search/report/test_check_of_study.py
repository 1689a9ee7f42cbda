"""``search check --study``: the folder, the settings and the folds of a stored study."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from search.cli.app import app
from search.study_setup.create_study import create_study
from storage.stores import open_stores
from tests.search.small_study import STUDY, study_plan


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve images with two columns of labels: their colour, and their shape."""
    folder = tmp_path / "shapes"
    (folder / "train").mkdir(parents=True)
    with (folder / "train.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "colour", "shape"])
        for i in range(12):
            Image.new("RGB", (24, 24), (20 * i, 40, 200)).save(folder / "train" / f"p{i:02}.png")
            table.writerow([f"p{i:02}", ("red", "blue")[i % 2], ("disc", "star", "ring")[i % 3]])
    return folder


@pytest.fixture
def url(data: Path, tmp_path: Path) -> str:
    """A database with a study of the shapes."""
    (tmp_path / "shapes.toml").write_text(STUDY)
    stores = open_stores(f"sqlite:///{tmp_path / 'studies.db'}", create=True)
    create_study(stores, study_plan(tmp_path / "shapes.toml", data, "data.label_column=shape", name="shapes"))
    stores.database.close()
    return f"sqlite:///{tmp_path / 'studies.db'}"


def run(*arguments: str, expected: int = 0) -> str:
    done = CliRunner().invoke(
        app, ["check", "--no-shift", "--no-labels", *arguments], env={"COLUMNS": "300"}, catch_exceptions=False
    )
    assert done.exit_code == expected, done.output
    return done.output


def test_the_folder_is_read_as_the_study_reads_it(url: str, data: Path) -> None:
    shown = run("--study", "shapes", "--storage", url)
    assert f"folder: {data}" in shown and "disc: 4" in shown and "red" not in shown
    assert "red: 6" in run("--study", "shapes", "--storage", url, "--label-column", "colour")


def test_a_moved_folder_is_given_beside_the_study(url: str, data: Path) -> None:
    moved = data.rename(data.with_name("moved"))
    with pytest.raises(Exception, match=r"`search check DATA --study shapes`"):
        run("--study", "shapes", "--storage", url)
    assert "disc: 4" in run(str(moved), "--study", "shapes", "--storage", url)


def test_a_folder_or_a_study_is_needed(url: str) -> None:
    assert "--study" in run(expected=2)
    with pytest.raises(Exception, match="shapes"):
        run("--study", "shape", "--storage", url)
