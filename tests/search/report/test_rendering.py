"""Every screen at 60, 80 and 120 columns: no number is cut, no column is lost, no line exceeds the width."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from PIL import Image
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from search.export.notes import ExportNotes
from search.export.output.export import Export, MemberSummary
from search.report.backbone_table import BackbonesRequest, show_backbones
from search.report.checks.check import CheckRequest, check
from search.report.exports.submissions import ScoreRequest, submissions
from search.report.failed_trainings import SHOWN_TRIALS, show_failed
from search.report.finalists.comparison import compare, compare_finalists
from search.report.live.progress import ProgressView, print_trial, recipe_difference
from search.report.status import show_status
from search.report.study_list import show_studies, show_study
from search.report.summary import other_settings, print_export, print_search_over, trial_counts
from search.runtime.console import Column, facts_in, note, print_table, say, say_facts, shortened
from search.statistics.estimates import Estimate
from search.statistics.member_names import MemberName
from search.study_setup.create_study import create_study
from search.study_state.snapshot import StudySnapshot, read_snapshot
from search.study_state.study import Study
from search.study_state.time_left import EndedTrainings
from search.workflow.import_predictions import list_imports
from storage.records.imports import ImportedPredictions
from storage.stores import Stores, open_stores
from storage.values import PROBE_NOTE, Failure, StudyState, TrialRecord, TrialStatus, WorkKind
from studies.settings import DataSettings
from tests.search.report.test_comparison import confirmed
from tests.search.small_study import STUDY, make_context, study_plan
from trainer.recipe.recipe import Scalar

WIDTHS = (60, 80, 120)
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
TOKEN = re.compile(r"[a-z_.]+=\S+")

Capture = pytest.CaptureFixture[str]


@dataclass(frozen=True)
class Screen:
    """Width and kind of an output."""

    width: int
    terminal: bool


@pytest.fixture(
    params=[(w, t) for w in WIDTHS for t in (False, True)], ids=lambda p: f"{p[0]}-{'tty' if p[1] else 'file'}"
)
def screen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Each width, in a file and on a terminal, for consoles that the test opens."""
    width, terminal = request.param
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    return Screen(width=width, terminal=terminal)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, competition_folder: Path) -> Iterator[tuple[Stores, Study]]:
    """A study with ten trials and confirmed finalists, two exports, imported predictions."""
    folder = tmp_path_factory.mktemp("rendering")
    (folder / "colours.toml").write_text(STUDY)
    stores = open_stores(f"sqlite:///{folder / 'retable.db'}", create=True)
    stored = create_study(stores, study_plan(folder / "colours.toml", competition_folder))
    context = make_context(stores, stored, competition_folder, folder / "home")
    confirmed(context, good=0.9, default=0.85)
    forecast = {"expected": 0.7, "low": 0.6, "high": 0.8, "error": 0.05, "level": 0.9, "test_images": 6}
    notes = ExportNotes(
        trial=2,
        seeds=3,
        trainings=((0, 0), (0, 1), (0, 2)),
        full_data=False,
        views=("identity", "hflip", "vflip", "rot90"),
        temperature=1.0,
        offsets=(),
        cuts=(),
    ).to_json()
    for name, score in (("a", 0.8), ("a-folder-with-a-long-name/" * 3, 0.9)):
        stores.exports.add(
            stored.id,
            folder=f"/somewhere/{name}",
            recipe={"backbone": "test_resnet", "tta": "none"},
            score=score,
            score_se=0.073,
            notes=notes,
            forecast=forecast,
        )
    dataset = stores.datasets.get(stored.fingerprint)
    proba = context.images.y[:, None] == range(3)
    made = ImportedPredictions(oof=proba.astype("float32"), test=proba[: len(dataset.test_ids)].astype("float32"))
    doubts = ["it is nearly always right, which no model of these images is", "its folds are not the study's"]
    stores.imports.add(stored.id, "theirs", made, value=0.99, value_se=0.01, notes={"doubts": doubts, "seeds": 2})
    yield stores, stored
    context.loader.close()
    stores.database.close()


