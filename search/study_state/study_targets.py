"""The targets of a study: class and weight of each training image."""

from __future__ import annotations

from storage.records.studies import StoredStudy
from storage.stores import Stores
from trainer.evaluation.targets import Targets


def read_targets(stores: Stores, study: StoredStudy) -> Targets:
    """Classes and weights of the study's training images, from which all its scores are computed.

    Raises:
        StorageError: the study asks for weights and none are stored.
    """
    return Targets(stores.datasets.get(study.fingerprint).y, stores.weights(study))
