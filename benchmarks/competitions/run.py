"""Whole competitions: Retable against the searches that one writes by hand, at the same wall time.

    python -m benchmarks.competitions.run --json competitions.json
    python -m benchmarks.competitions.run --json competitions.json --resume
    python -m benchmarks.competitions.run --competitions 1 --minutes 1 --methods retable,optuna --data FOLDER

Each competition (`benchmarks.competitions.small_competitions`) is cut from a folder of images a class; its private test
set is what counts. Methods run one after another on it, all on this machine:

* retable: ``search start --hours``, as a user gets it, from its launch to its exit (`benchmarks.competitions.retable`);
* optuna: TPE and median pruner, folds one after another, the best trial is believed
(`benchmarks.competitions.optuna_by_hand`); * random: random search, likewise, without a pruner;
* ray: Ray Tune with ASHA over folds in lockstep (`benchmarks.competitions.ray_tune`);
* quarter: Retable once more, with a quarter of the time.

The rivals get as long as Retable took, its imports included, or all the minutes where it ended early. Their own
imports, decoding, start-up and last predictions are free, and they train with the project's own trainer, two trials at
once: what is compared is the search. ``--by-hand`` gives them the DataLoader of a usual script instead. A trial that
is not done when the time is over is lost. FILE is written after every run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.competitions.contest import Contest, Found, open_contest, with_clock
from benchmarks.competitions.optuna_by_hand import run_optuna, run_random
from benchmarks.competitions.ray_tune import run_ray
from benchmarks.competitions.results_file import Book, Mistake, Settings
from benchmarks.competitions.retable import LEAST_HOURS, RetableOutcome, last_words, log_of, run_retable
from benchmarks.competitions.scores import METHODS, OURS, QUARTER, Run, hits, in_order, run_row, sampling_error
from benchmarks.competitions.small_competitions import SmallCompetition, cut
from benchmarks.machine import table
from studies.errors import StudyError
from studies.spec import StudySpec, load_study

STUDY = Path(__file__).with_name("small_competition.toml")
DATA = Path(__file__).parents[3] / "shared" / "data" / "caltech101"
RIVALS: dict[str, Callable[[Contest], Found]] = {"optuna": run_optuna, "random": run_random, "ray": run_ray}


def run_of_retable(
    seed: int, method: str, competition: SmallCompetition, place: Path, given: argparse.Namespace
) -> Run:
    """Retable on a competition, with all the minutes or a quarter of them."""
    hours = given.minutes / 60 / (4 if method == QUARTER else 1)
    outcome: RetableOutcome = run_retable(
        given.study, given.overrides, competition.folder, place, hours=hours, seed=seed
    )
    forecast = outcome.forecast or {}
    return Run(
        competition=seed,
        method=method,
        seconds=outcome.seconds,
        **scored(competition, outcome.ids, outcome.names),
        reported=outcome.expected,
        low=forecast.get("low"),
        high=forecast.get("high"),
        level=forecast.get("level"),
        trials=outcome.trials,
        finished=outcome.finished,
        notes=outcome.notes,
    )


def run_of_rival(seed: int, method: str, competition: SmallCompetition, contest: Contest) -> Run:
    """A rival on a competition, in a process of its own, which prints to a log."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=_print_to, initargs=(log_of(contest.place),)) as alone:
        found = alone.submit(RIVALS[method], contest).result()
    return Run(
        competition=seed,
        method=method,
        seconds=found.seconds,
        **scored(competition, contest.images.test_ids, found.predicted),
        reported=found.value,
        trials=found.trials,
        finished=found.finished,
        notes={"seed": contest.seed, "allowed": contest.seconds, "recipe": found.recipe},
    )


