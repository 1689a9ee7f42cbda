"""The networks of a model folder whose weights may be averaged, and why those of another folder may not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.common.errors import TrainerError
from trainer.inference.model_folder import Member, ModelFolder
from trainer.inference.printable import excerpt
from trainer.recipe.recipe import LINEAR_PROBE, Recipe

SHOWN = 4
"""Values that a message names."""


class NoSoup(TrainerError):
    """The networks of a model folder cannot become one by the mean of their weights."""


@dataclass(frozen=True, kw_only=True)
class Ingredient:
    """A network of a model folder that takes part in a mean of weights."""

    weights: Path
    """Its ``.safetensors`` file."""
    share: float
    """In the mean: the weight of its member in the blend, divided by the member's networks."""


def read_recipes(folder: Path, model: ModelFolder) -> list[Recipe]:
    """The recipe of each member of a model folder that `load_model_folder` has checked.

    Raises:
        NoSoup: config.json holds no recipes, as folders of other programs.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8-sig"))
    tables = [config] if config["format"] == 1 else config["members"]
    try:
        recipes = [Recipe.from_flat(table["recipe"]) for table in tables]
    except (TrainerError, LookupError, TypeError, AttributeError, ValueError) as error:
        raise NoSoup(
            f"{folder}/config.json does not say from which weights its networks began: {excerpt(str(error))}"
        ) from error
    assert len(recipes) == len(model.members), "the checked folder has as many members"
    return recipes


def choose_ingredients(
    model: ModelFolder, recipes: Sequence[Recipe], *, leader: bool = False, any_classifier: bool = False
) -> list[Ingredient]:
    """The networks whose weights can be averaged, with their shares, which sum to 1.

    Networks that were fine-tuned from the same weights often lie in one basin of the loss, so the mean of their weights
    predicts about as their averaged predictions do (Wortsman et al. 2022, "Model soups"). Networks that began at random
    weights do not, and classifiers that did cost the mean much (`benchmarks/README.md`).

    Args:
        recipes: of the members of ``model``.
        leader: take the networks of the first member alone.
        any_classifier: also average networks whose classifiers began at random weights.

    Raises:
        NoSoup: the members differ in what a mean needs to be equal, began at random weights, or are one network.
    """
    members = list(zip(model.members, recipes, model.blend.weights, strict=True))
    members = members[:1] if leader else [each for each in members if each[2] > 0.0]
    _check_starts([recipe for _, recipe, _ in members], any_classifier)
    _check_equal([member for member, _, _ in members])
    total = 1.0 if len(members) == 1 else sum(weight for _, _, weight in members)
    chosen = [
        Ingredient(weights=path, share=(1.0 if len(members) == 1 else weight / total) / len(member.weights))
        for member, _, weight in members
        for path in member.weights
    ]
    if len(chosen) < 2:
        raise NoSoup("the model is a single network already")
    return chosen


def _check_starts(recipes: Sequence[Recipe], any_classifier: bool) -> None:
    if any(recipe.init == "scratch" for recipe in recipes):
        raise NoSoup(
            'the networks began at random weights of their own (init = "scratch"), and the mean of such networks '
            "predicts nothing. `search export-best --full-data --seeds 1` trains one network on all images instead"
        )
    if not any_classifier and any(recipe.method != LINEAR_PROBE and recipe.head == "random" for recipe in recipes):
        raise NoSoup(
            'the classifiers of the networks began at random weights of their own (head = "random"), so the mean of '
            'the networks may lose much; with head = "probe" they begin alike. --average averages them all the same'
        )
    _check_same("weights to begin with", [recipe.init for recipe in recipes])


def _check_equal(members: Sequence[Member]) -> None:
    _check_same("backbones", [member.backbone for member in members])
    _check_same("input sizes", [f"{member.size} pixels" for member in members])
    _check_same("ways to resize an image", [f"{member.resize}, {member.interpolation}" for member in members])
    _check_same("arguments of the backbone", [str(dict(member.model_args)) for member in members])
    _check_same("normalisations", [f"{member.mean} {member.std}" for member in members])


def _check_same(what: str, values: Sequence[str]) -> None:
    different = list(dict.fromkeys(values))
    if len(different) > 1:
        shown = ", ".join(excerpt(value) for value in different[:SHOWN]) + ", …" * (len(different) > SHOWN)
        raise NoSoup(
            f"the recipes of the model have different {what} ({shown}), so their weights have no mean. "
            "With --leader, only the networks of the first recipe are averaged, and compared with all"
        )
