"""Messages of errors: of many problems that are alike, the first ones are shown."""

from __future__ import annotations

import pytest

from trainer.common.errors import SHOWN, SHOWN_ALIKE, DataError


@pytest.mark.parametrize(
    "problem", ["t.csv row {n}: there is no image 'a{n}.png'", "scan{n}.tif: 4 bands", "a/{n}.png is damaged"]
)
def test_problems_that_are_alike_are_counted(problem: str) -> None:
    alike = [problem.format(n=n) for n in range(30)]
    other = "the label 'cat' has no image"
    lines = str(DataError([*alike, other], "Do this")).split("\n")
    assert lines == [*alike[:SHOWN_ALIKE], other, f"... and {30 - SHOWN_ALIKE} more", "Do this"]


def test_a_message_has_an_end() -> None:
    words = [f"problem {chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(50)]
    assert str(DataError(words)).split("\n") == [*words[:SHOWN], f"... and {50 - SHOWN} more"]
    assert str(DataError("one")) == "one"
