"""Fixtures that write and load study files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from studies.load_study import load_study
from studies.spec import StudyError, StudySpec


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., StudySpec]:
    """Function that writes a text to ``mine.toml`` and loads it with overrides."""

    def write_and_load(text: str, *overrides: str) -> StudySpec:
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return load_study(path, overrides)

    return write_and_load


@pytest.fixture
def refused(load: Callable[..., StudySpec]) -> Callable[..., tuple[str, ...]]:
    """Function that loads a study that must be refused, and returns the problems."""

    def problems_of(text: str, *overrides: str) -> tuple[str, ...]:
        with pytest.raises(StudyError) as caught:
            load(text, *overrides)
        return caught.value.problems

    return problems_of