def printed(text: str) -> list[str]:
    """Lines without escape sequences."""
    return ESCAPES.sub("", text).replace("\r", "\n").splitlines()


def holds(text: str, screen: Screen, *facts: str) -> list[str]:
    """Assert that every line fits, nothing is cut, and every fact appears, across line breaks; returns the lines."""
    assert ("\x1b[" in text) == screen.terminal, "a terminal gets colours, a file none"
    lines = printed(text)
    for line in lines:
        assert cell_len(line) <= screen.width, line
        assert "…" not in line, line
    flowing = " ".join(" ".join(lines).split())
    for fact in facts:
        assert " ".join(fact.split()) in flowing, fact
    return lines


def url_of(stores: Stores) -> str:
    return stores.database.url.render_as_string(hide_password=False)


def test_the_comparison(study: tuple[Stores, Study], screen: Screen, tmp_path: Path, capsys: Capture) -> None:
    stores, stored = study
    comparison = compare_finalists(stores, stored.name)
    compare(None, url_of(stores), tmp_path, tmp_path / "c.svg")
    out = capsys.readouterr().out
    facts = ["trial", "rounds", "mean", "accuracy", "averaged", "gap", "chance best", "recipe", "leads"]
    for row in comparison.estimates.rows:
        facts += [f"{row.shrunk:.4f} ± {row.error:.4f}", f"{row.averaged:.4f}", f"{row.chance_best:.0%}"]
        facts += TOKEN.findall(comparison.differences[row.number])
        if row is not comparison.estimates.leader:
            facts.append(f"{row.gap_to_leader:.4f} ± {row.gap_error:.4f}")
    lines = [line for line in printed(out) if str(tmp_path) not in line]
    assert len(lines) == len(printed(out)) - 1, "the path of the picture stays whole, so that it can be copied"
    holds("\n".join(line for line in out.splitlines() if str(tmp_path) not in line), screen, *facts)


def test_the_status(study: tuple[Stores, Study], screen: Screen, tmp_path: Path, capsys: Capture) -> None:
    stores, stored = study
    show_status(None, url_of(stores), tmp_path)
    snapshot = read_snapshot(stores, stored.name)
    default = stored.spec.default_recipe()
    facts = [
        "10 finished",
        "averaged",
        "Brier",
        "out-of-fold",
        "public",
        "private",
        "0.9000 ± 0.0730",
        "0.9900 ± 0.0100",
    ]
    for record in snapshot.records:
        facts += [f"trial {record.number:3d}", f"{record.value:.4f} ± {record.value_se:.4f}"]
        facts += TOKEN.findall(recipe_difference(record, default))
    for candidate in snapshot.ranking[:5]:
        facts += [f"{candidate.averaged:.4f}", f"{candidate.brier:.4f}"]
    holds(capsys.readouterr().out, screen, *facts)


def test_failed_trainings(stores: Stores, stored: Study, url: str, screen: Screen, capsys: Capture) -> None:
    item = stores.queue.take(stored.id, "worker-with-a-long-name.example.com-12345", 60.0)
    assert item is not None and stores.queue.fail(item, Failure.DISK, "no room on [this] device: " + "why " * 40)
    show_failed(None, url)
    holds(capsys.readouterr().out, screen, "no room on [this] device", "disk", "search retry --failed --study colours")


def test_the_status_names_the_studies_at_which_other_workers_are(
    stores: Stores, stored: Study, url: str, tmp_path: Path, capsys: Capture
) -> None:
    own = stored.stored
    other = stores.studies.create(
        "busy", fingerprint=own.fingerprint, spec=own.spec, spec_hash="0" * 64, file_spec=own.file_spec, budget=1
    )
    for name in ("w1", "w2"):
        stores.workers.heartbeat(name, host="h", pid=1, device="cpu", study_id=other.id)
    show_status(stored.name, url, tmp_path)
    assert "2 workers at study busy: `search status --study busy`" in " ".join(capsys.readouterr().out.split())


