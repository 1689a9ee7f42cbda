"""The note of a study in Optuna Dashboard, its facts, and the learning curves of its best trials."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from optuna_dashboard import get_note

from search.report.dashboard import publish as publishing
from search.report.dashboard.note import _code, _prose, study_facts, study_note
from search.report.dashboard.publish import AT_REST, CURVES, INTERVAL, StateKeeper, publish_state
from search.runtime.home import Home
from search.study_state.snapshot import read_snapshot
from search.study_state.study import Study
from search.worker.study_context import StudyContext
from storage.artifacts import ArtifactFolder
from storage.optuna_storage.trial_artifacts import trials_with_artifact
from storage.stores import Stores
from storage.values import StudyState
from tests.search.end_trials import end_next
from tests.search.small_study import work_on

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
HOSTILE = "<img src=x onerror=alert(1)> [a](javascript:alert(1)) | `b` $x$ **c** https://evil.example"


def tokens(markdown: str) -> Iterator[str]:
    for token in MARKDOWN.parse(markdown):
        yield token.type
        yield from (child.type for child in token.children or ())


def test_the_note_begins_with_the_answer(stores: Stores, stored: Study, tmp_path: Path) -> None:
    assert study_note(stores, read_snapshot(stores, "colours"), tmp_path).startswith("## No trial has finished yet")
    end_next(stores, stored, 0.7)
    end_next(stores, stored, 0.9)
    snapshot = read_snapshot(stores, "colours")
    note = study_note(stores, snapshot, tmp_path)
    assert note.startswith("## accuracy 0.9000 ± 0.0100: trial 1, the best so far\n\ntest_resnet at 32 px")
    assert "2/3 trials" in note and "No recipe was tested on fresh splits yet" in note
    assert note.index("| trial 1 | 0.9000 ± 0.0100 |") < note.index("| trial 0 | 0.7000 ± 0.0100 |")
    assert study_facts(stores, snapshot)["1. answer"] == "accuracy 0.9000 ± 0.0100: trial 1 is the best so far"


def test_the_note_says_what_the_value_of_a_trial_is(stores: Stores, stored: Study, tmp_path: Path) -> None:
    snapshot = read_snapshot(stores, "colours")
    assert "The value of a trial is its accuracy on held-out images" in study_note(stores, snapshot, tmp_path)
    earlier = study_note(stores, snapshot, tmp_path, shows_metric=False)
    assert "the mean of its accuracy and of 1 minus its Brier score" in earlier and "search_objective" not in earlier


def test_the_report_is_named_where_it_lies_and_else_how_to_write_it(
    stores: Stores, stored: Study, tmp_path: Path
) -> None:
    snapshot = read_snapshot(stores, "colours")
    assert f"Report: `search report --study colours` writes it to `{tmp_path}/report.html`" in study_note(
        stores, snapshot, tmp_path
    )
    (tmp_path / "report.html").touch()
    assert f"Report: `{tmp_path}/report.html`." in study_note(stores, snapshot, tmp_path)


def test_texts_from_outside_cannot_change_the_note(stores: Stores, stored: Study, tmp_path: Path) -> None:
    end_next(stores, stored, 0.7)
    stores.studies.set_state(stored.id, StudyState.STOPPED, HOSTILE)
    note = study_note(stores, read_snapshot(stores, "colours"), tmp_path / "<b>`x`")
    kinds = set(tokens(note))
    assert not kinds & {"html_block", "html_inline", "link_open", "image"}, note
    assert "$x$" not in note and "evil.example" in note
    assert sum(kind == "table_open" for kind in tokens(note)) == 1


@given(st.text(max_size=60))
def test_no_text_leaves_its_place(text: str) -> None:
    for markdown in (_prose(text), _code(text) if text.strip() else ""):
        kinds = set(tokens(f"- {markdown}"))
        assert not kinds & {"html_block", "html_inline", "link_open", "image", "em_open", "strong_open", "heading_open"}


def test_the_page_shows_curves_of_the_best_trials_once(context: StudyContext) -> None:
    work_on(context)
    stores, home = context.stores, context.home
    snapshot = read_snapshot(stores, "colours")
    for _ in range(2):
        publish_state(stores, snapshot, home)
        study = stores.optuna_study("colours")
        assert len(trials_with_artifact(study, CURVES)) == 3
        assert len(list((home.artifacts / "pictures").iterdir())) == 3
    assert get_note(study).startswith("## accuracy")
    assert study.user_attrs["2. progress"].startswith("done: 3/3 trials")
    picture = next((home.artifacts / "pictures").iterdir())
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert ArtifactFolder(home.artifacts).pictures().open_reader(picture.name).read() == picture.read_bytes()


def test_the_note_is_written_when_something_has_changed(
    stores: Stores, stored: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, written = 0.0, list[int]()
    monkeypatch.setattr(publishing, "publish_state", lambda stores, snapshot, home: written.append(snapshot.counted))
    keeper = StateKeeper(stores, Home(root=tmp_path), monotonic=lambda: now)
    keeper.update(read_snapshot(stores, "colours"))
    end_next(stores, stored, 0.7)
    keeper.update(read_snapshot(stores, "colours"))
    assert written == [0], "too soon"
    now += INTERVAL
    keeper.update(read_snapshot(stores, "colours"))
    now += INTERVAL
    keeper.update(read_snapshot(stores, "colours"))
    assert written == [0, 1], "nothing has changed"
    now += AT_REST
    keeper.update(read_snapshot(stores, "colours"))
    assert written == [0, 1, 1]


def test_a_note_that_cannot_be_written_ends_no_search(
    stores: Stores, stored: Study, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    end_next(stores, stored, 0.7)
    end_next(stores, stored, 0.8)
    optuna.delete_study(study_name="colours", storage=stores.optuna_storage)
    optuna.create_study(study_name="colours", storage=stores.optuna_storage).ask()
    now = iter(range(0, 10_000, 1_000))
    keeper = StateKeeper(stores, Home(root=tmp_path), monotonic=lambda: float(next(now)))
    for _ in range(3):
        keeper.update(read_snapshot(stores, "colours"))
    assert sum("another program has replaced the study" in message for message in caplog.messages) == 1
