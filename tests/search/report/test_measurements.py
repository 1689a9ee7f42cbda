"""The file of stored measurements, which may be damaged or written by several processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from search.report.backbone_table import Measured, Measurements, Setup
from search.runtime.home import Home, HomeNotWritable

SETUP = Setup(
    architecture="test_resnet", image_size=160, batch_size=8, device="a CPU, 1 thread", timm="1.0.31", torch="2.15.0"
)
MEASURED = Measured(images_per_second=12.5, memory=3_000_000)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(root=tmp_path)


def test_a_measurement_is_stored_for_its_setup_alone(home: Home) -> None:
    Measurements(home).add(SETUP, MEASURED)
    again = Measurements(home)
    assert again.get(SETUP) == MEASURED
    for other in ({"device": "another"}, {"torch": "2.16.0"}, {"image_size": 224}, {"architecture": "test_vit"}):
        assert again.get(Setup(**{**vars_of(SETUP), **other})) is None


def test_two_writers_share_one_file(home: Home) -> None:
    first, second = Measurements(home), Measurements(home)
    other = Setup(**{**vars_of(SETUP), "architecture": "test_vit"})
    first.add(SETUP, MEASURED)
    second.add(other, MEASURED)
    assert Measurements(home).get(SETUP) == Measurements(home).get(other) == MEASURED


@pytest.mark.parametrize(
    "change",
    [
        {"memory": -1},
        {"memory": 1.5},
        {"memory": True},
        {"images_per_second": 0},
        {"images_per_second": float("nan")},
        {"images_per_second": "fast"},
        {"image_size": None},
        {"device": ["a"]},
        {"colour": "red"},
    ],
)
def test_an_invalid_entry_is_ignored(home: Home, change: dict[str, Any]) -> None:
    good = Setup(**{**vars_of(SETUP), "architecture": "test_vit"})
    Measurements(home).add(good, MEASURED)
    (row,) = json.loads(home.measurements.read_text())
    bad = {**row, "architecture": "test_resnet", **change}
    home.measurements.write_text(json.dumps([7, bad, row]))
    known = Measurements(home)
    assert known.get(good) == MEASURED
    assert known.get(SETUP) is None


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"null", b"\xff\xfe", b"[" * 100_000, b'[{"architecture": []}]'])
def test_a_damaged_file_is_replaced(home: Home, content: bytes) -> None:
    home.measurements.parent.mkdir(parents=True)
    home.measurements.write_bytes(content)
    known = Measurements(home)
    assert known.get(SETUP) is None
    known.add(SETUP, MEASURED)
    assert Measurements(home).get(SETUP) == MEASURED


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeNotWritable, match="--home"):
        Measurements(Home(root=tmp_path / "file")).add(SETUP, MEASURED)


def vars_of(setup: Setup) -> dict[str, Any]:
    return {name: getattr(setup, name) for name in Setup.__dataclass_fields__}