def test_a_flood_in_a_stored_reason_is_bounded(
    stores: Stores, stored: Study, url: str, tmp_path: Path, capsys: Capture
) -> None:
    flood = "no room " + "why " * 3000
    item = stores.queue.take(stored.id, "worker", 60.0)
    assert item is not None and stores.queue.fail(item, Failure.DISK, flood)
    stores.studies.set_state(stored.id, StudyState.STOPPED, flood)
    show_status(None, url, tmp_path)
    shown = capsys.readouterr().out
    assert shown.count("no room") >= 2 and shown.count("why") < 200
    show_failed(None, url)
    shown = capsys.readouterr().out
    assert "no room" in shown and 100 < shown.count("why") < 300


def test_classes_with_texts_for_names_do_not_fill_the_screen(tmp_path: Path, capsys: Capture) -> None:
    rows = ["id,label"]
    for number in range(8):
        Image.new("RGB", (8, 8), (30 * number, 0, 0)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{'ab'[number % 2]} {'a long report ' * 700}")
    (tmp_path / "train.csv").write_text("\n".join(rows))
    check(tmp_path, settings=DataSettings(), n_folds=2, request=CheckRequest(shift=False, labels=False))
    shown = capsys.readouterr().out
    assert "2 classes" in shown and "4 (50.0%)" in shown
    assert len(shown) < 5_000


def test_failed_trainings_are_listed_up_to_a_number(stores: Stores, stored: Study, url: str, capsys: Capture) -> None:
    for seed in range(SHOWN_TRIALS + 3):
        recipe = stored.spec.default_recipe()
        stores.queue.add(stored.id, WorkKind.REFIT, split=0, seed=seed, recipe=recipe)
        item = stores.queue.take(stored.id, "worker", 60.0, kinds=(WorkKind.REFIT,))
        assert item is not None and stores.queue.fail(item, Failure.DISK, "no room")
    show_failed(None, url)
    shown = capsys.readouterr().out
    assert shown.count("no room") == SHOWN_TRIALS and "3 earlier ones; --all" in shown
    show_failed(None, url, everything=True)
    assert capsys.readouterr().out.count("no room") == SHOWN_TRIALS + 3


def test_submissions(study: tuple[Stores, Study], screen: Screen, capsys: Capture) -> None:
    stores, _ = study
    submissions(None, url_of(stores), ScoreRequest(export=1, public=0.75, public_images=4))
    submissions(None, url_of(stores), ScoreRequest(export=2, public=0.5))
    facts = [
        "forecast",
        "0.7000 (0.6000 to 0.8000)",
        "0.7500",
        "identity+hflip+vflip+rot90",
        "colours: trial 2, 3 seeds",
    ]
    holds(capsys.readouterr().out, screen, *facts)


def test_imports(study: tuple[Stores, Study], screen: Screen, capsys: Capture) -> None:
    stores, _ = study
    list_imports(None, url_of(stores))
    facts = ["theirs", "out-of-fold accuracy", "0.9900 ± 0.0100", "no model of these images", "its folds are not"]
    holds(capsys.readouterr().out, screen, *facts)


def test_studies(study: tuple[Stores, Study], screen: Screen, capsys: Capture) -> None:
    stores, stored = study
    best = read_snapshot(stores, stored.name).ranking[0]
    show_studies(url_of(stores))
    facts = [
        "priority",
        "begun",
        "10/10",
        f"{best.value:.4f} ± {best.standard_error:.4f}",
        "Which pre-trained backbone",
    ]
    holds(capsys.readouterr().out, screen, *facts)


@pytest.mark.parametrize("name", ["full", "colours"])
def test_an_explained_study(name: str, study: tuple[Stores, Study], screen: Screen, capsys: Capture) -> None:
    stores, _ = study
    show_study(name, [], url_of(stores))
    holds(capsys.readouterr().out, screen, "setting", "value", "meaning", "passes over each fold's training images")


@pytest.mark.parametrize(
    ("budget", "overrides", "shown"),
    [(None, [], "search.trials=until the deadline"), (7, [], "search.trials=7"), (7, ["search.trials=9"], "=9")],
)
def test_a_stored_study_shows_its_own_budget(
    stores: Stores, stored: Study, capsys: Capture, budget: int | None, overrides: list[str], shown: str
) -> None:
    stores.studies.set_budget(stored.id, budget)
    show_study(stored.name, overrides, url_of(stores))
    assert shown in " ".join(capsys.readouterr().out.split())


def test_backbones(screen: Screen, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    narrow = {"families": (), "max_params": None, "max_size": None, "licenses": (), "measure": False, "weights": None}
    show_backbones(BackbonesRequest(pattern="vit_so150m*", home=tmp_path, **narrow))  # type: ignore[arg-type]
    facts = ["M params", "px", "weights", "vit_so150m_patch16_reg4_gap_256.sbb_e250_in12k_ft_in1k", "transformer"]
    holds(capsys.readouterr().out, screen, *facts)


def test_a_checked_folder(competition_folder: Path, screen: Screen, capsys: Capture) -> None:
    check(competition_folder, settings=DataSettings(), n_folds=20, request=CheckRequest(shift=False, labels=False))
    lines = printed(capsys.readouterr().out.replace("\x1b[2K", ""))
    for line in lines:
        assert cell_len(line) <= screen.width, line
    assert "test images: 6" in lines


def shown(screen: Screen, show: Callable[[Console], None]) -> str:
    """The output of ``show`` on a console of this screen."""
    console = Console(
        file=io.StringIO(),
        width=screen.width,
        force_terminal=screen.terminal,
        highlight=False,
        _environ={"TERM": "xterm"},
    )
    show(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


RECIPE = {"backbone": "resnet18.a1_in1k", "image_size": 224, "optimizer.lr": 0.00306, "augment.rotate": 9.74}
FORECAST = {"expected": 0.9941, "low": 0.9801, "high": 0.9998, "level": 0.9, "test_images": 597}


def member(name: MemberName, **changes: Scalar) -> MemberSummary:
    default = {**RECIPE, "optimizer.lr": 0.001, "augment.rotate": 0.0}
    return MemberSummary(name=name, recipe=None if name.is_imported else {**RECIPE, **changes}, default=default)


def export(**changes: object) -> Export:
    facts: dict[str, object] = {
        "folder": Path("retable/quickstart"),
        "files": ("MODEL_CARD.md", "folds.csv", "model", "oof.csv", "submission.csv", "test_proba.csv"),
        "metric": "accuracy",
        "members": (member(MemberName(trial=7)),),
        "estimate": None,
        "score": 0.9925,
        "score_error": 0.0025,
        "by_confirmations": False,
        "networks": 6,
        "more_seeds_help": True,
        "views": (("identity",),),
        "submission_kind": "label",
        "reasons": (),
        "expected": "",
        "forecast": FORECAST,
        "blend_method": "equal",
        "warnings": (),
    }
    return Export(**{**facts, **changes})  # type: ignore[arg-type]


DOUBTS = (
    "not clearly better than the default recipe: +0.2 ± 0.2 points on fresh splits",
    "3 of 597 test images nearly copy a training image (`search check --study a`)",
)


def test_an_export_prints_the_model_then_doubts_then_commands(screen: Screen) -> None:
    text = shown(
        screen, lambda console: print_export(console, export(doubts=DOUBTS), study="aug_tuning", compared=True)
    )
    answer = ["trial 7", "resnet18.a1_in1k", "lr=0.00306", "rotate=9.74", "0.9941", "0.9801 to 0.9998"]
    answer += ["retable/quickstart/submission.csv", "MODEL_CARD.md"]
    commands = [
        f"search {command} --study aug_tuning" for command in ("compare", "status", "submissions", "export-best")
    ]
    commands.append("search predict retable/quickstart/model IMAGES")
    lines = holds(text, screen, *answer, *DOUBTS, *commands)
    assert len(lines) <= 30
    flowing = " ".join(" ".join(lines).split())
    places = [flowing.index(fact) for fact in ("trial 7", "0.9941", "submission.csv", *DOUBTS, *commands)]
    assert places == sorted(places)
    if screen.width >= 80:
        assert sum(doubt in line for line in lines for doubt in DOUBTS) == len(DOUBTS), "a line each"


def test_the_default_recipe_is_called_so() -> None:
    assert other_settings(RECIPE, RECIPE) == "the default recipe"
    assert other_settings({**RECIPE, "image_size": 288}, RECIPE) == "all other settings as in the default recipe"


def test_commands_that_are_all_long_stand_above_their_purposes(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = " --storage sqlite:////srv/searches/a_competition_with_a_long_name.db"
    monkeypatch.setattr("search.report.summary.completed", lambda command: command + storage)
    text = shown(screen, lambda console: print_export(console, export(), study="aug_tuning", compared=True))
    assert f"search status --study aug_tuning{storage}" in text


def test_an_exported_ensemble_of_several_studies(screen: Screen) -> None:
    members = (
        member(MemberName(trial=7, study="aug_tuning")),
        member(MemberName(trial=12, study="full"), backbone="resnet34.a1_in1k", **{"optimizer.lr": 0.001}),
        member(MemberName(trial=3, study="full", is_probe=True), method="linear_probe", image_size=288),
        member(MemberName(label="big")),
    )
    made = export(members=members, networks=12, blend_method="stack")
    text = shown(screen, lambda console: print_export(console, made, study="aug_tuning", compared=False))
    lines = holds(text, screen, "aug_tuning:7", "full:12", "imported big", "12 networks", "lr=0.00306 rotate=9.74")
    holds(text, screen, "full:12: resnet34.a1_in1k at 224 px, rotate=9.74")
    holds(text, screen, "full:3: resnet18.a1_in1k at 288 px, linear probe")
    assert not any("search compare" in line for line in lines), "there are no finalists"
    assert "search status --study aug_tuning" in " ".join(lines)


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"forecast": None}, "0.9925 ± 0.0025"),
        ({"forecast": None, "score": None}, "unknown"),
        (
            {"members": (MemberSummary(name=MemberName(trial=7), recipe=RECIPE, default=RECIPE),)},
            "the default recipe",
        ),
        ({"files": ("MODEL_CARD.md", "model")}, "MODEL_CARD.md"),
    ],
)
def test_an_export_with_fewer_facts(changes: dict[str, object], fact: str, screen: Screen) -> None:
    text = shown(screen, lambda console: print_export(console, export(**changes), study="aug_tuning", compared=False))
    lines = holds(text, screen, fact)
    assert any("submission.csv" in line for line in lines) == ("files" not in changes)


