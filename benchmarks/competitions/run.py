"""Whole competitions: Retable against hand-written searches, in the same wall time.

    python -m benchmarks.competitions.run --json competitions.json
    python -m benchmarks.competitions.run --json competitions.json --resume
    python -m benchmarks.competitions.run --competitions 1 --minutes 1 --methods retable,optuna --data FOLDER

Each competition (`benchmarks.competitions.small_competitions`) is cut from a folder with a subfolder for each class.
The private test set scores every method. The methods run one after another on this machine:

* retable: ``search start --hours`` from launch to exit (`benchmarks.competitions.retable`);
* optuna: TPE and median pruner, folds one after another (`benchmarks.competitions.optuna_by_hand`);
* random: the same with random search and without a pruner;
* ray: Ray Tune with ASHA over folds in lockstep (`benchmarks.competitions.ray_tune`);
* quarter: Retable with a quarter of the time.

The rivals get as long as Retable took, its imports included, or all the minutes if Retable ended early. Their own
imports, decoding, start-up and last predictions do not count. They train two trials in parallel with the project's
trainer, so that only the searches differ; ``--by-hand`` gives them the DataLoader of a usual script. A trial that is
unfinished at the time limit is lost. FILE is written after every run.
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

from benchmarks.competitions.contest import Contest, RivalResult, open_contest, with_clock
from benchmarks.competitions.optuna_by_hand import run_optuna, run_random
from benchmarks.competitions.ray_tune import run_ray
from benchmarks.competitions.results_file import ResultsFile, Settings, UsageError
from benchmarks.competitions.retable import MIN_HOURS, RetableOutcome, log_of, log_tail, run_retable
from benchmarks.competitions.scores import METHODS, OURS, QUARTER, Run, hits, in_order, run_row, sampling_error
from benchmarks.competitions.small_competitions import SmallCompetition, cut
from benchmarks.machine import table
from studies.errors import StudyError
from studies.load_study import load_study
from studies.spec import StudySpec

STUDY = Path(__file__).with_name("small_competition.toml")
DATA = Path(__file__).parents[3] / "shared" / "data" / "caltech101"
RIVALS: dict[str, Callable[[Contest], RivalResult]] = {"optuna": run_optuna, "random": run_random, "ray": run_ray}


def run_of_retable(
    seed: int, method: str, competition: SmallCompetition, work_dir: Path, given: argparse.Namespace
) -> Run:
    """Run Retable on a competition, with all the minutes or a quarter of them."""
    hours = given.minutes / 60 / (4 if method == QUARTER else 1)
    outcome: RetableOutcome = run_retable(
        given.study, given.overrides, competition.folder, work_dir, hours=hours, seed=seed
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
    """Run a rival on a competition, in a process of its own, which prints to a log."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=_print_to, initargs=(log_of(contest.work_dir),)) as alone:
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
    """Private score of a submission, as fields of `Run`; no names mean no submission."""
    if not names:
        return {"private": None, "private_error": None}
    predicted = in_order(competition, ids, names)
    return {
        "private": competition.private_score(predicted),
        "private_error": sampling_error(competition, hits(competition, predicted)),
        "predicted": " ".join(map(str, predicted.tolist())),
    }


def run_competition(seed: int, results: ResultsFile, spec: StudySpec, work_dir: Path, given: argparse.Namespace) -> int:
    """Run all missing methods on one competition; return the number of failed runs, which are not stored.

    Raises:
        UsageError: no competition can be cut from the data.
    """
    missing = [method for method in given.methods if results.find(seed, method) is None]
    if not missing:
        return 0
    broken = 0
    try:
        competition = cut(given.data, work_dir / "data", seed)
    except ValueError as error:
        raise UsageError(f"--data {given.data}: {error}") from error
    contest: Contest | None = None
    for method in missing:
        try:
            if method in RIVALS:
                contest = contest or open_contest(
                    competition.folder, spec, seed=seed, work_dir=work_dir / "rivals", by_hand=given.by_hand
                )
                ours = results.find(seed, OURS)
                seconds = max(60 * given.minutes, ours.seconds if ours else 0.0)
                task = with_clock(contest, seconds, work_dir / method, default_first=given.default_first)
                run = run_of_rival(seed, method, competition, task)
            else:
                run = run_of_retable(seed, method, competition, work_dir / method, given)
        except Exception as error:
            broken += 1
            print(
                f"{METHODS[method]} failed on competition {seed}: {error!r}\n{log_tail(work_dir / method)}", flush=True
            )
            continue
        results.add(run, competition)
        print(table([run_row(run)]), flush=True)
        if run.private is None or run.notes.get("exit_code"):
            print(f"\n{log_tail(work_dir / method)}\n", flush=True)
    return broken


