"""Images with several labels: binary cross-entropy with fitted thresholds, against a class for each combination.

    python -m benchmarks.training.several_labels DATA --weights WEIGHTS --json several_labels.json

The pictures are made of those of a folder of labelled images: each holds one to three of them, of different classes, on
a square of four fields. Parts of training pictures and of private ones are different images. For each seed, three ways
are cross-validated on the same pictures, folds and features, all as linear probes:

- a class for each combination, as if a cell with several labels were one name; a combination that the training pictures
  lack cannot be predicted;
- several labels, each predicted above a probability of 0.5;
- several labels, each with a threshold that is fitted on the out-of-fold predictions.

The table has the mean over seeds of the F1 score of the labels of a picture, out of fold and on the private pictures
(by the average of the fold models), and the gain over the first way. ± is the standard error over seeds. Thresholds are
fitted without the fold that they are applied to. A second table compares folds that are stratified by the labels with
random ones: the largest difference of a label's number of pictures in a fold from its share.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.machine import describe_machine, one_line, table
from benchmarks.training.lp_ft import open_draw, with_error
from search.statistics.blending.blends import mean_of_all, with_label_rule
from search.statistics.blending.cross_fitting import cross_fit
from trainer.batches.batch_loader import BatchLoader
from trainer.common.errors import TrainerError
from trainer.data.folds import make_folds
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.read import read_images
from trainer.evaluation.label_rules import as_certain
from trainer.evaluation.metrics import score
from trainer.evaluation.targets import Targets
from trainer.formats.delimited import write_table
from trainer.formats.labels import SeveralLabels
from trainer.recipe.recipe import LINEAR_PROBE, Recipe
from trainer.training.cross_validation import cross_validate
from trainer.training.results import CVResult, TrainingData, Verdict

COMBINATIONS, HALF, FITTED = "a class for each combination", "several labels, above 0.5", "several labels, thresholds"
FIELDS = ((0, 0), (1, 0), (0, 1), (1, 1))
SHARES = (0.4, 0.4, 0.2)
"""Shares of the pictures with one, two and three labels."""
FOLDS = 5
TRUTH = "truth.csv"  # beside the folder, which holds one table of labels


@dataclass(frozen=True, kw_only=True)
class Run:
    """One way on the pictures of one seed."""

    seed: int
    way: str
    out_of_fold: float
    """Mean F1 of the labels of a picture, 0 .. 1."""
    private: float


def make_pictures(
    source: ImageSet, folder: Path, *, classes: int, train: int, private: int, side: int, seed: int
) -> None:
    """Write pictures and their table into ``folder``, as a competition with a sample submission.

    Raises:
        ValueError: the source has fewer classes, or none with enough images.
    """
    rng = np.random.default_rng(seed)
    large = np.argsort(-source.class_counts(), kind="stable")[:classes]
    if len(large) < classes:
        raise ValueError(f"{source.root} has {len(large)} classes; {classes} are asked for")
    rows = {int(label): rng.permutation(np.flatnonzero(source.y == label)) for label in large}
    frequency = 1.0 / (1.0 + 0.3 * np.arange(classes))  # rarer and rarer
    tables: dict[str, list[list[str]]] = {}
    for part, count in (("train", train), ("test", private)):
        (folder / part).mkdir(parents=True)
        tables[part] = [["image", "labels"]]
        for number in range(count):
            labels = rng.choice(large, 1 + rng.choice(3, p=SHARES), replace=False, p=frequency / frequency.sum())
            picture = Image.new("RGB", (2 * side, 2 * side), tuple(int(v) for v in rng.integers(60, 190, 3)))
            for label, (x, y) in zip(labels, rng.permutation(FIELDS), strict=False):
                own = rows[int(label)]
                half = len(own) // 2
                row = int(rng.choice(own[:half] if part == "train" else own[half:]))
                picture.paste(Image.fromarray(source.train_images.read(row)).resize((side, side)), (x * side, y * side))
            name = f"{number}.png"
            picture.save(folder / part / name)
            tables[part].append([name, " ".join(source.class_names[label].replace(" ", "_") for label in labels)])
    write_table(folder / "train.csv", tables["train"])
    write_table(folder.with_name(TRUTH), tables["test"])
    write_table(folder / "sample_submission.csv", [tables["test"][0], *([row[0], "a b"] for row in tables["test"][1:])])


def add_picture_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a benchmark on such pictures."""
    parser.add_argument("data", type=Path, help="folder of images with one label each, in any layout")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0.in1k")
    parser.add_argument("--weights", type=Path, help="folder of pre-trained weights")
    parser.add_argument("--seeds", type=int, default=5, help="sets of pictures (%(default)s)")
    parser.add_argument("--classes", type=int, default=10, help="labels, those with the most images (%(default)s)")
    parser.add_argument("--json", type=Path, help="file for everything measured")