def test_more_seeds_are_advised_only_where_they_give_other_networks(screen: Screen) -> None:
    texts = [
        shown(screen, lambda console, made=made: print_export(console, made, study="aug_tuning", compared=False))
        for made in (export(), export(more_seeds_help=False))
    ]
    assert ["--seeds" in text for text in texts] == [True, False]
    assert all("search predict" in text for text in texts)


def test_after_a_deadline_the_next_commands_begin_with_more_time(screen: Screen) -> None:
    texts = [
        shown(screen, lambda console, n=hours: print_export(console, export(), study="a", compared=False, more_hours=n))
        for hours in (3, 0)
    ]
    assert ["search start --study a --hours +3" in text for text in texts] == [True, False]
    assert "--hours" not in texts[1]


def test_the_estimate_replaces_a_missing_forecast(screen: Screen) -> None:
    numbers = {"mean": 0.9, "averaged": 0.9, "gap_to_leader": 0.0, "gap_error": 0.0, "chance_best": 1.0}
    estimate = Estimate(number=7, rounds=1, shrunk=0.9123, error=0.0456, tied=True, eliminated=False, **numbers)
    made = export(forecast=None, estimate=estimate)
    holds(
        shown(screen, lambda console: print_export(console, made, study="aug_tuning", compared=True)),
        screen,
        "0.9123 ± 0.0456",
    )


