"""Values of the rows of stored studies, and how a row is checked when it becomes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from storage.database import rows
from storage.database.tables import Study
from storage.errors import StorageError
from storage.values import StudyState


@dataclass(frozen=True, kw_only=True)
class StoredStudy:
    """A study. Its name, data set and ``spec_hash`` never change."""

    id: int
    name: str
    """Also the name of Optuna's study."""
    fingerprint: str
    """Of the data set (`storage.records.datasets`)."""
    spec: dict[str, Any]
    """The complete specification: study file, overrides and defaults."""
    spec_hash: str
    file_spec: dict[str, Any]
    """The study file alone, without overrides and defaults."""
    overrides: tuple[str, ...]
    """``FIELD=VALUE`` of the command line."""
    budget: int | None
    """Maximum number of search trials, not counting failed ones; None: no limit but the deadline."""
    deadline: float | None
    """When the export must be written. Unix seconds on the database's clock, like all times below."""
    hours: float | None
    """Length of the period that ends at the deadline, in hours; None without a deadline."""
    period_began: float | None
    """When that period began; None without a deadline."""
    state: StudyState
    state_reason: str
    """Explanation for the user."""
    priority: int
    """Workers of several studies prefer the higher priority."""
    served: float | None
    """When a worker last took an item of the study."""
    swept: float | None
    """When a process last looked for items and trials of dead workers (`storage.queue.recovery`)."""
    running_since: float | None
    """When the user last set the study running; None: never since it was created."""
    created: float
    weights_dir: str | None = None
    """Absolute path of the folder of pre-trained weights, on the machine that began the study; None: none was given."""
    data_dir: str | None = None
    """Absolute path of the folder of images, on the machine that last began or continued the study; None: unknown."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageWeights:
    """The weight of each of a study's ``n`` training images in its scores. Treat the array as read-only.

    Raises:
        StorageError: not a one-dimensional array of finite numbers above 0.
    """

    values: npt.NDArray[np.float64]
    """float64 ``(n,)``, in the order of the data set's training ids."""
    about: Mapping[str, Any]
    """How the weights were estimated, for reports; plain JSON."""

    def __post_init__(self) -> None:
        values = self.values
        if values.ndim != 1 or not len(values) or not np.all(np.isfinite(values) & (values > 0.0)):
            raise StorageError(
                f"image weights are finite numbers above 0 of shape (images,), not {values.dtype} of {values.shape}"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class PseudoLabels:
    """The labels of test images on which a study's trainings also learn. Treat the array as read-only.

    Raises:
        StorageError: not a two-dimensional array of whole numbers of -1 or more.
    """

    values: npt.NDArray[np.int64]
    """By fold, the class of each test image, or -1 where it has none: int64 ``(K, m)``."""
    about: Mapping[str, Any]
    """Where they come from, and how good they are estimated to be; plain JSON."""

    def __post_init__(self) -> None:
        values = self.values
        if values.ndim != 2 or values.dtype != np.int64 or not (values >= -1).all():
            raise StorageError(
                f"pseudo-labels are whole numbers of -1 or more of shape (folds, test images), not {values.dtype} of "
                f"{values.shape}"
            )


LabelDecision = tuple[str, str, str | None]
"""A label correction: id of the image, the label in the data, and what it has instead; None: it is left out."""

STUDY_COLUMNS = tuple(getattr(Study, name) for name in StoredStudy.__dataclass_fields__)
STUDY_RULES = {
    "id": rows.integer(0),
    "name": rows.name(),
    "fingerprint": rows.text(64),
    "spec": rows.document(),
    "spec_hash": rows.text(64),
    "file_spec": rows.document(),
    "overrides": rows.texts(),
    "budget": rows.optional(rows.integer(0, rows.COUNT)),
    "deadline": rows.optional(rows.moment()),
    "hours": rows.optional(rows.duration()),
    "period_began": rows.optional(rows.moment()),
    "state": rows.one_of(StudyState),
    "state_reason": rows.text(),
    "priority": rows.integer(),
    **dict.fromkeys(("served", "swept", "running_since"), rows.optional(rows.moment())),
    **dict.fromkeys(("weights_dir", "data_dir"), rows.optional(rows.folder())),
    "created": rows.moment(),
}
