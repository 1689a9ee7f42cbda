"""A second stage that tells confusable classes apart, as a blend of two members. Pure functions of stored predictions.

The groups for an image have to be found without the image. So `search.statistics.blending.cross_fitting.cross_fit`
finds those of a fold in the predictions of the other folds, as it fits every other blend. One choice is not nested: on
which classes the second stage was trained, which all out-of-fold predictions decide, once for all folds.
"""

from __future__ import annotations

from search.statistics.blending.blends import BlendMethod, Stacked
from trainer.evaluation.confusion.confusable_groups import Groups, among, classes_of, groups_of_predictions
from trainer.evaluation.targets import Targets
from trainer.inference.blend import Blend

TWO_STAGE = "two_stage"
"""Name of the blend of a first and a second stage."""


def two_stage(groups: Groups, images: int) -> BlendMethod:
    """The blend of two members: the first stage, and the second one, which was trained on the classes of ``groups``.

    Fitted on all images, its groups are ``groups``. Fitted on some, they are found by the first stage's predictions of
    these images alone; of them, the classes on which the second stage was trained remain.

    Args:
        groups: as all out-of-fold predictions gave them.
        images: number of all images.
    """
    trained = classes_of(groups)

    def fit(targets: Targets, members: Stacked) -> Blend:
        assert len(members) == 2, "a first and a second stage"
        own = groups if len(targets) == images else among(groups_of_predictions(targets.y, members[0]), trained)
        return Blend(weights=(1.0, 0.0), second_stage=own)

    return fit