def test_ended_trials(study: tuple[Stores, Study], screen: Screen) -> None:
    """One line each: on a terminal with as many whole settings as fit, in a file with all."""
    stores, stored = study
    default = stored.spec.default_recipe()
    snapshot = read_snapshot(stores, stored.name)
    for record in snapshot.records:
        text = shown(screen, lambda console: print_trial(console, record, default))  # noqa: B023 - called at once
        (line,) = printed(text)
        settings = TOKEN.findall(recipe_difference(record, default))
        assert set(TOKEN.findall(line)) <= set(settings), "none is cut"
        assert f"{record.value:.4f} ± {record.value_se:.4f}" in line
        if screen.terminal:
            assert cell_len(line) <= screen.width
        else:
            assert TOKEN.findall(line) == settings


def test_the_status_line(study: tuple[Stores, Study], screen: Screen) -> None:
    stores, stored = study
    snapshot: StudySnapshot = read_snapshot(stores, stored.name)

    def show(console: Console) -> None:
        with ProgressView(console, {}, shown=len(snapshot.records)) as view:
            view.show(snapshot, "trial 10 epoch 12/30, trial 11 epoch 3/30")

    text = shown(screen, show)
    lines = printed(text)
    assert all(cell_len(line) <= screen.width and "…" not in line for line in lines)
    assert ("trial 10 epoch 12/30" in " ".join(lines)) == screen.terminal, "a file has no status line"


