"""Deadlines: whether `search start --hours` ends in time with a valid export, and what share of the time it trains.

    python -m benchmarks.competitions.deadlines --data DATA --seconds 60,120,300,600,1200 -- --weights WEIGHTS \
        --set recipe.backbone=tf_efficientnet_lite0.in1k --set recipe.image_size=64

Every run begins in an empty folder. The time counts from the launch of the process to its exit. The export is valid if
its submission has the rows of the sample submission and its model folder predicts the first test images.

Expected: every run ends before its deadline with a valid export. Runs of five minutes or more spend at least 80% of
their time in trainings that the export uses or that chose it; start-up and export take 30 to 60 s of every run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from benchmarks.machine import describe_machine, one_line, table
from storage.stores import open_stores
from storage.values import TrialRecord, TrialStatus
from trainer.data.read import read_images
from trainer.evaluation.metrics import METRICS
from trainer.formats.submission import SubmissionError, check_submission, decide_kind
from trainer.inference.errors import InferenceError
from trainer.inference.predict import predict_folder


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of `search start --hours`. Times in seconds."""

    budget: float
    took: float
    exit_code: int
    problem: str
    """Why the export is not valid; empty if it is."""
    trained: float
    """Seconds that workers trained and predicted, of all trainings that ended."""
    trials: int
    confirmations: int
    refits: int
    shortened: int
    """Trainings that the deadline shortened or ended early."""
    score: float | None
    """Out-of-fold score of the export."""

    @property
    def late(self) -> bool:
        """Whether the run ended after its deadline."""
        return self.took > self.budget


def run(seconds: float, study: str, data: Path, options: Sequence[str], folder: Path) -> Run:
    """Run one search with a deadline in the empty ``folder``, and check its export."""
    command = [sys.executable, "-m", "search.cli", "start", "--study", study, "--data", str(data.resolve())]
    begun = time.monotonic()
    with (folder / "output.txt").open("w") as output:
        exit_code = subprocess.run(
            [*command, "--hours", f"{seconds / 3600:.6f}", *options],
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    took = time.monotonic() - begun
    stores = open_stores(f"sqlite:///{folder / 'retable.db'}")  # raises if the command ended before it made any
    try:
        stored = stores.study(None)
        records = stores.trials.records(stored.id)
        exports = stores.exports.all(stored.id)
        metric = str(stored.spec["protocol"]["metric"])
    finally:
        stores.database.close()
    problem = f"exit code {exit_code}" if exit_code else _problem(folder / "retable" / stored.name, data, metric)
    kinds = [record.kind.value for record in records if record.status is not TrialStatus.FAILED]
    return Run(
        budget=seconds,
        took=took,
        exit_code=exit_code,
        problem=problem,
        trained=sum(record.cost for record in records),
        trials=kinds.count("search"),
        confirmations=kinds.count("confirm"),
        refits=kinds.count("refit"),
        shortened=sum(_is_shortened(record) for record in records),
        score=exports[-1].score if exports else None,
    )


def _is_shortened(record: TrialRecord) -> bool:
    return record.status is TrialStatus.FINISHED and "deadline" in record.reason


def _problem(export: Path, data: Path, metric: str) -> str:
    """Why an export is not valid; empty if it is."""
    images = read_images(data)
    form = images.submission
    if form is None:
        return "the data have no sample submission"
    try:
        kind = decide_kind(form, images.class_names, METRICS[metric].needs)
        check_submission(export / "submission.csv", form, images.class_names, kind)
    except (SubmissionError, OSError) as error:
        return str(error)
    with tempfile.TemporaryDirectory() as folder:
        Image.fromarray(images.test_images.read(0)).save(Path(folder) / "first.png")
        try:
            predicted = predict_folder(export / "model", [folder])
        except InferenceError as error:
            return f"the model folder does not predict: {error}"
    return "" if len(predicted.ids) == 1 else f"{len(predicted.ids)} predictions of one image"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all deadlines and print the table; 1 if a run was late or its export not valid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of a competition")
    parser.add_argument("--study", default="aug_tuning")
    parser.add_argument("--seconds", default="60,120,300,600,1200", help="deadlines, separated by commas")
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument("options", nargs="*", help="further options of `search start`, after --")
    chosen = parser.parse_args(arguments)
    runs = []
    for seconds in map(float, chosen.seconds.split(",")):
        with tempfile.TemporaryDirectory(prefix="deadline-") as folder:
            runs.append(run(seconds, chosen.study, chosen.data, chosen.options, Path(folder)))
        print(_row(runs[-1]), flush=True)
    machine = describe_machine()
    print("\n" + one_line(machine) + "\n\n" + table([_row(run) for run in runs]))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps({"machine": machine, "runs": [asdict(run) for run in runs]}, indent=1))
    return int(any(run.late or run.problem for run in runs))


def _row(run: Run) -> dict[str, object]:
    return {
        "deadline": f"{run.budget:.0f} s",
        "took": f"{run.took:.0f} s" + " LATE" * run.late,
        "in trainings": f"{100 * run.trained / run.budget:.0f} %",
        "of the time taken": f"{100 * run.trained / run.took:.0f} %",
        "trials": run.trials,
        "confirmations": run.confirmations,
        "refits": run.refits,
        "shortened": run.shortened,
        "score": "-" if run.score is None else f"{run.score:.4f}",
        "export": run.problem or "valid",
    }


if __name__ == "__main__":
    sys.exit(main())