def _print_to(log: Path) -> None:
    """Redirect the output of this process and its children to a file."""
    with log.open("wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse and check the options.

    Raises:
        UsageError: an option is invalid.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--competitions", type=int, default=5, help="number of competitions (%(default)s)")
    parser.add_argument(
        "--seed", type=int, default=1, help="seed of the first competition; the others follow (%(default)s)"
    )
    parser.add_argument(
        "--minutes", type=float, default=4.0, help="minutes of each method on each competition (%(default)s)"
    )
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated (%(default)s)")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with a subfolder for each class (%(default)s)")
    parser.add_argument(
        "--study", default=str(STUDY), help="study file (benchmarks/competitions/small_competition.toml)"
    )
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="FIELD=VALUE")
    parser.add_argument("--by-hand", action="store_true", help="rivals decode files in a DataLoader")
    parser.add_argument("--default-first", action="store_true", help="rivals try the study's default recipe first")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything measured, written after every run")
    parser.add_argument("--resume", action="store_true", help="continue FILE")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep databases, exports and logs there")
    given = parser.parse_args(arguments)
    asked = given.methods.split(",")
    unknown = [name for name in asked if name not in METHODS]
    if unknown:
        raise UsageError(f"--methods names {', '.join(unknown)}; there are {', '.join(METHODS)}")
    given.methods = [name for name in METHODS if name in asked]
    if given.competitions < 1:
        raise UsageError(f"--competitions {given.competitions}: at least 1")
    least = max(
        [60 * MIN_HOURS * (4 if name == QUARTER else 1) for name in given.methods if name not in RIVALS] + [0.1]
    )
    if not given.minutes >= least:
        raise UsageError(
            f"--minutes {given.minutes:g} is too short: `search start --hours` takes {MIN_HOURS:g} at least, so with "
            f"--methods {','.join(given.methods)} give {least:g} or more"
        )
    if not given.data.is_dir():
        raise UsageError(
            f"--data {given.data} is no folder; give a folder with a subfolder for each class, such as Caltech 101"
        )
    if "ray" in given.methods and any(importlib.util.find_spec(name) is None for name in ("ray", "pandas", "pyarrow")):
        raise UsageError("Ray Tune is not installed: pip install 'ray[tune]', or leave ray out of --methods")
    if given.json is not None and not given.json.absolute().parent.is_dir():
        raise UsageError(f"--json {given.json}: there is no folder {given.json.parent}")
    if given.keep is not None and given.keep.exists() and any(given.keep.iterdir()):
        raise UsageError(f"--keep {given.keep} is not empty; name a new folder")
    return given


def checked_spec(given: argparse.Namespace) -> StudySpec:
    """The study that all methods search.

    Raises:
        UsageError: the metric is not accuracy, or trials differ in epochs, which ASHA cannot compare.
        StudyError: the study cannot be read.
    """
    spec = load_study(given.study, given.overrides)
    if spec.protocol.metric != "accuracy":
        raise UsageError(f"the private score is accuracy, the study's metric is {spec.protocol.metric}")
    if len(spec.values_of("epochs")) != 1:
        raise UsageError(
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
        results = ResultsFile(given.json, settings, given.resume)
    except (ValueError, StudyError) as error:
        sys.exit(f"error: {error}")
    minutes = given.competitions * sum(given.minutes / (4 if name == QUARTER else 1) for name in given.methods)
    print(f"{given.competitions} competitions, about {minutes:.0f} minutes or slightly more", flush=True)
    broken = 0
    # Run the exit handlers, which end the processes started here.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated; --resume continues the file"))
    with ExitStack() as stack:
        work_dir = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            for seed in range(given.seed, given.seed + given.competitions):
                broken += run_competition(seed, results, spec, work_dir.absolute() / f"competition-{seed}", given)
        except UsageError as error:
            sys.exit(f"error: {error}")
    print(f"\n{results.report(given.methods)}\n")
    if broken:
        sys.exit(f"{broken} runs failed and are not in the tables; the same command with --resume tries them again")


if __name__ == "__main__":
    main()