def test_the_end_of_a_search(study: tuple[Stores, Study], screen: Screen) -> None:
    stores, stored = study
    snapshot = read_snapshot(stores, stored.name)
    row = replace(snapshot.study.stored, state_reason="five trials in a row failed")
    stopped = replace(snapshot, study=Study.of(row))
    lines = printed(shown(screen, lambda console: print_search_over(console, stopped)))
    assert all(cell_len(line) <= screen.width for line in lines)
    assert "10 finished" in lines[0] and "five trials in a row failed" in " ".join(lines)


def test_a_probe_that_was_repeated_counts_once(study: tuple[Stores, Study]) -> None:
    stores, stored = study
    snapshot = read_snapshot(stores, stored.name)
    first = snapshot.records[0]
    sizes = {size: {**(first.recipe or {}), "method": "linear_probe", "image_size": size} for size in (96, 128)}

    def probe(size: int, status: TrialStatus) -> TrialRecord:
        return replace(first, recipe=sizes[size], status=status, note={PROBE_NOTE: True})

    failed, again = probe(96, TrialStatus.FAILED), probe(96, TrialStatus.FINISHED)
    other = probe(128, TrialStatus.FAILED)
    texts = [
        trial_counts(replace(snapshot, ended=EndedTrainings(trials=(first, *probes))))
        for probes in ((failed,), (failed, again), (failed, again, other))
    ]
    assert texts == ["1 finished; 1 probe (1 failed)", "1 finished; 1 probe", "1 finished; 2 probes (1 failed)"]


COLUMNS = (
    Column(name="trial", number=True),
    Column(name="accuracy", number=True),
    Column(name="files", prose=True),
    Column(name="doubts", prose=True),
)
ROWS = [
    ("7", "0.9883 ± 0.0033", "a.csv", "many words " * 9),
    ("12", "0.1 ± 0.2", "b.csv, 画像.csv", "[red]no markup[/]"),
]


