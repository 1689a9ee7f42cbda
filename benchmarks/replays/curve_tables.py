"""Recorded tables of learning curves with known test scores, read into a `CurveTable`.

There are two formats. `benchmarks.replays.record_curves` writes the first; its docstring lists the arrays. The second
is that of ``shared/curves``: the out-of-fold probabilities of every epoch (``oof``, shape (R, E, n, C)), ``y``,
``fold_test``, ``ens_test``, and the recipes as JSON in ``cfg``. Its folds are scikit-learn's
``StratifiedKFold(K, shuffle=True, random_state=0)``.

``R`` recipes, ``S`` splits, ``E`` epochs, ``K`` folds, ``n`` training images, ``m`` test images, ``C`` classes.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.common.arrays import Float64Array
from trainer.evaluation.ambiguity import Average, expected_average
from trainer.evaluation.metrics import true_class_probability
from trainer.evaluation.targets import Targets
from trainer.evaluation.temperature_scaling import fit_temperature, scale_temperature

Int64Array = NDArray[np.int64]

SHARED = Path("../shared/curves/small_natural_images.npz")
"""A table beside the repository; the path is relative to its root."""

_COMMON = {"oof", "y", "fold_test", "ens_test"}
_RECORDED = _COMMON | {"true_class", "metric", "fold_metrics", "seconds", "folds", "recipes"}
_SHARED = _COMMON | {"cfg"}
_AVERAGES = ("brier", "ambiguity", "temperature")
_LATER = {"ens_hits", "weights", *_AVERAGES}
"""Optional arrays, which older tables lack."""


class CurveTableError(Exception):
    """A file is not a valid table of curves. The message names the file, the defect and the remedy."""


@dataclass(frozen=True, kw_only=True)
class CurveTable:
    """Learning curves and test scores of ``R`` recipes on one data set. Probabilities and accuracies are 0 .. 1."""

    name: str
    """The file's stem."""
    true_class: Float64Array
    """(R, E, n): out-of-fold probability of the true class after every epoch, first split."""
    metric: Float64Array
    """(R, E): out-of-fold accuracy after every epoch, first split."""
    fold_metrics: Float64Array
    """(R, E, K): accuracy of each fold after every epoch, first split."""
    seconds: Float64Array
    """(R, E), above 0: seconds of the epoch of all folds; 1 if not recorded."""
    oof: NDArray[np.float32]
    """(R, S, n, C): out-of-fold probabilities after the last epoch, for each split."""
    folds: Int64Array
    """(S, n): fold of each image, 0 .. K - 1."""
    y: Int64Array
    """(n,): true classes, 0 .. C - 1."""
    fold_test: Float64Array
    """(R, S, K): accuracy of each fold's final model on unseen test images."""
    ens_test: Float64Array
    """(R, S): accuracy of the K models' averaged probabilities on the same images."""
    ens_hits: NDArray[np.bool_] | None
    """(R, S, m): whether the averaged models predict a test image correctly; None if not recorded."""
    averages: tuple[tuple[Average, ...], ...] | None
    """(R, S): expected properties of the K models' average; None if not recorded."""
    weights: Float64Array | None
    """(m,), sum 1: weight of each test image in the test accuracies; None if ``ens_hits`` is."""
    recipes: list[dict[str, Any]]
    """R flat recipes: values by field name."""
    oof_by_epoch: NDArray[np.float32] | None
    """(R, E, n, C): out-of-fold probabilities after every epoch, first split; None if not recorded."""
    default_first: bool = False
    """Whether the first recipe is the study's default recipe; the others were drawn at random."""

    @property
    def truth(self) -> Float64Array:
        """(R,), in points (0 .. 100): mean test accuracy of the single fold models over all splits."""
        return np.asarray(100.0 * self.fold_test.mean(axis=(1, 2)))

    @property
    def exported(self) -> Float64Array:
        """(R,), in points (0 .. 100): test accuracy of the averaged fold models, mean over splits."""
        return np.asarray(100.0 * self.ens_test.mean(axis=1))

    def average(self, row: int, split: int = 0) -> Average:
        """Expected properties of the average of a recipe's fold models; those of a single model if not recorded."""
        if self.averages is not None:
            return self.averages[row][split]
        return expected_average(Targets(self.y), self.oof[row, split], [])

    @property
    def drawn(self) -> CurveTable:
        """The table without the default recipe."""
        return self.only(np.arange(1, len(self.recipes))) if self.default_first and len(self.recipes) > 2 else self

    @property
    def soft(self) -> Float64Array:
        """(R, E), in points: mean out-of-fold probability of the true class, which trials report after every epoch."""
        return np.asarray(100.0 * self.true_class.mean(axis=2))

    def only(self, rows: NDArray[np.integer[Any]]) -> CurveTable:
        """The table of some recipes, without a default recipe; ``rows`` are at least two numbers in 0 .. R - 1."""
        return replace(
            self,
            true_class=self.true_class[rows],
            metric=self.metric[rows],
            fold_metrics=self.fold_metrics[rows],
            seconds=self.seconds[rows],
            oof=self.oof[rows],
            fold_test=self.fold_test[rows],
            ens_test=self.ens_test[rows],
            ens_hits=None if self.ens_hits is None else self.ens_hits[rows],
            averages=None if self.averages is None else tuple(self.averages[int(row)] for row in rows),
            recipes=[self.recipes[int(row)] for row in rows],
            oof_by_epoch=None if self.oof_by_epoch is None else self.oof_by_epoch[rows],
            default_first=False,
        )


