"""The competitions benchmark: scores, tables, options, and resuming from the results file. Nothing is trained."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.competitions.results_file import ResultsFile, Settings, UsageError
from benchmarks.competitions.retable import NAME, command, read_outcome
from benchmarks.competitions.run import checked_spec, parse, scored
from benchmarks.competitions.scores import (
    METHODS,
    Run,
    difference,
    hits,
    in_order,
    run_row,
    sampling_error,
    summary_rows,
    verdicts,
)
from benchmarks.competitions.small_competitions import SmallCompetition
from search.runtime.home import Home

COUNTS = (30, 10)
Y = np.array([0] * 40 + [1] * 20)
SETTINGS = Settings(data="caltech101", study="{}", first_seed=1, minutes=4.0, by_hand=False, default_first=False)


def competition() -> SmallCompetition:
    return SmallCompetition(
        folder=Path(),
        class_names=("cat", "dog"),
        counts=np.array(COUNTS),
        test_ids=tuple(f"{i:05}.jpg" for i in range(len(Y))),
        test_y=Y,
    )


def run(seed: int, method: str, right: int, **fields: object) -> Run:
    """A run that has the first ``right`` of each class right."""
    where = np.concatenate([np.arange(40), np.arange(20)])
    predicted = np.where(where < right, Y, 1 - Y)
    plain = Run(
        competition=seed,
        method=method,
        seconds=240.0,
        private=competition().private_score(predicted),
        private_error=0.01,
        reported=None,
        predicted=" ".join(map(str, predicted)),
    )
    return dataclasses.replace(plain, **fields)  # type: ignore[arg-type]


COMPETITIONS = {seed: competition() for seed in (1, 2, 3)}


def test_predictions_are_brought_into_the_competitions_order() -> None:
    made = competition()
    order = np.random.default_rng(0).permutation(len(Y))
    ids = [f"test/{made.test_ids[i]}" for i in order]
    assert in_order(made, ids, [made.class_names[Y[i]] for i in order]).tolist() == Y.tolist()
    with pytest.raises(ValueError, match="not one for each of the 60"):
        in_order(made, ids[1:], ["cat"] * (len(Y) - 1))
    with pytest.raises(ValueError, match="do not exist: cow"):
        in_order(made, ids, ["cow"] * len(Y))
    assert scored(made, ids, [made.class_names[Y[i]] for i in order])["private"] == pytest.approx(1.0)
    assert scored(made, ids, []) == {"private": None, "private_error": None}


def test_the_sampling_error_is_that_of_drawing_other_test_images() -> None:
    made, rng = competition(), np.random.default_rng(0)
    predicted = np.where(rng.random(len(Y)) < 0.7, Y, 1 - Y)
    right = hits(made, predicted)
    weights = made.weights()
    drawn = []
    for _ in range(2000):
        rows = np.concatenate([rng.choice(np.flatnonzero(label == Y), (label == Y).sum()) for label in (0, 1)])
        drawn.append(float(weights @ right[rows]))
    assert sampling_error(made, right) == pytest.approx(np.std(drawn), rel=0.08)
    assert sampling_error(made, np.ones(len(Y))) == 0.0


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=2, max_size=3))
def test_differences_are_paired_by_competition(rights: list[tuple[int, int]]) -> None:
    runs = [
        run(seed, method, right)
        for seed, pair in enumerate(rights, 1)
        for method, right in zip(("retable", "optuna"), pair, strict=True)
    ]
    ours = difference(runs, "retable", "optuna", COMPETITIONS)
    theirs = difference(runs[::-1], "optuna", "retable", COMPETITIONS)
    assert ours is not None and theirs is not None
    assert ours.mean == pytest.approx(-theirs.mean)
    assert ours.error == pytest.approx(theirs.error)
    gains = [(runs[i].private or 0.0) - (runs[i + 1].private or 0.0) for i in range(0, len(runs), 2)]
    assert ours.mean == pytest.approx(np.mean(gains))
    assert ours.error == pytest.approx(np.std(gains, ddof=1) / math.sqrt(len(gains)))
    assert difference(runs, "retable", "ray", COMPETITIONS) is None


def test_a_method_without_a_submission_is_in_the_table_and_in_no_mean() -> None:
    nothing = run(2, "optuna", 0, private=None, private_error=None, predicted="", trials=3)
    runs = [run(1, "retable", 15), run(1, "optuna", 10), run(2, "retable", 15), nothing]
    assert run_row(nothing)["private"] == "-"
    assert run_row(nothing)["trials"] == "0 of 3"
    paired = difference(runs, "retable", "optuna", COMPETITIONS)
    assert paired is not None and paired.competitions == 1 and math.isnan(paired.error)
    assert [row["competitions"] for row in summary_rows(runs, ["retable", "optuna"], COMPETITIONS)] == [2, 1]


def test_optimism_and_coverage() -> None:
    good = run(1, "retable", 15, reported=0.75, low=0.3, high=0.9)
    assert good.private is not None and good.optimism == pytest.approx(0.75 - good.private)
    assert good.covered is True
    assert dataclasses.replace(good, low=0.99, high=1.0).covered is False
    assert run(1, "optuna", 15).covered is None
    rows = summary_rows([good], ["retable"], COMPETITIONS)
    assert rows[0]["interval holds it"] == "1 of 1"


def test_goals_are_reached_only_beyond_doubt() -> None:
    clear = [run(s, m, r) for s in (1, 2, 3) for m, r in (("retable", 16 + s), ("optuna", 9 + s), ("quarter", 9 + s))]
    assert [line.rpartition(": ")[2] for line in verdicts(clear, COMPETITIONS)] == ["reached", "reached"]
    # A difference that is as large as it varies is none.
    unclear = [run(s, m, r) for s in (1, 2) for m, r in (("retable", 10), ("ray", (0, 11)[s - 1]))]
    assert verdicts(unclear, COMPETITIONS)[0].endswith("not reached")
    # One competition has no standard error over competitions.
    assert verdicts(clear[:2], COMPETITIONS)[0].endswith("not reached")


def test_runs_are_on_disk_and_a_benchmark_resumes(tmp_path: Path) -> None:
    file = tmp_path / "competitions.json"
    results = ResultsFile(file, SETTINGS, resume=False)
    done = run(1, "retable", 15, reported=0.7, notes={"command": "search start"})
    results.add(done, competition())
    again = ResultsFile(file, SETTINGS, resume=True)
    assert again.find(1, "retable") == done
    assert again.find(1, "optuna") is None
    again.add(run(1, "optuna", 10), competition())
    last = ResultsFile(file, SETTINGS, resume=True)
    assert [r.method for r in last.runs] == ["retable", "optuna"]
    # The first line has the time in it.
    reports = [results.report(list(METHODS)).partition("\n")[2] for results in (again, last)]
    assert reports[0] == reports[1] and "Optuna" in reports[0]


def test_a_file_of_other_runs_is_not_mixed_in_or_written_over(tmp_path: Path) -> None:
    file = tmp_path / "competitions.json"
    ResultsFile(file, SETTINGS, resume=False).add(run(1, "retable", 15), competition())
    before = file.read_bytes()
    with pytest.raises(UsageError, match="exists; add --resume"):
        ResultsFile(file, SETTINGS, resume=False)
    with pytest.raises(UsageError, match="begun with another minutes"):
        ResultsFile(file, dataclasses.replace(SETTINGS, minutes=8.0), resume=True)
    assert file.read_bytes() == before
    for broken in ("", "[]", "{}", '{"settings": 3}', '{"settings": {}, "runs": []}'):
        file.write_text(broken)
        with pytest.raises(UsageError, match="no file of this benchmark"):
            ResultsFile(file, SETTINGS, resume=True)
    with pytest.raises(UsageError, match="needs the --json file"):
        ResultsFile(None, SETTINGS, resume=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "retable,hyperband"], "hyperband; there are retable, optuna"),
        (["--minutes", "2", "--methods", "quarter"], "give 2.4 or more"),
        (["--minutes", "nan"], "too short"),
        (["--competitions", "0"], "at least 1"),
        (["--data", "nowhere"], "is no folder"),
        (["--methods", "optuna", "--json", "nowhere/c.json"], "there is no folder nowhere"),
    ],
)
def test_invalid_options_are_refused_before_anything_runs(arguments: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        parse(["--data", str(tmp_path), *arguments])


def test_the_study_has_to_be_comparable(tmp_path: Path) -> None:
    plain = ["--data", str(tmp_path), "--methods", "optuna"]
    assert checked_spec(parse(plain)).protocol.folds == 5
    with pytest.raises(UsageError, match="accuracy, the study's metric is log_loss"):
        checked_spec(parse([*plain, "--set", "protocol.metric=log_loss"]))


def test_retable_is_run_as_a_user_types_it(tmp_path: Path) -> None:
    arguments = command("study.toml", ["recipe.epochs=3"], tmp_path / "data", tmp_path, hours=0.0625, seed=7)
    pairs = dict(itertools.pairwise(arguments))
    assert pairs["--hours"] == "0.062500" and pairs["--data"] == str(tmp_path / "data")
    assert [b for a, b in itertools.pairwise(arguments) if a == "--set"] == ["search.seed=7", "recipe.epochs=3"]
    assert pairs["-m"] == "search.cli"


def test_an_outcome_without_an_export(tmp_path: Path) -> None:
    arguments = command("study.toml", [], tmp_path, tmp_path, hours=0.1, seed=0)
    nothing = read_outcome(tmp_path, begun=0.0, ended=9.0, code=2, arguments=arguments)
    assert (nothing.ids, nothing.expected, nothing.trials, nothing.seconds) == ((), None, 0, 9.0)
    folder = Home(root=tmp_path / "home").exports(NAME)
    folder.mkdir(parents=True)
    (folder / "submission.csv").write_text("id,label\n00000.jpg,cat\n00001.jpg,dog\n")
    provisional = read_outcome(tmp_path, begun=0.0, ended=9.0, code=None, arguments=arguments)
    assert provisional.ids == ("00000.jpg", "00001.jpg") and provisional.names == ("cat", "dog")
    assert provisional.notes["provisional"] is True and provisional.notes["exit_code"] is None