@pytest.mark.parametrize("width", [12, 24, 40, *WIDTHS])
def test_a_table_loses_nothing_at_any_width(width: int) -> None:
    screen = Screen(width=width, terminal=False)
    facts = [word for row in ROWS for cell in row for word in cell.split()] if width >= 40 else []
    lines = holds(shown(screen, lambda console: print_table(console, "", COLUMNS, ROWS)), screen, *facts)
    assert len(lines) > len(ROWS)


def test_text_is_in_a_column_of_a_wide_table_and_below_the_row_of_a_narrow_one() -> None:
    columns = (Column(name="trial", number=True), Column(name="recipe", prose=True))
    rows = [("7", "word " * 30), ("12", "short")]

    def lines(width: int) -> list[str]:
        return printed(shown(Screen(width, False), lambda console: print_table(console, "", columns, rows)))

    wide = lines(100)
    assert wide[0].split() == ["trial", "recipe"] and wide[2].startswith("    7  word") and wide[-1] == "   12  short"
    narrow = lines(40)
    assert narrow[0] == "trial" and narrow[2] == "    7" and narrow[3].startswith("    recipe: word")
    assert lines(12)[0].split() != ["trial", "recipe"]


def test_lines_break_between_words_and_keep_their_indent() -> None:
    def lines(show: Callable[[Console], None], width: int = 30) -> list[str]:
        return printed(shown(Screen(width, False), show))

    broken = lines(lambda console: note(console, "[b]names[/b] are no markup, and this is longer"))
    assert broken[0].startswith("note: [b]names[/b]") and all(line.startswith(" " * 6) for line in broken[1:])
    assert lines(lambda console: say(console, "    indented text that is longer than that"))[1].startswith("    ")
    assert lines(lambda console: say(console, "x" * 40, whole=True)) == ["x" * 40]
    command = lines(lambda console: say(console, "type something like `search status --all` now"))
    assert any("`search status --all`" in line for line in command), "a command stays on one line"
    assert lines(lambda console: say_facts(console, "one fact · another fact · a third fact")) == [
        "one fact · another fact",
        "a third fact",
    ]
    assert lines(lambda console: say(console, Text("styled", style="bold"), prefix="- ")) == ["- styled"]


def test_facts_and_words_are_never_cut() -> None:
    assert facts_in("a · b", 80) == ["a · b"]
    assert facts_in("long fact · b", 5) == ["long fact", "b"]
    assert shortened("lr=0.1 wd=0.2", 13) == "lr=0.1 wd=0.2"
    assert shortened("lr=0.1 wd=0.2", 12) == "lr=0.1 …"
    assert shortened("lr=0.1 wd=0.2", 3) == "…"


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_output_of_any_encoding(encoding: str, study: tuple[Stores, Study], tmp_path: Path) -> None:
    stores, _ = study
    done = subprocess.run(
        [sys.executable, "-m", "search.cli", "status", "--storage", url_of(stores), "--home", str(tmp_path)],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": encoding, "COLUMNS": "120"},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"0.9000 {'+/-' if encoding == 'ascii' else '±'} 0.0730" in done.stdout.decode(encoding)


@pytest.mark.parametrize("name", ["a\x1b[31mb", "a\u202egpj", "a\udc8eb", "a\x07b", "a\x9b31mb"])
def test_names_from_outside_do_not_control_the_terminal(name: str) -> None:
    console = Console(file=io.StringIO(), width=60, highlight=False)
    note(console, name)
    say(console, Text(name, style="bold"))
    print_table(console, "", [Column(name="name"), Column(name="text", prose=True)], [[name, name]])
    assert isinstance(console.file, io.StringIO)
    written = console.file.getvalue()
    written.encode()
    assert written.count("\\") >= 3  # Rich itself removes some of them from styled text
    assert not set(written) & set("\x1b\x07\x9b\u202e")