def calibrated_soft(y: Int64Array, proba: NDArray[np.float32]) -> float:
    """Mean true-class probability after temperature scaling: 0 .. 1.

    Without scaling, the mean true-class probability favours overconfident networks, and penalises label smoothing and
    mixup.

    Args:
        y: true classes, ``(n,)``.
        proba: ``(n, C)``.
    """
    calibrated = scale_temperature(proba, fit_temperature(Targets(y), proba))
    return float(true_class_probability(y, calibrated).mean())


def load_table(path: Path) -> CurveTable:
    """Read and check a table of either format.

    Raises:
        CurveTableError: the file is missing or no ``.npz``, or arrays are missing, misshaped or out of range.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name in _RECORDED | _SHARED | _LATER}
    except FileNotFoundError:
        raise CurveTableError(
            f"{path}: no such file; record one with `python -m benchmarks.replays.record_curves DATA {path}`"
        ) from None
    # TypeError: the file holds a single array. NumPy's message is left out, because it advises to unpickle.
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise CurveTableError(
            f"{path}: not a table of curves in NumPy's .npz format, "
            "as `python -m benchmarks.replays.record_curves` writes them"
        ) from error
    known = _SHARED if "cfg" in arrays else _RECORDED
    if missing := sorted(known - arrays.keys()):
        raise CurveTableError(f"{path}: not a table of curves, these arrays are missing: {', '.join(missing)}")
    try:
        table = (_from_shared if "cfg" in arrays else _from_recorded)(Path(path).stem, arrays)
    except (IndexError, ValueError, TypeError) as error:  # shapes that do not fit, text where numbers belong
        raise CurveTableError(f"{path}: damaged table of curves ({error})") from error
    if problem := _problem(table):
        raise CurveTableError(f"{path}: damaged table of curves, {problem}")
    return table


def _from_recorded(name: str, arrays: Mapping[str, NDArray[Any]]) -> CurveTable:
    return CurveTable(
        name=name,
        true_class=arrays["true_class"].astype(np.float64),
        metric=arrays["metric"].astype(np.float64),
        fold_metrics=arrays["fold_metrics"].astype(np.float64),
        seconds=arrays["seconds"].astype(np.float64),
        oof=arrays["oof"].astype(np.float32),
        folds=arrays["folds"].astype(np.int64),
        y=arrays["y"].astype(np.int64),
        fold_test=arrays["fold_test"].astype(np.float64),
        ens_test=arrays["ens_test"].astype(np.float64),
        ens_hits=arrays["ens_hits"].astype(np.bool_) if "ens_hits" in arrays else None,
        averages=_averages(arrays),
        weights=arrays["weights"].astype(np.float64) if "weights" in arrays else None,
        recipes=_recipes(arrays["recipes"]),
        oof_by_epoch=None,
        default_first=True,
    )


def _from_shared(name: str, arrays: Mapping[str, NDArray[Any]]) -> CurveTable:
    from sklearn.model_selection import StratifiedKFold

    proba = arrays["oof"].astype(np.float32)
    y = arrays["y"].astype(np.int64)
    if proba.ndim != 4 or y.shape != proba.shape[2:3]:
        raise ValueError(f"oof of shape {proba.shape} and y of shape {y.shape} do not belong together")
    count = arrays["fold_test"].shape[1]
    folds = np.empty(len(y), dtype=np.int64)
    for fold, (_, held_out) in enumerate(
        StratifiedKFold(count, shuffle=True, random_state=0).split(np.zeros(len(y)), y)
    ):
        folds[held_out] = fold
    hits = proba.argmax(axis=3) == y
    return CurveTable(
        name=name,
        true_class=np.take_along_axis(proba, y[None, None, :, None], axis=3)[..., 0].astype(np.float64),
        metric=hits.mean(axis=2),
        fold_metrics=np.stack([hits[:, :, folds == fold].mean(axis=2) for fold in range(count)], axis=2),
        seconds=np.ones(proba.shape[:2]),
        oof=proba[:, -1:],
        folds=folds[None],
        y=y,
        fold_test=arrays["fold_test"].astype(np.float64)[:, None],
        ens_test=arrays["ens_test"].astype(np.float64)[:, None],
        ens_hits=None,
        averages=None,
        weights=None,
        recipes=_recipes(arrays["cfg"]),
        oof_by_epoch=proba,
    )


def _averages(arrays: Mapping[str, NDArray[Any]]) -> tuple[tuple[Average, ...], ...] | None:
    if any(name not in arrays for name in _AVERAGES):
        return None
    columns = [arrays[name].astype(np.float64) for name in _AVERAGES]
    if any(column.shape != arrays["ens_test"].shape or not np.isfinite(column).all() for column in columns):
        raise ValueError(f"{', '.join(_AVERAGES)} are not finite numbers, one for each of ens_test")
    rows = np.stack(columns, axis=-1).tolist()
    return tuple(tuple(Average(brier=b, ambiguity=a, temperature=t) for b, a, t in row) for row in rows)


def _recipes(text: NDArray[Any]) -> list[dict[str, Any]]:
    recipes = json.loads(str(text[()]))
    if not isinstance(recipes, list) or not all(isinstance(recipe, dict) for recipe in recipes):
        raise ValueError("the recipes are no JSON list of objects")
    return recipes


def _problem(table: CurveTable) -> str | None:
    """The first defect of a table; None if there is none."""
    if table.true_class.ndim != 3 or table.oof.ndim != 4 or table.fold_test.ndim != 3:
        return "true_class needs three dimensions, oof four, fold_test three"
    recipes, epochs, images = table.true_class.shape
    splits, classes, folds = table.oof.shape[1], table.oof.shape[3], table.fold_test.shape[2]
    if recipes < 2 or min(epochs, images, splits, classes, folds) < 1:
        return f"it needs at least two recipes and holds {recipes}, with {epochs} epochs and {images} images"
    shapes = {
        "metric": (recipes, epochs),
        "fold_metrics": (recipes, epochs, folds),
        "seconds": (recipes, epochs),
        "oof": (recipes, splits, images, classes),
        "folds": (splits, images),
        "y": (images,),
        "fold_test": (recipes, splits, folds),
        "ens_test": (recipes, splits),
    }
    for name, shape in shapes.items():
        if getattr(table, name).shape != shape:
            return f"{name} has shape {getattr(table, name).shape} where the other arrays want {shape}"
    if len(table.recipes) != recipes:
        return f"it lists {len(table.recipes)} recipes where the arrays hold {recipes}"
    for name in ("true_class", "metric", "fold_metrics", "oof", "fold_test", "ens_test"):
        values = getattr(table, name)
        # Half precision rounds up to a thousandth; comparisons with NaN are False.
        if not (values.min() >= -1e-3 and values.max() <= 1.001):
            return f"{name} holds values outside of 0 .. 1"
    if not (np.isfinite(table.seconds).all() and table.seconds.min() > 0.0):
        return "seconds must be above 0"
    if table.y.min() < 0 or table.y.max() >= classes:
        return f"y holds classes outside of 0 .. {classes - 1}"
    if table.folds.min() < 0 or table.folds.max() >= folds:
        return f"folds holds numbers outside of 0 .. {folds - 1}"
    if (table.ens_hits is None) != (table.weights is None):
        return "ens_hits and weights belong together"
    if table.ens_hits is not None and table.weights is not None:
        if table.weights.ndim != 1 or table.ens_hits.shape != (recipes, splits, len(table.weights)):
            return f"ens_hits has shape {table.ens_hits.shape} where weights has {table.weights.shape}"
        if not (table.weights.min() >= 0.0 and abs(table.weights.sum() - 1.0) < 1e-6):
            return "weights must be at least 0 and sum to 1"
    return None
