"""Competitions with pre-trained weights: Retable against what people write by hand, with the same weights.

    python -m benchmarks.lite_weights WEIGHTS
    python -m benchmarks.competitions.pretrained PAINTINGS CALTECH --weights WEIGHTS --minutes 2,5,15 --json FILE

Of each data set and seed, a competition is drawn: a share of the images of every class is the private test set. All
methods see the rest, run one after another in processes of their own, and have the same network:

* retable: ``search start --hours``, from launch to exit;
* probe: frozen features of whole images and their mirror images at the network's own size, standardised, and
  scikit-learn's logistic regression with a penalty chosen by cross-validation;
* optuna: fine-tuning by TPE and MedianPruner at 128 pixels, folds one after another, a plain DataLoader; the fold
  models of the best trial predict;
* autogluon (``--autogluon PYTHON``, an environment with autogluon.multimodal): its image classifier with
  ``time_limit``.

Times count from the launch of the process. "First" is the time of the first valid submission. A submission that is
written after the time limit does not count.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe_machine, one_line, table
from trainer.data.image_set import ImageSet
from trainer.data.read import read_images

BACKBONE = "tf_efficientnet_lite0.in1k"
SCRIPTS = Path(__file__).parent / "by_hand"
ROOT = Path(__file__).parents[2]
METHODS = ("retable", "probe", "optuna", "autogluon")
PRIVATE = 0.4
"""Share of the images of each class in the private test set."""
POLL = 0.25
"""Seconds between two looks for a submission."""
GRACE = 120.0
"""Seconds after the time limit at which a process is ended."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Competition:
    """A competition on disk: ``folder/train/CLASS/*``, ``folder/test/*`` and a sample submission."""

    folder: Path
    truth: dict[str, str]
    """Class of each test image, by its id."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One method on one competition with one time limit. Times in seconds."""

    data: str
    seed: int
    method: str
    limit: float
    took: float
    first: float | None
    """From launch to the first valid submission; None: none in time."""
    private: float | None
    """Accuracy of the last submission in time on the private test set, 0 .. 1."""


def draw(images: ImageSet, folder: Path, *, classes: int, per_class: int, seed: int) -> Competition:
    """Draw a competition from the labelled images of a data set, and write it to ``folder``.

    Args:
        classes: at most this many random classes.
        per_class: at most this many images of each, private ones included.
    """
    generator = np.random.default_rng(seed)
    large_enough = np.flatnonzero(images.class_counts() >= 10)
    chosen = generator.choice(large_enough, min(classes, len(large_enough)), replace=False)
    truth: dict[str, str] = {}
    for label in np.sort(chosen):
        name = images.class_names[label]
        rows = generator.permutation(np.flatnonzero(images.y == label))[:per_class]
        private = round(PRIVATE * len(rows))
        for place, row in enumerate(rows):
            if place >= private:
                target = folder / "train" / name / f"{row:05}.jpg"
            else:
                # The names of private images say nothing of their classes.
                target = folder / "test" / f"{generator.integers(2**40):013}.jpg"
                truth[target.name] = name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(images.train_images.content(int(row)))
    with (folder / "sample_submission.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label"])
        first = images.class_names[int(np.sort(chosen)[0])]
        writer.writerows([identifier, first] for identifier in sorted(truth))
    return Competition(folder=folder, truth=truth)


def score(competition: Competition, submission: Path) -> float | None:
    """Accuracy of a submission; None if it is not valid."""
    try:
        with submission.open(newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError):
        return None
    given = {row[0]: row[1] for row in rows[1:] if len(row) == 2}
    if given.keys() != competition.truth.keys():
        return None
    return float(np.mean([given[name] == true for name, true in competition.truth.items()]))


def run(method: str, competition: Competition, given: argparse.Namespace, *, minutes: float, seed: int) -> Run:
    """Run one method, and look for its submission until its time limit."""
    limit = 60.0 * minutes
    with tempfile.TemporaryDirectory(prefix=f"{method}-") as scratch:
        command, submission = _command(method, competition, given, Path(scratch), limit, seed)
        begun = time.monotonic()
        with (Path(scratch) / "log").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=scratch,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "NO_ALBUMENTATIONS_UPDATE": "1", "HF_HUB_OFFLINE": "1"},
            )
            first = last = seen = None
            while process.poll() is None and time.monotonic() - begun < limit + GRACE:
                time.sleep(POLL)
                changed = submission.stat().st_mtime_ns if submission.exists() else None
                passed = time.monotonic() - begun
                if changed != seen and passed <= limit:
                    found = score(competition, submission)
                    if found is not None:
                        first, last, seen = first or passed, found, changed
            took = time.monotonic() - begun
            process.kill()
            process.wait()
        if took <= limit:  # the process ended by itself, perhaps just after the last look
            final = score(competition, submission)
            first, last = (first or took, final) if final is not None else (first, last)
        if last is None:
            print((Path(scratch) / "log").read_text(errors="replace")[-2000:], flush=True)
        if given.keep is not None:
            shutil.copytree(scratch, given.keep / f"{competition.folder.name}-{method}-{minutes:g}", dirs_exist_ok=True)
    data = competition.folder.name.rpartition("-")[0]
    return Run(data=data, seed=seed, method=method, limit=limit, took=took, first=first, private=last)


