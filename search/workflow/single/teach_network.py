"""A network that the ensemble of an export teaches, trained in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console

from search.runtime.console import note, say
from search.study_setup.data_folder import progress_line
from search.study_setup.weights_folder import weights_folder
from search.study_state.study_targets import read_weights
from search.worker.study_context import training_data
from search.workflow.single.average import compare_with
from search.workflow.single.card import SingleFacts
from search.workflow.single.comparison import Single
from search.workflow.single.distil import (
    CannotTeach,
    Trained,
    choose_student,
    oof_of,
    teach,
    trainings_of,
)
from search.workflow.single.exported_ensemble import ExportedModel
from search.workflow.single.nested_scores import nested_scores, single_blend
from trainer.batches.batch_loader import BatchLoader
from trainer.recipe.recipe import Recipe
from trainer.training.cross_validation import cross_validate
from trainer.training.results import EpochReport, TrainingData, Verdict
from trainer.training.teaching.soft_targets import FEWEST_FOLDS


def make_student(export: ExportedModel, console: Console, weights: Path | None) -> tuple[Single, SingleFacts]:
    """Train a network that the ensemble teaches; see `search.workflow.single.distil`.

    Args:
        weights: folder of pre-trained weights; None: the one that the study remembers.

    Raises:
        CannotTeach: no recipe learns from predictions, the ensemble has none out-of-fold, or a training diverged.
        NoExport: as `search.workflow.single.exported_refits.read_refits`.
        NoWeights, BackboneError: the weights with which the network begins are not at hand.
    """
    number = choose_student(export.recipes)
    recipe, member = export.recipes[number], export.model.members[number]
    ensemble, scores = oof_of(export), nested_scores(export)
    weights_dir = weights_folder(export.study.stored, export.study.spec, weights)
    folds = next(iter(export.folds().values()))
    data = training_data(
        export.images,
        recipe,
        folds,
        export.home.pixels,
        read_weights(export.stores, export.study),
        export.home.features,
    )
    count, metric = trainings_of(data.num_folds), export.study.metric
    if count > 1:
        say(console, f"Training {count} networks: the ensemble teaches the last one, and the others judge it.")
    else:
        note(console, f"one network is trained and not scored: students are judged with {FEWEST_FOLDS} folds or more")
    blend = single_blend(export.model.blend)
    with progress_line(console, "Training …") as update, BatchLoader() as loader:
        state, taught = teach(data, ensemble, _trainer(recipe, metric, weights_dir, loader, count, update), scores)
        single = Single(member=member, state=state, blend=blend)
        update("Comparing with the ensemble …")
        comparison, speed = compare_with(export, single)
    return single, SingleFacts(
        study=export.study.name,
        metric=metric,
        networks=export.networks,
        averaged=0,
        statistics=0,
        taught=taught,
        comparison=comparison,
        speed=speed,
    )


def _trainer(
    recipe: Recipe,
    metric: str,
    weights_dir: Path | None,
    loader: BatchLoader,
    count: int,
    update: Callable[[str], None],
) -> Callable[[TrainingData, bool], Trained]:
    """The function that trains one network after another, and shows how far it is."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    begun, done = time.monotonic(), 0

    def train(data: TrainingData, keep: bool) -> Trained:
        nonlocal done

        def on_epoch(report: EpochReport) -> Verdict:
            share = (done + report.epoch / report.epochs) / count
            left = (time.monotonic() - begun) * (1.0 / share - 1.0)
            update(f"Network {done + 1} of {count}, epoch {report.epoch} of {report.epochs}, about {left:.0f} s left")
            return Verdict.CONTINUE

        result = cross_validate(
            recipe,
            data,
            metric=metric,
            seed=done,
            device=device,
            on_epoch=on_epoch,
            checkpoint=None,
            weights_dir=weights_dir,
            keep_models=keep,
            predict_test=False,
            loader=loader,
        )
        if result.status != "finished":
            raise CannotTeach(f"the training of a network {result.status}: {result.reason}")
        done += 1
        return Trained(oof=result.oof, state=result.models[0] if keep else None)

    return train
