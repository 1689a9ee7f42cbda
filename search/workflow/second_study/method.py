"""`Method`: what one kind of second study checks and prepares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from search.runtime.errors import SearchError
from search.study_state.study import Study
from search.workflow.single.exported_ensemble import ExportedModel
from storage.records.studies import PseudoLabels
from trainer.recipe.recipe import Recipe

MORE_TRIALS = 10
"""Trials by which the search of a study is continued in the advice of a message."""


class CannotTrainAgain(SearchError):
    """No second study can be made of an export, or a study of its name is something else."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """What one kind of second study (`studies.spec.SECOND_STUDIES`) checks and prepares."""

    purpose: str
    """One of `studies.spec.SECOND_STUDIES`."""
    check_export: Callable[[ExportedModel], None]
    """Checks the export, also when the study continues. Raises `CannotTrainAgain` or `AgainstTheRules`."""
    check_recipe: Callable[[Study, Recipe], None] | None = None
    """Checks the best recipe of the first study. Raises `CannotTrainAgain`."""
    give_labels: Callable[[ExportedModel, NDArray[np.int64], str, Console], PseudoLabels] | None = None
    """Pseudo-labels for a new study: by an export and its folds on the split of the search, ``(n,)``, computed on a
    device. Raises `CannotTrainAgain`. None: the method needs none."""