def _command(
    method: str, competition: Competition, given: argparse.Namespace, scratch: Path, limit: float, seed: int
) -> tuple[list[str], Path]:
    """The command of a method, and where its submission appears."""
    weights = given.weights.resolve()
    if method == "retable":
        options = [f"recipe.backbone={given.backbone}", f"search.seed={seed}", *given.overrides]
        command = [
            *(sys.executable, "-m", "search.cli", "start", "--study", "aug_tuning", "--data", str(competition.folder)),
            *("--weights", str(weights), "--hours", f"{limit / 3600:.6f}"),
            *(part for option in options for part in ("--set", option)),
        ]
        return command, scratch / "retable" / "aug_tuning" / "submission.csv"
    python = given.autogluon if method == "autogluon" else sys.executable
    arguments = [str(competition.folder), str(weights), given.backbone, f"{limit:.0f}", str(seed)]
    return [str(python), str(SCRIPTS / f"{method}_by_hand.py"), *arguments], scratch / "submission.csv"


def summary(runs: Sequence[Run]) -> str:
    """Two tables: every competition, and the mean of each method and limit."""
    rows = [
        {
            "data": run.data,
            "seed": run.seed,
            "minutes": f"{run.limit / 60:g}",
            "method": run.method,
            "private": "-" if run.private is None else f"{100 * run.private:.1f}",
            "first s": "-" if run.first is None else f"{run.first:.0f}",
            "took s": f"{run.took:.0f}",
        }
        for run in runs
    ]
    means = []
    for limit in sorted({run.limit for run in runs}):
        for method in METHODS:
            some = [run for run in runs if (run.limit, run.method) == (limit, method)]
            if some:
                gaps = _gaps(runs, limit, method)
                means.append(
                    {
                        "minutes": f"{limit / 60:g}",
                        "method": method,
                        "competitions": len(some),
                        "without": sum(run.private is None for run in some),
                        "private": f"{100 * np.mean([run.private or 0.0 for run in some]):.1f}",
                        "to Retable": _difference(gaps),
                    }
                )
    return table(rows) + "\n\n" + table(means)


def _gaps(runs: Sequence[Run], limit: float, method: str) -> NDArray[np.float64]:
    """Points of ``method`` minus those of Retable on the same competitions; no submission counts as 0."""
    ours = {(r.data, r.seed): r.private or 0.0 for r in runs if (r.limit, r.method) == (limit, "retable")}
    theirs = {(r.data, r.seed): r.private or 0.0 for r in runs if (r.limit, r.method) == (limit, method)}
    common = sorted(ours.keys() & theirs.keys()) if method != "retable" else []
    return np.array([100.0 * (theirs[key] - ours[key]) for key in common])


def _difference(gaps: NDArray[np.float64]) -> str:
    """Mean and standard error of paired differences; one difference has no error."""
    if len(gaps) < 2:
        return "".join(f"{gap:+.1f}" for gap in gaps)
    return f"{gaps.mean():+.1f} ± {gaps.std(ddof=1) / np.sqrt(len(gaps)):.1f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run everything, write the results after every run, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+", help="folders with labelled images")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--backbone", default=BACKBONE)
    parser.add_argument("--seeds", default="0,1", help="seeds of the draws from each data set (%(default)s)")
    parser.add_argument("--minutes", default="5,15", help="time limits (%(default)s)")
    parser.add_argument("--methods", default="retable,probe,optuna", help=f"of {', '.join(METHODS)} (%(default)s)")
    parser.add_argument("--classes", type=int, default=20, help="most classes of a competition (%(default)s)")
    parser.add_argument("--per-class", type=int, default=400, help="most images of a class (%(default)s)")
    parser.add_argument("--autogluon", type=Path, metavar="PYTHON", help="interpreter of its environment")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="FIELD=VALUE")
    parser.add_argument("--json", type=Path, help="everything measured, written after every run")
    parser.add_argument("--keep", type=Path, help="keep logs, databases and exports there")
    given = parser.parse_args(arguments)
    methods = given.methods.split(",")
    if unknown := set(methods) - set(METHODS):
        parser.error(f"--methods: there is no {', '.join(unknown)}; valid: {', '.join(METHODS)}")
    if "autogluon" in methods and given.autogluon is None:
        parser.error("the method autogluon needs --autogluon PYTHON")
    runs: list[Run] = []
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix="competitions-") as scratch:
        for data in given.data:
            images = read_images(data)
            for seed in map(int, given.seeds.split(",")):
                folder = Path(scratch) / f"{data.name}-{seed}"
                drawn = draw(images, folder, classes=given.classes, per_class=given.per_class, seed=seed)
                for minutes in map(float, given.minutes.split(",")):
                    for method in methods:
                        runs.append(run(method, drawn, given, minutes=minutes, seed=seed))
                        print(asdict(runs[-1]), flush=True)
                        if given.json is not None:
                            content = {"machine": machine, "runs": [asdict(one) for one in runs]}
                            given.json.write_text(json.dumps(content, indent=1))
    print(f"\n{one_line(machine)}\n\n{summary(runs)}")


if __name__ == "__main__":
    main()
