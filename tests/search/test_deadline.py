"""A deadline covers the search and the refits: early is allowed, late is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search.bench import Bench
from search.deadline import is_time_for_another, refit_seconds
from search.ledger import Ledger
from search.standing import read_standing
from search.supervision import search_is_over
from storage.stored_studies import StoredStudy
from storage.values import WorkKind
from tests.search.colours import work_on


def test_without_a_deadline_there_is_always_time(stored: StoredStudy) -> None:
    assert is_time_for_another(stored, 150.0, now=1e12)


def test_a_trial_and_the_refits_must_fit(bench: Bench) -> None:
    study = replace(bench.study, deadline=10_000.0)
    # Trials take 150 s, one refit as long, and a fifth on top: 360 s.
    assert is_time_for_another(study, 150.0, now=9_640.0)
    assert not is_time_for_another(study, 150.0, now=9_641.0)
    assert is_time_for_another(study, None, now=9_999.0), "nothing is known yet"
    assert not is_time_for_another(study, None, now=10_000.0)


def test_longer_and_larger_refits_take_longer(bench: Bench) -> None:
    final = replace(bench.spec.final, epochs=6, image_size=64, seeds=3)
    assert refit_seconds(replace(bench.spec, final=final), 10.0) == pytest.approx(10 * 3 * 2 * 4)


def test_when_time_is_up_no_trial_begins_but_refits_do(bench: Bench, ledger: Ledger) -> None:
    assert not search_is_over(read_standing(ledger, "colours"))
    ledger.studies.set_deadline(bench.study.id, ledger.database.now() - 1.0)
    work_on(bench)
    assert ledger.runs.records(bench.study.id) == []
    assert search_is_over(read_standing(ledger, "colours"))
    ledger.queue.add(bench.study.id, WorkKind.REFIT, split=0, seed=0, recipe=bench.spec.default_recipe())
    work_on(bench)
    assert [record.kind for record in ledger.runs.records(bench.study.id)] == [WorkKind.REFIT]