def measure(folder: Path, backbone: str, weights: Path | None, size: int, seed: int, scratch: Path) -> list[Run]:
    """The three ways on the pictures in ``folder``."""
    recipe = Recipe.from_flat({"backbone": backbone, "method": LINEAR_PROBE, "epochs": 1, "image_size": size})
    several, data, result = _probe(folder, recipe, weights, seed, scratch, "yes")
    truth = _truth(folder.with_name(TRUTH), several.class_names)
    runs = [_run(seed, HALF, data.y, result.oof > 0.5, truth, _test(result) > 0.5)]
    targets, members = Targets(data.y), result.oof[None]
    method = with_label_rule(mean_of_all, "mean_f1")
    _, labels = cross_fit(method, targets, members, data.folds).predict(members)
    blend = method(targets, members)
    runs.append(_run(seed, FITTED, data.y, labels, truth, blend.labels(_test(result))))
    single, own, result = _probe(folder, recipe, weights, seed, scratch, "no", data.folds)
    as_rows = np.array([[int(name in cell.split()) for name in several.class_names] for cell in single.class_names])
    oof, test = (as_rows[proba.argmax(axis=1)] for proba in (result.oof, _test(result)))
    assert (as_rows[own.y] == data.y).all(), "both ways read the same labels"
    return [_run(seed, COMBINATIONS, data.y, oof, truth, test), *runs]


def _probe(
    folder: Path,
    recipe: Recipe,
    weights: Path | None,
    seed: int,
    scratch: Path,
    several: SeveralLabels,
    folds: NDArray[np.int64] | None = None,
) -> tuple[ImageSet, TrainingData, CVResult]:
    images = read_images(folder, DataOptions(several_labels=several), verify=False)
    data = open_draw(images, recipe, folds=FOLDS, seed=seed, scratch=scratch)
    if folds is not None:
        data = replace(data, folds=folds)
    with BatchLoader() as loader:
        result = cross_validate(
            recipe,
            data,
            metric="mean_f1" if data.several_labels else "accuracy",
            seed=seed,
            device="cpu",
            on_epoch=lambda report: Verdict.CONTINUE,
            checkpoint=None,
            weights_dir=weights,
            loader=loader,
        )
    return images, data, result


def _test(result: CVResult) -> NDArray[np.float32]:
    assert result.test is not None, "test predictions are requested"
    return result.test


def _truth(path: Path, names: Sequence[str]) -> NDArray[np.int64]:
    cells = [line.split(",")[1].split() for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    return np.array([[int(name in cell) for name in names] for cell in cells], np.int64)


def _run(
    seed: int,
    way: str,
    y: NDArray[np.int64],
    oof: NDArray[np.generic],
    truth: NDArray[np.int64],
    test: NDArray[np.generic],
) -> Run:
    def f1(labels: NDArray[np.int64], predicted: NDArray[np.generic]) -> float:
        return score("mean_f1", Targets(labels), as_certain(predicted.astype(np.int64), labels.shape[1]))

    return Run(seed=seed, way=way, out_of_fold=f1(y, oof), private=f1(truth, test))


def fold_differences(y: NDArray[np.int64], seed: int) -> tuple[float, float]:
    """Largest difference of a label's pictures in a fold from its share: stratified by the labels, and random."""
    share = y.sum(axis=0) / FOLDS
    stratified = make_folds(y, np.arange(len(y)), FOLDS, seed)
    random = np.random.default_rng(seed).permutation(len(y)) % FOLDS
    found = [
        max(float(np.abs(y[of == fold].sum(axis=0) - share).max()) for fold in range(FOLDS))
        for of in (stratified, random)
    ]
    return found[0], found[1]


def rows_of(runs: Sequence[Run]) -> list[dict[str, object]]:
    """The table: one row for each way."""
    base = {run.seed: run.private for run in runs if run.way == COMBINATIONS}
    rows: list[dict[str, object]] = []
    for way in (COMBINATIONS, HALF, FITTED):
        own = [run for run in runs if run.way == way]
        gains = np.array([100 * (run.private - base[run.seed]) for run in own])
        rows.append(
            {
                "labels": way,
                "out of fold": f"{100 * np.mean([run.out_of_fold for run in own]):.1f}",
                "private": f"{100 * np.mean([run.private for run in own]):.1f}",
                "gain": "-" if way == COMBINATIONS else with_error(gains),
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Make pictures, train, print; 2 if the images or the network cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_picture_options(parser)
    parser.add_argument("--train", type=int, default=200, help="training pictures (%(default)s)")
    parser.add_argument("--private", type=int, default=200, help="private pictures (%(default)s)")
    parser.add_argument("--size", type=int, default=128, help="pixels (%(default)s)")
    given = parser.parse_args(arguments)
    runs: list[Run] = []
    differences: list[tuple[float, float]] = []
    try:
        source = read_images(given.data, verify=False)
        for seed in range(1, given.seeds + 1):
            with tempfile.TemporaryDirectory() as scratch:
                folder, own = Path(scratch, "pictures"), Path(scratch, "cache")
                make_pictures(
                    source, folder, classes=given.classes, train=given.train, private=given.private,
                    side=given.size // 2, seed=seed,
                )  # fmt: skip
                runs += measure(folder, given.backbone, given.weights, given.size, seed, own)
                y = read_images(folder, DataOptions(several_labels="yes"), verify=False).y
                differences.append(fold_differences(y, seed))
            print(f"{seed}: " + ", ".join(f"{run.way} {run.private:.3f}" for run in runs[-3:]), flush=True)
    except (TrainerError, ValueError) as problem:
        parser.exit(2, f"{problem}\n")
    machine = describe_machine()
    means = np.mean(differences, axis=0)
    folds = [
        {"folds": name, "pictures": f"{mean:.1f}"} for name, mean in zip(("stratified", "random"), means, strict=True)
    ]
    print(f"\n{one_line(machine)}", table(rows_of(runs)), table(folds), sep="\n\n")
    if given.json:
        written = {"machine": machine, "runs": [asdict(run) for run in runs], "folds": differences}
        given.json.write_text(json.dumps(written, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
