"""The benchmark of kept memory, on a tiny network."""

from __future__ import annotations

import platform

import pytest

from benchmarks.training.kept_memory import WAYS, Seconds, main, summary


def test_ratios_are_within_a_round() -> None:
    rounds = [
        {
            "kept": Seconds(first_step=2, step=1, prediction=1),
            "given back": Seconds(first_step=2, step=2, prediction=3),
        },
        {
            "kept": Seconds(first_step=2, step=4, prediction=2),
            "given back": Seconds(first_step=2, step=8, prediction=6),
        },
    ]
    lines = summary(rounds).splitlines()
    assert [line.split("|")[-2].strip() for line in lines[2:]] == ["1.00", "2.00", "3.00"]


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc has such settings")
def test_a_round_runs(capfd: pytest.CaptureFixture[str]) -> None:
    main(["--backbone", "test_resnet", "--image-size", "32", "--batch-size", "4", "--steps", "1", "--rounds", "1"])
    out = capfd.readouterr().out
    assert all(way in out for way in WAYS) and out.count(" s |") == 6
