"""The cost of a probe on a tiny network: every part is timed."""

from __future__ import annotations

import argparse

import torch

from benchmarks.probes.probe_cost import measure


def test_every_part_is_timed() -> None:
    given = argparse.Namespace(weights=None, size=32, images=24, classes=3, folds=2, rounds=2)
    result = measure("test_resnet", given, torch.device("cpu"))
    assert {name: len(values) for name, values in result["seconds"].items()} == {"probe": 2, "again": 2, "bare pass": 2}
    assert result["row"]["probe / bare pass"] > 0.0
    assert all(value > 0.0 for values in result["seconds"].values() for value in values)
