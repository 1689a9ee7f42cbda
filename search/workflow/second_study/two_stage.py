"""A second stage for confusable classes: which groups the leader of an export confuses, and why there may be none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from search.statistics.ranking import average
from search.study_setup.second_study import finished_by_seed
from search.study_state.study import Study
from search.workflow.second_study.method import CannotTrainAgain, Method
from search.workflow.single.exported_ensemble import ExportedModel
from studies.spec import TWO_STAGE
from trainer.evaluation.confusion.confusable_groups import (
    FEWEST,
    SHARE,
    Groups,
    classes_of,
    confusable_groups,
    mistakes,
    mistakes_between,
)
from trainer.evaluation.confusion.confusion_matrix import confusion_matrix

FEWEST_CLASSES = 3
"""Of fewer classes, every group would hold all, and the second stage would be the first again."""


class NoGroups(CannotTrainAgain):
    """No classes are confused often enough for a second stage."""


def find_groups(export: ExportedModel, folds: NDArray[np.int64], seeds: Sequence[int]) -> Groups:
    """The groups of classes that the leader of an export confuses, by the out-of-fold predictions of all images.

    Args:
        folds: of each training image, on the split of the search, ``(n,)``.
        seeds: of the trainings on this split whose predictions are averaged.

    Raises:
        NoGroups: there are none, or a fold would train on too few images of a group.
    """
    study, y, classes = export.study, export.images.y, len(export.images.class_names)
    plain = finished_by_seed(export.stores, study, export.recipes[0].to_flat())
    oof = average([export.stores.trials.prediction(plain[seed].id, "oof") for seed in seeds])
    counts = confusion_matrix(y, oof.argmax(axis=1).astype(np.int64), classes)
    groups = confusable_groups(counts)
    if not groups:
        wrong, most = mistakes(counts), int(mistakes_between(counts).max())
        raise NoGroups(
            f"no classes of study {study.name} are confused often enough for a second stage: {wrong} of {len(y)} "
            f"images are predicted wrongly out-of-fold, and at most {most} of them are confused between the same two "
            f"classes. A group has to hold more than {max(FEWEST, SHARE * wrong):.0f} mistakes for each pair of its "
            f"classes. The export of {study.name} is the answer; a better recipe or more images help more than a "
            "second stage"
        )
    _check_parts(study, y, folds, groups, export.images.class_names)
    return groups


def _check_parts(
    study: Study, y: NDArray[np.int64], folds: NDArray[np.int64], groups: Groups, names: Sequence[str]
) -> None:
    """Check that every fold trains on an image of each class of the groups at least.

    Raises:
        NoGroups: one does not.
    """
    for label in classes_of(groups):
        if len(np.unique(folds[y == label])) < 2:
            raise NoGroups(
                f"a second stage of study {study.name} cannot be trained: one fold holds out all images of class "
                f"{names[label]!r}, which is confused with others. More images of this class would help"
            )


def _check_export(export: ExportedModel) -> None:
    """Check that an export tells apart several classes, one an image.

    Raises:
        CannotTrainAgain: it does not.
    """
    name, images = export.study.name, export.images
    if images.several_labels:
        raise CannotTrainAgain(
            f"images of study {name} may have several labels, which are predicted independently of each other: no "
            "probability of a group could be shared among them. A second stage needs one label an image"
        )
    if len(images.class_names) < FEWEST_CLASSES:
        raise CannotTrainAgain(
            f"study {name} tells {len(images.class_names)} classes apart, and a second stage for all of them would be "
            f"the first again: it needs {FEWEST_CLASSES} classes or more. The export of {name} is the answer"
        )


IN_TWO_STAGES = Method(purpose=TWO_STAGE, check_export=_check_export, find_groups=find_groups)
