"""`Method`: what one kind of second study checks and prepares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from search.runtime.errors import SearchError
from search.study_state.study import Study
from search.workflow.single.exported_ensemble import ExportedModel
from storage.records.study_rows import PseudoLabels
from trainer.evaluation.confusion.confusable_groups import Groups
from trainer.recipe.recipe import LINEAR_PROBE, Recipe

MORE_TRIALS = 10
"""Trials by which the search of a study is continued in the advice of a message."""


def advice_to_fine_tune(study: Study) -> str:
    """How a study of which linear probes lead comes to fine-tuned recipes, a sentence without its full stop."""
    if all(method == LINEAR_PROBE for method in study.spec.values_of("method")):
        return "This study tries nothing else: `search studies` lists some that fine-tune"
    trials = (study.budget or 0) + MORE_TRIALS
    return (
        f"`search start --study {study.name} --trials {trials}` tries more of them; a study that begins with "
        "--no-probe exports fine-tuned networks alone"
    )


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
    find_groups: Callable[[ExportedModel, NDArray[np.int64], Sequence[int]], Groups] | None = None
    """Groups of classes for a new second stage: of an export, its folds on the split of the search, and the compared
    seeds. Raises `CannotTrainAgain`. None: the study learns all classes."""
