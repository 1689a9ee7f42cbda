"""The targets of a study: class, weight and fold of each training image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from search.study_state.study import Study
from storage.errors import StorageError
from storage.records.study_rows import ImageWeights
from storage.stores import Stores
from storage.values import SEARCH_SPLIT
from trainer.evaluation.confusion.confusable_groups import Groups
from trainer.evaluation.targets import Targets


def read_targets(stores: Stores, study: Study) -> Targets:
    """Classes and weights of the study's training images, from which all its scores are computed.

    Raises:
        StorageError: the study asks for weights and none are stored.
    """
    return Targets(stores.datasets.get(study.fingerprint).y, read_weights(stores, study))


def read_weights(stores: Stores, study: Study) -> NDArray[np.float64] | None:
    """Weight of each of the study's training images in its scores, ``(n,)``; None: equal weights.

    Raises:
        StorageError: as `read_image_weights`.
    """
    stored = read_image_weights(stores, study)
    return None if stored is None else stored.values


def read_image_weights(stores: Stores, study: Study) -> ImageWeights | None:
    """The same weights, with their origin.

    Raises:
        StorageError: the study asks for weights and none are stored.
    """
    if study.protocol.weighting == "none":
        return None
    stored = stores.studies.weights(study.id)
    if stored is None:
        raise StorageError(
            f"study {study.name} is weighted toward the test images, but {stores.database.name} holds no weights of "
            "it. Restore a backup, or begin a new study with --name"
        )
    return stored


def read_folds(stores: Stores, study: Study, split: int) -> NDArray[np.int64]:
    """The frozen fold of each of the study's training images, ``(n,)``.

    Raises:
        StorageError: the database does not hold this split.
    """
    folds = stores.datasets.folds(study.fingerprint, **study.fold_key(split))
    if folds is None:
        raise StorageError(
            f"{stores.database.name} does not hold split {split} of {study.protocol.folds} folds of study "
            f"{study.name}. Restore a backup, or begin a new study with --name"
        )
    return folds


def read_pseudo_labels(stores: Stores, study: Study, split: int | None) -> NDArray[np.int64] | None:
    """The pseudo-labels on which a training of a split learns, by fold: int64 ``(K, m)``; None: the study has none.

    Raises:
        StorageError: the study needs some, and none are stored for this split. Other splits have other folds, whose
            held-out images the teachers have seen.
    """
    if not study.has_pseudo_labels:
        return None
    stored = stores.studies.pseudo_labels(study.id)
    if stored is None or split != SEARCH_SPLIT or len(stored.values) != study.protocol.folds:
        raise StorageError(f"study {study.name} has no pseudo-labels for split {split} in {stores.database.name}")
    return stored.values


def read_class_groups(stores: Stores, study: Study) -> Groups:
    """The groups of classes that a second stage tells apart; empty if the study is none.

    Raises:
        StorageError: they hold a class that the data set lacks.
    """
    groups = study.spec.class_groups
    if groups and max(map(max, groups)) >= len(stores.datasets.get(study.fingerprint).class_names):
        raise StorageError(f"the groups of study {study.name} hold a class that its images lack: restore a backup")
    return groups
