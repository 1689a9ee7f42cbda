"""What ``search pretrain`` prints: its plan, the registered weights, and how a study begins from them."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.console import Console

from search.runtime.commands import completed
from search.runtime.console import Column, note, open_console, print_table, say
from search.workflow.pretraining.prepare import PretrainingPlan
from trainer.common.errors import first_lines, listed
from trainer.inference.printable import excerpt
from trainer.networks.custom_weights import registered_weights


def list_weights(folder: Path) -> None:
    """Print the registered weights of a folder."""
    console, found = open_console(), registered_weights(folder)
    if not found:
        say(console, f"No weights are registered in {folder}: `search pretrain --data DATA --name NAME` trains some.")
        return
    print_table(
        console,
        f"Weights registered in {folder}",
        [
            Column(name="name"),
            Column(name="backbone"),
            Column(name="images", number=True),
            Column(name="classes", number=True),
            Column(name="score", number=True),
            Column(name="origin", prose=True),
        ],
        [
            (
                known.name,
                known.backbone,
                f"{known.trained_on[-1].images:,}",
                str(known.trained_on[-1].classes or "-"),
                "-" if known.score is None else f"{known.score:.4f} ± {known.score_error or 0.0:.4f}",
                known.words,
            )
            for known in found
        ],
    )


def print_plan(console: Console, plan: PretrainingPlan, where: str) -> None:
    """Print what will be trained and registered.

    Args:
        where: number and place of the workers.
    """
    recipe, images = plan.study.spec.recipe, plan.images
    begin = {"pretrained": "its published weights", "scratch": "random weights"}.get(
        str(recipe["init"]), f"the weights {recipe['init']}"
    )
    if plan.labelled is None:
        what = (
            f"{len(images.y):,} images {plan.data.of_classes}, of which {plan.held_out:,} are held out to score it"
            + f" ({plan.study.spec.protocol.metric})" * images.several_labels
            + f", with the coarse classes {listed(map(excerpt, images.class_names))}" * plan.is_coarse
        )
    else:
        tests = f", {plan.data.test_images:,} test images among them," * bool(plan.data.test_images)
        what = (
            f"{plan.data.images:,} images{tests} without their labels: each is a class of its own (DIET-CP). Scores "
            "show how many of them it recognises"
        )
    epochs = "1 epoch" if recipe["epochs"] == 1 else f"{recipe['epochs']} epochs"
    say(
        console,
        f"Pre-training of {recipe['backbone']} from {begin} on {what}: {epochs} at {recipe['image_size']} px; {where}.",
    )
    is_other = plan.known is not None and plan.known.request != plan.request
    replaced = f", replacing {plan.known.words}" if plan.known is not None and is_other else ""
    condition = " if their probe is better than that of their start" * (plan.labelled is not None)
    say(console, f"The weights will be registered as {plan.name} in {plan.folder}{replaced}{condition}.")
    for line in first_lines(images.warnings):
        note(console, excerpt(line))


def print_next(console: Console, plan: PretrainingPlan) -> None:
    """Print how a study begins from the weights."""
    recipe = plan.study.spec.recipe
    if recipe["init"] == "scratch":  # there need not be any published weights
        inside, setting = f'init = "{plan.name}" under [recipe]', f"recipe.init={plan.name}"
    else:
        inside, setting = (
            f'init = ["pretrained", "{plan.name}"] under [space]',
            f'space.init=["pretrained", "{plan.name}"]',
        )
    say(console, f"In a study file: {inside}; or for one study")
    start = f"search start --study FILE --data DATA --set recipe.backbone={recipe['backbone']}"
    weights = f" --weights {shlex.quote(str(plan.folder))}" if plan.study.weights_dir == plan.folder else ""
    start = completed(f"{start}{weights} --set {shlex.quote(setting)}")
    say(console, f"  {start}", whole=True)
    say(console, "Its probes show at once whether they help.")
