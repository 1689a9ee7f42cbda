"""``search start --distil-from``: the best recipe of an export again, toward soft targets by networks of its own kind.

The teachers are trained within the trial (`trainer.training.teaching.teachers`), so the export gives the recipe alone.
"""

from __future__ import annotations

from search.study_state.study import Study
from search.workflow.second_study.method import CannotTrainAgain, Method, advice_to_fine_tune
from search.workflow.single.exported_ensemble import ExportedModel
from studies.spec import SELF_DISTILLATION
from trainer.recipe.recipe import LINEAR_PROBE, Recipe
from trainer.training.teaching.soft_targets import FEWEST_FOLDS


class CannotDistil(CannotTrainAgain):
    """The best recipe of an export cannot learn from networks of its own kind."""


def _check_export(export: ExportedModel) -> None:
    """Check that teachers can leave two folds out.

    Raises:
        CannotDistil: there are too few folds.
    """
    study = export.study
    if study.protocol.folds < FEWEST_FOLDS:
        raise CannotDistil(
            f"study {study.name} has {study.protocol.folds} folds, and self-distillation needs {FEWEST_FOLDS} or more: "
            "each teacher leaves two folds out and learns from the others. A search with --set protocol.folds=5 and "
            "another --name has enough"
        )


def _check_recipe(study: Study, recipe: Recipe) -> None:
    """Check that a recipe learns from soft targets.

    Raises:
        CannotDistil: it is a linear probe.
    """
    if recipe.method != LINEAR_PROBE:
        return
    raise CannotDistil(
        f"the best recipe of study {study.name} is a linear probe, which learns from labels alone. Self-distillation "
        f"needs an export that a fine-tuned recipe leads. {advice_to_fine_tune(study)}"
    )


SELF_DISTILLED = Method(purpose=SELF_DISTILLATION, check_export=_check_export, check_recipe=_check_recipe)
