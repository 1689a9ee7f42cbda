"""`search compare`: the table of the finalists, its conclusions and its picture."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from search.report.finalists.comparison import (
    NothingConfirmed,
    PictureNotWritable,
    compare,
    compare_finalists,
    draw_comparison,
    print_comparison,
)
from search.study_state.confirmation import judge, plan_step, queue_step, read_confirmation
from search.study_state.snapshot import read_snapshot
from search.worker.study_context import StudyContext
from storage.stores import Stores
from storage.values import WorkKind
from tests.search.instant_training import pretending
from tests.search.small_study import work_on


def confirmed(context: StudyContext, good: float, default: float) -> StudyContext:
    """Ten trials of quality ``good``, the default recipe of quality ``default``, and one round of confirmations."""
    recipe = context.spec.default_recipe()
    ready = pretending(context, lambda task: default if task.item.recipe == recipe else good)
    context.stores.studies.set_budget(context.study.id, 10)
    work_on(ready)
    queue(ready)
    work_on(ready)
    return ready


def queue(context: StudyContext) -> None:
    confirmation = read_confirmation(context.stores, context.study.name)
    step = plan_step(context.stores, confirmation, judge(context.stores, confirmation))
    queue_step(context.stores, confirmation, step, context.images)


def said(stores: Stores) -> str:
    output = io.StringIO()
    print_comparison(Console(file=output, width=200), compare_finalists(stores, "colours"))
    return " ".join(output.getvalue().split())


@pytest.mark.slow
def test_a_search_that_beat_the_default_recipe(context: StudyContext, stores: Stores, url: str, tmp_path: Path) -> None:
    confirmed(context, good=0.95, default=0.3)
    comparison = compare_finalists(stores, "colours")
    estimates = comparison.estimates
    assert estimates.rows[-1].number == 0 and not estimates.rows[-1].tied
    text = said(stores)
    for row in estimates.rows:
        assert f"{row.mean:.4f}" in text and f"{row.shrunk:.4f} ± {row.error:.4f}" in text
    last = estimates.rows[-1]
    assert f"The leader beats the default recipe by {last.gap_to_leader:.4f} ± {last.gap_error:.4f}." in text
    assert "the default recipe" in text and "label_smoothing=" in text
    best = read_snapshot(stores, "colours").ranking[0]
    assert f"trial {best.number}, scored {best.value:.4f} in the search" in text
    assert "has not been shown" not in text

    compare(None, url, tmp_path / "home", None)
    picture = tmp_path / "home" / "colours" / "compare.png"
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    assert pixels.shape[1] > 800
    for colour in ((0x1B, 0x6C, 0xA8), (0x9A, 0xA5, 0xB1), (0xFF, 0xF4, 0xD6)):
        assert (np.abs(pixels.astype(int) - colour).sum(axis=2) < 6).sum() > 50, "tied, not tied, default"


def test_a_gap_that_rounds_to_zero_has_no_sign(
    context: StudyContext, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    confirmed(context, good=0.95, default=0.3)
    estimates = compare_finalists(stores, "colours").estimates
    leader, *others = estimates.rows
    assert leader.number != 0
    equal = (replace(row, gap_to_leader=-1e-9, gap_error=0.01, tied=True) for row in others)
    monkeypatch.setattr(
        "search.report.finalists.comparison.judge", lambda *_: replace(estimates, rows=(leader, *equal))
    )
    text = said(stores)
    assert "-0.0000" not in text
    assert "advantage over it is 0.0000 ± 0.0100" in text


@pytest.mark.slow
def test_a_search_that_did_not_beat_the_default_recipe(context: StudyContext, stores: Stores) -> None:
    confirmed(context, good=0.5, default=0.95)
    text = said(stores)
    assert compare_finalists(stores, "colours").estimates.leader.number == 0
    assert "has not been shown to beat the default recipe" in text and "beats the default" not in text


@pytest.mark.slow
def test_a_running_confirmation_is_compared_and_named(context: StudyContext, stores: Stores, tmp_path: Path) -> None:
    ready = confirmed(context, good=0.8, default=0.8)
    confirmation = read_confirmation(stores, "colours")
    study = stores.studies.get("colours")
    spec = {**study.spec, "confirm": {**study.spec["confirm"], "share": 0.6}}
    stores.studies.set_spec(study.id, spec=spec, file_spec=study.file_spec)
    queue(ready)
    waiting = len(stores.queue.waiting(study.id, WorkKind.CONFIRM))
    assert waiting
    total = waiting + len(confirmation.finalists)
    assert f"{len(confirmation.finalists)} of {total} trainings are done" in said(stores)
    draw_comparison(tmp_path / "c.svg", compare_finalists(stores, "colours"))
    assert (tmp_path / "c.svg").read_text().rstrip().endswith("</svg>")


def test_without_a_confirmation_the_error_names_the_command(
    context: StudyContext, stores: Stores, url: str, tmp_path: Path
) -> None:
    with pytest.raises(NothingConfirmed, match="no trial has finished"):
        compare(None, url, tmp_path, None)
    ready = pretending(context, lambda task: 0.7)
    work_on(ready)
    with pytest.raises(NothingConfirmed, match="takes 5 trials, and 3 counted"):
        compare(None, url, tmp_path, None)
    stores.studies.set_budget(context.study.id, 5)
    work_on(ready)
    with pytest.raises(NothingConfirmed, match="`search confirm --study colours`"):
        compare(None, url, tmp_path, None)
    with pytest.raises(PictureNotWritable, match=r"\.png, \.pdf, \.svg"):
        compare(None, url, tmp_path, tmp_path / "picture.bmp")