def scored(competition: SmallCompetition, ids: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """What a submission is worth, as fields of `Run`; nothing was handed in where there are no names."""
    if not names:
        return {"private": None, "private_error": None}
    predicted = in_order(competition, ids, names)
    return {
        "private": competition.private_score(predicted),
        "private_error": sampling_error(competition, hits(competition, predicted)),
        "predicted": " ".join(map(str, predicted.tolist())),
    }


def run_competition(seed: int, book: Book, spec: StudySpec, place: Path, given: argparse.Namespace) -> int:
    """Every method that is not done yet, on one competition; how many of them broke.

    What broke is not kept, and the others go on.

    Raises:
        Mistake: no competition can be cut from the data.
    """
    missing = [method for method in given.methods if book.run_of(seed, method) is None]
    if not missing:
        return 0
    broken = 0
    try:
        competition = cut(given.data, place / "data", seed)
    except ValueError as error:
        raise Mistake(f"--data {given.data}: {error}") from error
    contest: Contest | None = None
    for method in missing:
        try:
            if method in RIVALS:
                contest = contest or open_contest(
                    competition.folder, spec, seed=seed, place=place / "rivals", by_hand=given.by_hand
                )
                ours = book.run_of(seed, OURS)
                seconds = max(60 * given.minutes, ours.seconds if ours else 0.0)
                task = with_clock(contest, seconds, place / method, default_first=given.default_first)
                run = run_of_rival(seed, method, competition, task)
            else:
                run = run_of_retable(seed, method, competition, place / method, given)
        except Exception as error:
            broken += 1
            print(f"{METHODS[method]} broke on competition {seed}: {error!r}\n{last_words(place / method)}", flush=True)
            continue
        book.add(run, competition)
        print(table([run_row(run)]), flush=True)
        if run.private is None or run.notes.get("exit_code"):
            print(f"\n{last_words(place / method)}\n", flush=True)
    return broken


def _print_to(log: Path) -> None:
    """Send all that this process and its children print to a file."""
    with log.open("wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options, checked as far as that is possible at once.

    Raises:
        Mistake: they cannot be meant so.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--competitions", type=int, default=5, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the first one; the others' follow (%(default)s)")
    parser.add_argument("--minutes", type=float, default=4.0, help="of each method on each (%(default)s)")
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated (%(default)s)")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of images a class (%(default)s)")
    parser.add_argument(
        "--study", default=str(STUDY), help="study file (benchmarks/competitions/small_competition.toml)"
    )
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="FIELD=VALUE")
    parser.add_argument("--by-hand", action="store_true", help="rivals decode files in a DataLoader")
    parser.add_argument("--default-first", action="store_true", help="rivals try the study's default recipe first")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything measured, written after every run")
    parser.add_argument("--resume", action="store_true", help="go on with FILE")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep databases, exports and logs there")
    given = parser.parse_args(arguments)
    asked = given.methods.split(",")
    unknown = [name for name in asked if name not in METHODS]
    if unknown:
        raise Mistake(f"--methods names {', '.join(unknown)}; there are {', '.join(METHODS)}")
    given.methods = [name for name in METHODS if name in asked]
    if given.competitions < 1:
        raise Mistake(f"--competitions {given.competitions}: at least 1")
    least = max(
        [60 * LEAST_HOURS * (4 if name == QUARTER else 1) for name in given.methods if name not in RIVALS] + [0.1]
    )
    if not given.minutes >= least:
        raise Mistake(
            f"--minutes {given.minutes:g} is too short: `search start --hours` takes {LEAST_HOURS:g} at least, so with "
            f"--methods {','.join(given.methods)} give {least:g} or more"
        )
    if not given.data.is_dir():
        raise Mistake(f"--data {given.data} is no folder; give a folder of images a class, such as Caltech 101")
    if "ray" in given.methods and any(importlib.util.find_spec(name) is None for name in ("ray", "pandas", "pyarrow")):
        raise Mistake("Ray Tune is not installed: pip install 'ray[tune]', or leave ray out of --methods")
    if given.json is not None and not given.json.absolute().parent.is_dir():
        raise Mistake(f"--json {given.json}: there is no folder {given.json.parent}")
    if given.keep is not None and given.keep.exists() and any(given.keep.iterdir()):
        raise Mistake(f"--keep {given.keep} is not empty; name a new folder")
    return given


def checked_spec(given: argparse.Namespace) -> StudySpec:
    """The study that all methods search.

    Raises:
        Mistake: one of another metric than the competitions', or of trainings that ASHA cannot compare.
        StudyError: no study.
    """
    spec = load_study(given.study, given.overrides)
    if spec.protocol.metric != "accuracy":
        raise Mistake(f"the private score is accuracy, the study's metric is {spec.protocol.metric}")
    if len(spec.values_of("epochs")) != 1:
        raise Mistake(
            "the study samples the number of epochs, which ASHA cannot compare; fix it by --set recipe.epochs=12"
        )
    return spec


def main() -> None:
    """Run everything and print the tables."""
    try:
        given = parse()
        spec = checked_spec(given)
        settings = Settings(
            data=given.data.name,
            study=json.dumps(spec.to_dict(), sort_keys=True),
            first_seed=given.seed,
            minutes=given.minutes,
            by_hand=given.by_hand,
            default_first=given.default_first,
        )
        book = Book(given.json, settings, given.resume)
    except (ValueError, StudyError) as mistake:
        sys.exit(f"error: {mistake}")
    minutes = given.competitions * sum(given.minutes / (4 if name == QUARTER else 1) for name in given.methods)
    print(f"{given.competitions} competitions, about {minutes:.0f} minutes and a little more", flush=True)
    broken = 0
    # So that what was started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside; --resume goes on with what is in the file"))
    with ExitStack() as stack:
        place = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            for seed in range(given.seed, given.seed + given.competitions):
                broken += run_competition(seed, book, spec, place.absolute() / f"competition-{seed}", given)
        except Mistake as mistake:
            sys.exit(f"error: {mistake}")
    print(f"\n{book.report(given.methods)}\n")
    if broken:
        sys.exit(f"{broken} runs broke and are not in the tables; the same command with --resume tries them again")


if __name__ == "__main__":
    main()
