"""Names from outside neither change the terminal nor break an encoding."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.inference.printable import cause_of, excerpt, name_problem, printable

# Every string that a file name can become in Python: text, and bytes that are not UTF-8.
NAMES = st.binary(max_size=30).map(os.fsdecode) | st.text(max_size=30)


@given(NAMES)
def test_a_printable_name_can_be_encoded_and_controls_nothing(name: str) -> None:
    shown = printable(name)
    shown.encode()
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in shown)
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u2028\u2029")


def test_names_stay_readable() -> None:
    assert printable("写真 3.png é") == "写真 3.png é"
    assert printable(os.fsdecode("写真3.png".encode("cp932"))) == "\\x8eʐ^3.png"
    assert printable("a\x1b[31mb\nc") == "a\\x1b[31mb\\nc"
    assert printable("a\x1b\nc", keep="\n") == "a\\x1b\nc"
    assert printable("\u202egpj.exe") == "\\u202egpj.exe"


@pytest.mark.parametrize(
    ("name", "why"), [("写真.png", "LC_ALL=C.UTF-8 or PYTHONUTF8=1"), (os.fsdecode(b"\x8e\xca.png"), "convmv")]
)
def test_a_locale_without_utf_8_is_the_cause_of_intact_names(name: str, why: str) -> None:
    script = "import os, sys; from trainer.inference.printable import name_problem; print(name_problem(sys.argv[1]))"
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", script, name], env=environment, capture_output=True, text=True, check=True
    )
    assert why in done.stdout


def test_names_that_cannot_be_ids() -> None:
    assert name_problem("cat/写真.png") is None
    assert "not UTF-8" in str(name_problem("cat/\udc8e.png"))
    assert "control character" in str(name_problem("a\nb.png"))


@given(st.text(max_size=500), st.integers(1, 100))
def test_an_excerpt_keeps_both_ends_and_counts_the_rest(text: str, most: int) -> None:
    shown = excerpt(text, most)
    if len(text) <= most:
        assert shown == text
    else:
        assert f"({len(text) - most:,} characters left out)" in shown
        assert shown.startswith(text[: most - most // 4])
        assert shown.endswith(text[len(text) - most // 4 :])
        assert len(shown) < most + 50


def test_the_cause_of_an_error_is_one_short_line() -> None:
    assert cause_of(RuntimeError("a\n\tb")) == "a b"
    assert cause_of(RuntimeError()) == "RuntimeError"
    assert len(cause_of(RuntimeError("tensor\n" * 5000))) < 500
