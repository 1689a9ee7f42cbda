"""A damaged row ends a command in one error in words, whatever the command reads it for."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy import text

from search.cli.app import EXPECTED
from search.export.plan import plan_export
from search.report.status import show_status
from search.runtime import console as console_module
from search.study_state.confirmation import read_confirmation
from search.study_state.snapshot import read_snapshot
from search.study_state.study import read_study
from search.worker.study_context import StudyContext
from tests.search.instant_training import pretending
from tests.search.small_study import work_on

COMMANDS: tuple[Callable[[StudyContext], object], ...] = (
    lambda c: read_snapshot(c.stores, "colours"),
    lambda c: read_confirmation(c.stores, "colours"),
    lambda c: plan_export(c.stores, read_study(c.stores, "colours"), seeds=1, full_data=False, home=c.home),
    lambda c: show_status("colours", c.stores.database.url.render_as_string(), c.home.root, everything=True),
    lambda c: work_on(c),
)
SPEC = "UPDATE retable_study SET spec = "
DAMAGES = (
    "UPDATE retable_study SET name = '../../escaped'",
    *(
        SPEC + f"'{json.dumps(spec)}'"
        for spec in ({}, {"protocol": 5}, {"recipe": {"backbone": "../x"}}, {"space": []})
    ),
    "UPDATE retable_study SET budget = -1",
    "UPDATE retable_trial SET recipe = '{\"backbone\": \"../../x\"}' WHERE kind = 'search'",
    "UPDATE retable_trial SET recipe = '{\"unknown\": 1, \"epochs\": -7}' WHERE kind = 'search'",
    "UPDATE retable_trial SET recipe = NULL WHERE kind = 'search'",
    "UPDATE retable_trial SET value = 9e999, number = 10000000",
    "UPDATE retable_trial SET number = NULL",
    'UPDATE retable_trial SET machine = \'{"device": [1]}\', note = \'{"trial": "x"}\'',
    'UPDATE retable_trial SET networks = \'{"/etc/passwd": "x"}\'',
    "DELETE FROM retable_prediction",
    "UPDATE retable_prediction SET proba = X'00'",
    "DELETE FROM retable_fold_set",
    "UPDATE retable_dataset SET class_names = '[]'",
    "UPDATE retable_dataset SET summary = '{\"folder\": 7}'",
    "UPDATE retable_export SET notes = '{}'",
)


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_commands_on_a_damaged_database(
    context: StudyContext, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_module, "open_console", lambda: Console(file=io.StringIO()))
    ready = pretending(context, lambda task: 0.7)
    work_on(ready)
    before = set(tmp_path.parent.iterdir())
    with context.stores.database.writing() as connection:
        connection.execute(text(damage.replace(":", r"\:")))
    for command in COMMANDS:
        try:
            command(ready)
        except EXPECTED as error:
            assert str(error)
    assert set(tmp_path.parent.iterdir()) == before, "nothing is written elsewhere"
