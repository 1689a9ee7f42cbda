"""Record a table of learning curves with known test scores, for the replays.

    python -m benchmarks.replays.record_curves DATA OUT.npz --seed 1 --recipes 60
    python -m benchmarks.replays.record_curves DATA OUT.npz --study my_study.toml --set recipe.epochs=8
    python -m benchmarks.replays.record_curves DATA OUT.npz --study aug_tuning --weights WEIGHTS --splits 1

DATA is a folder with a subfolder for each class, large enough for `benchmarks.competitions.small_competitions`. The
study's default recipe and random recipes are cross-validated by the project's trainer on split 0, and again on further
splits with other seeds. Every fold's model is scored on the private test set. ``OUT.npz`` is written after every
recipe, so an interrupted run leaves a smaller table.

``R`` recipes, ``S`` splits, ``E`` epochs, ``K`` folds, ``n`` training images, ``m`` test images, ``C`` classes:

| array | shape | meaning |
| --- | --- | --- |
| true_class | (R, E, n) float16 | out-of-fold probability of the true class after every epoch, split 0 |
| metric | (R, E) | out-of-fold accuracy after every epoch, split 0 |
| fold_metrics | (R, E, K) | accuracy of each fold after every epoch, split 0 |
| seconds | (R, E) | seconds of the epoch |
| oof | (R, S, n, C) float16 | out-of-fold probabilities after the last epoch |
| folds | (S, n) | fold of each image |
| y | (n,) | true classes |
| fold_test | (R, S, K) | private score of each fold's model; their mean is the true score |
| ens_test | (R, S) | private score of the K models' averaged probabilities |
| brier, ambiguity, temperature | (R, S) | expected properties of the K models' average, as trials store them |
| ens_hits | (R, S, m) bool | whether the averaged models predict a test image correctly |
| weights | (m,) | weight of each test image |
| recipes | str | JSON list of the flat recipes |
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from numpy.typing import NDArray

from benchmarks.competitions.small_competitions import SmallCompetition, cut
from search.study_setup.data_folder import inspect
from search.tuning.suggest import sample
from search.worker.study_context import training_data
from studies.load_study import load_study
from studies.spec import StudySpec
from trainer.batches.batch_loader import BatchLoader
from trainer.data.folds import fold_groups, make_folds
from trainer.data.image_set import ImageSet
from trainer.networks.backbones import preprocessing_of
from trainer.networks.build import create_backbone
from trainer.networks.view_averaging import predict_proba
from trainer.recipe.recipe import Recipe
from trainer.training.cross_validation import cross_validate
from trainer.training.results import CVResult, EpochReport, TrainingData, Verdict

COLUMNS = ("oof", "fold_test", "ens_test", "ens_hits", "brier", "ambiguity", "temperature")
"""Arrays with one entry for each split."""
STUDY = Path(__file__).parents[1] / "competitions" / "small_competition.toml"


def random_recipes(spec: StudySpec, count: int, seed: int) -> list[Recipe]:
    """The default recipe and ``count - 1`` random recipes of the study's space."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [Recipe.from_flat(spec.default_recipe()), *(sample(study.ask(), spec) for _ in range(count - 1))]


