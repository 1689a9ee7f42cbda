"""The tables of an export: submission, probabilities, out-of-fold predictions, folds, scores of labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.export.final_model import Refits
from search.export.plan import ExportPlan
from search.study_state.study import Study
from search.study_state.study_targets import read_folds
from storage.stores import Stores
from trainer.data.folds import write_folds_csv
from trainer.data.image_set import ImageSet
from trainer.evaluation.class_scores import label_scores
from trainer.evaluation.label_rules import as_certain
from trainer.evaluation.metrics import METRICS
from trainer.formats.delimited import write_table
from trainer.formats.submission import LABEL_KINDS, check_submission, decide_kind, write_submission
from trainer.inference.predictions import label_cell


def write_checked_submission(
    plan: ExportPlan, refits: Refits, images: ImageSet, path: Path, override: str | None
) -> str:
    """Write the submission, and read it back as a check.

    Args:
        override: what the submission holds; None: as the sample submission and the metric imply.

    Returns:
        What it holds.

    Raises:
        SubmissionError: it would not be valid.
    """
    form = images.submission
    assert form is not None and refits.test is not None, "images with a test part have a submission format"
    kind = decide_kind(form, images.class_names, METRICS[plan.metric].needs, override)
    proba = refits.test
    if kind in LABEL_KINDS:  # the label rule may prefer a class other than the most probable
        proba = as_certain(refits.blend.labels(proba), proba.shape[1]).astype(np.float32)
    write_submission(path, form, images.class_names, images.test_ids, proba, kind)
    check_submission(path, form, images.class_names, kind)
    return kind


def write_test_probabilities(test: NDArray[np.float32], images: ImageSet, path: Path) -> None:
    """Write the probabilities of the test images, ``(m, C)``."""
    header = ["image_id", *(f"p_{name}" for name in images.class_names)]
    rows = ([name, *_cells(row)] for name, row in zip(images.test_ids, test, strict=True))
    write_table(path, [header, *rows])


def write_oof(refits: Refits, images: ImageSet, folds: Mapping[int, NDArray[np.int64]], path: Path) -> None:
    """Write the out-of-fold predictions of each training.

    Args:
        folds: fold of each image, ``(n,)``, by split.
    """
    names = images.class_names
    rows = [["image_id", "fold", "seed", "y_true", "y_pred", *(f"p_{name}" for name in names)]]
    for split, seed in refits.shared_trainings:
        oof, labels = refits.predict_oof(refits.oof(split, seed))
        parts = zip(images.train_ids, folds[split], images.y, labels, oof, strict=True)
        for image_id, fold, y, label, proba in parts:
            cells = (label_cell(y, names), label_cell(label, names), *_cells(proba))
            rows.append([image_id, str(fold), str(seed), *cells])
    write_table(path, rows)


def write_label_scores(path: Path, images: ImageSet, oof: NDArray[np.float32], predicted: NDArray[np.int64]) -> None:
    """Write a table with one row for each of several labels: how often it occurs, and how well it is recognised.

    Args:
        oof: out-of-fold probabilities, ``(n, C)``.
        predicted: 0 and 1, ``(n, C)``.
    """
    rows: list[list[str]] = [["label", "images", "predicted", "precision", "recall", "f1", "roc_auc"]]
    for own in label_scores(images.y, oof, predicted):
        shares = (own.score.precision, own.score.recall, own.score.f1, own.roc_auc)
        shown = ("" if value is None else f"{value:.4f}" for value in shares)
        rows.append([images.class_names[own.score.label], str(own.score.images), str(own.predicted), *shown])
    write_table(path, rows)


def _cells(proba: NDArray[np.float32]) -> list[str]:
    return [f"{value:.8g}" for value in proba]


def write_folds(stores: Stores, study: Study, split: int, path: Path) -> None:
    """Write the folds of a split as a table: image id, label, duplicate group, fold."""
    dataset = stores.datasets.get(study.fingerprint)
    assert dataset.groups is not None, "duplicates are looked for before a study begins"
    write_folds_csv(
        path,
        ids=dataset.train_ids,
        labels=[label_cell(y, dataset.class_names) for y in dataset.y],
        groups=dataset.groups[: len(dataset.train_ids)],
        folds=read_folds(stores, study, split),
    )