class Recorder:
    """Trains recipes on one competition and collects the arrays of the table."""

    def __init__(
        self, competition: SmallCompetition, spec: StudySpec, splits: int, pixels: Path, weights_dir: Path | None
    ) -> None:
        inspected = inspect(competition.folder, spec.data.options)
        self._images: ImageSet = inspected.images
        self._spec, self._pixels, self._weights_dir = spec, pixels, weights_dir
        groups = fold_groups(self._images, inspected.duplicates.groups)
        self.folds = np.stack(
            [make_folds(self._images.y, groups, spec.protocol.folds, split) for split in range(splits)]
        )
        # The reader's order of classes and test images differs from the competition's.
        label = [self._images.class_names.index(name) for name in competition.class_names]
        row = {identifier: i for i, identifier in enumerate(competition.test_ids)}
        rows = [row[Path(identifier).name] for identifier in self._images.test_ids]
        self.test_y = np.array([label[y] for y in competition.test_y[rows]], dtype=np.int64)
        self.weights = competition.weights()[rows]
        self._loader = BatchLoader()

    @property
    def y(self) -> NDArray[np.int64]:
        """True classes of the training images, ``(n,)``."""
        return self._images.y

    def record(self, recipe: Recipe) -> dict[str, NDArray[Any]] | None:
        """One recipe's row of every array; None if it diverged."""
        reports: list[EpochReport] = []
        columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
        for split, folds in enumerate(self.folds):
            data = training_data(self._images, recipe, folds, self._pixels)
            seen: list[EpochReport] = []
            result = cross_validate(
                recipe,
                data,
                metric="accuracy",
                seed=split,
                device="cpu",
                on_epoch=lambda report: seen.append(report) or Verdict.CONTINUE,  # type: ignore[func-returns-value]  # noqa: B023
                checkpoint=None,
                weights_dir=self._weights_dir,
                keep_models=True,
                predict_test=False,
                loader=self._loader,
            )
            if result.status != "finished" or result.average is None:
                return None
            reports = reports or seen
            by_fold = self._test_predictions(recipe, data, result)
            hits = by_fold.argmax(axis=2) == self.test_y
            ensemble = by_fold.mean(axis=0).argmax(axis=1) == self.test_y
            columns["oof"].append(result.oof.astype(np.float16))
            columns["fold_test"].append(hits @ self.weights)
            columns["ens_test"].append(ensemble @ self.weights)
            columns["ens_hits"].append(ensemble)
            for name, value in asdict(result.average).items():
                columns[name].append(value)
        return {
            "true_class": np.stack([report.true_class for report in reports]).astype(np.float16),
            "metric": np.array([report.metric for report in reports]),
            "fold_metrics": np.array([report.fold_metrics for report in reports]),
            "seconds": np.array([report.seconds for report in reports]),
            **{name: np.array(values) for name, values in columns.items()},
        }

    def _test_predictions(self, recipe: Recipe, data: TrainingData, result: CVResult) -> NDArray[np.float32]:
        assert data.pixels.test is not None, "a small competition has test images"
        predictions = []
        for state in result.models:
            model = create_backbone(recipe, data.num_classes, weights_dir=self._weights_dir)
            model.load_state_dict(state)
            model.eval()
            proba = predict_proba(model, data.pixels.test, preprocessing=preprocessing_of(recipe.backbone))
            predictions.append(proba["identity"])
        return np.stack(predictions)


def save(path: Path, rows: list[dict[str, NDArray[Any]]], recipes: list[Recipe], recorder: Recorder) -> None:
    """Write the table atomically."""
    arrays = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    described = json.dumps([recipe.to_flat() for recipe in recipes])
    scratch = path.with_suffix(".part.npz")
    np.savez_compressed(
        scratch, **arrays, folds=recorder.folds, y=recorder.y, weights=recorder.weights, recipes=described
    )
    scratch.replace(path)


def main() -> None:
    """Parse, cut, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--study", default=str(STUDY))
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="FIELD=VALUE")
    parser.add_argument("--weights", type=Path, help="folder of pre-trained weights, for studies that begin with some")
    parser.add_argument("--recipes", type=int, default=60)
    parser.add_argument("--splits", type=int, default=3, help="cross-validations of each recipe")
    parser.add_argument("--seed", type=int, default=0, help="seed of the competition and of the recipes")
    given = parser.parse_args()
    spec = load_study(given.study, given.overrides)
    recipes = random_recipes(spec, given.recipes, given.seed)
    with tempfile.TemporaryDirectory() as scratch:
        competition = cut(given.data, Path(scratch) / "competition", given.seed)
        recorder = Recorder(competition, spec, given.splits, Path(scratch) / "pixels", given.weights)
        rows: list[dict[str, NDArray[Any]]] = []
        kept: list[Recipe] = []
        for number, recipe in enumerate(recipes):
            row = recorder.record(recipe)
            if row is None:
                print(f"recipe {number} diverged", flush=True)
                continue
            rows.append(row)
            kept.append(recipe)
            save(given.out, rows, kept, recorder)
            print(
                f"recipe {number}: out-of-fold {row['metric'][-1]:.3f}, truth {row['fold_test'].mean():.3f}, "
                f"{row['seconds'].sum():.0f} s a split",
                flush=True,
            )


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    main()
