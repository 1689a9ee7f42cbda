"""Cross-validation of a linear probe: the backbone stays frozen, and only a linear classifier is fitted for each fold.

The result is that of any other cross-validation. Each head is folded into the classifier of the backbone, so that a
fold model is an ordinary network. `starting_heads` fits the same heads for a fine-tuning that begins with them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from trainer.common.arrays import Float32Array
from trainer.common.errors import BackboneError
from trainer.common.randomness import random_key
from trainer.evaluation.ambiguity import Average
from trainer.inference.networks.views import TTA
from trainer.networks.build import create_backbone
from trainer.networks.custom_weights import custom_weights_facts
from trainer.networks.view_averaging import average_views
from trainer.probing.features import Features, open_features
from trainer.probing.frozen_backbone import linear_classifier
from trainer.probing.linear_head import LinearHead, fit_heads
from trainer.probing.origin import Origin
from trainer.recipe.recipe import Recipe, Scalar
from trainer.training.final_predictions import PredictTest, ambiguity_sample, average_of_folds
from trainer.training.folds.devices import training_precision
from trainer.training.folds.reporting import epoch_report
from trainer.training.losses import compute_class_weights
from trainer.training.machine import machine_of
from trainer.training.results import CVResult, Labels, TrainingData

if TYPE_CHECKING:
    from trainer.training.results import EpochReport, Verdict


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fitted:
    """The heads of all folds on features of one precision."""

    heads: tuple[LinearHead, ...]
    oof: Float32Array
    """Out-of-fold probabilities, (n, C); NaN in rows that are never held out."""
    test: tuple[Float32Array, ...]
    """Of each head for the test images, (m, C)."""
    train_loss: float
    """Mean cross-entropy of the training parts."""


def cross_validate_probe(
    recipe: Recipe,
    data: TrainingData,
    *,
    metric: str,
    seed: int,
    device: torch.device,
    on_epoch: Callable[[EpochReport], Verdict],
    weights_dir: Path | None,
    keep_models: bool,
    worth_keeping: Callable[[EpochReport, Average | None], bool] | None,
    predict_test: PredictTest,
    before_batch: Callable[[float], None],
    clock: Callable[[], float],
) -> CVResult:
    """Fit a linear classifier on frozen features for every fold; it counts as one epoch.

    The heads learn from features that are averaged over the views of ``recipe.tta``; predictions average the
    probabilities of these views, as those of every network do. Of the loss, ``class_weight`` applies, and ``balance``
    in the same way; suspicious rows of ``data`` count less, or not. No other setting of training changes a probe.
    Without random weights (``init = "scratch"``) the seed changes nothing.

    The features are computed in the precision of training. Networks that are worth keeping are fitted again on float32
    features, because an exported model computes in float32.

    Args:
        before_batch: called before every batch with the share of the images that are done. What it raises is passed on.

    The other arguments are those of `trainer.training.cross_validation.cross_validate`, which also restores torch's
    generators.

    Raises:
        BackboneError: the backbone or its weights cannot be used, or its classifier is no linear layer.
        torch.OutOfMemoryError: one image alone does not fit.
    """
    begun = clock()
    model = frozen_network(recipe, data, seed=seed, device=device, weights_dir=weights_dir)
    classifier = linear_classifier(model, recipe.image_size)
    precision = training_precision(device)
    fitted = _fit_and_predict(model, recipe, data, precision, before_batch)
    report = epoch_report(
        data,
        fitted.oof,
        metric=metric,
        epoch=1,
        epochs=1,
        train_loss=fitted.train_loss,
        seconds=clock() - begun,
    )
    machine: dict[str, Scalar] = {**machine_of(device), "seconds": report.seconds, **data.judged_labels}
    machine |= custom_weights_facts(recipe.init, weights_dir)
    on_epoch(report)
    num_test = len(data.pixels.test)
    sample = ambiguity_sample(num_test)
    average = average_of_folds(data, fitted.oof, [proba[sample] for proba in fitted.test] if num_test else [])
    kept = worth_keeping is None or worth_keeping(report, average)
    if kept and precision is not torch.float32:
        fitted = _fit_and_predict(model, recipe, data, torch.float32, before_batch)
    predicted = predict_test is True or (kept and predict_test == "if kept")
    return CVResult(
        status="finished",
        reason="",
        reports=(report,),
        oof=fitted.oof,
        test=_mean(fitted.test) if predicted else None,
        average=average,
        machine=machine,
        models=_networks(model, classifier, fitted.heads) if keep_models and kept else (),
    )


def starting_heads(
    recipe: Recipe,
    data: TrainingData,
    *,
    seed: int,
    device: torch.device,
    weights_dir: Path | None,
    before_batch: Callable[[float], None],
) -> tuple[LinearHead, ...]:
    """The classifier with which the training of each fold begins if ``recipe.head`` is "probe".

    Linear probing, then fine-tuning (LP-FT; Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and
    Underperform Out-of-Distribution"): a random classifier sends large gradients into the trained layers below it, a
    fitted one does not. Each head learns from the training part of its fold alone, as in `cross_validate_probe`.

    When this returns, its network and the features are no longer in memory.

    Args:
        before_batch: called before every batch with the share of the images that are done. What it raises is passed on.

    Returns:
        One head for each fold, on the CPU.

    Raises:
        BackboneError: the backbone or its weights cannot be used, or its classifier is no linear layer.
        torch.OutOfMemoryError: one image alone does not fit.
    """
    model = frozen_network(recipe, data, seed=seed, device=device, weights_dir=weights_dir)
    try:
        linear_classifier(model, recipe.image_size)
    except BackboneError as problem:
        raise BackboneError(f"{problem}; {recipe.backbone} needs head = random") from problem
    heads, _, _ = _fit_heads(model, recipe, data, training_precision(device), before_batch)
    return tuple(replace(head, weight=head.weight.cpu(), bias=head.bias.cpu()) for head in heads)


def frozen_network(
    recipe: Recipe, data: TrainingData, *, seed: int, device: torch.device, weights_dir: Path | None
) -> torch.nn.Module:
    """The network of ``recipe`` as it begins, in evaluation mode on its device."""
    torch.manual_seed(random_key(seed, "weights", 0) % 2**63)
    model = create_backbone(recipe, data.num_classes, weights_dir=weights_dir)
    return model.to(device).to(memory_format=torch.channels_last).eval()


def frozen_features(
    model: torch.nn.Module,
    recipe: Recipe,
    data: TrainingData,
    precision: torch.dtype,
    before_batch: Callable[[float], None],
) -> tuple[Features, Float32Array]:
    """The features of the views of ``recipe.tta``, and their mean for the training images, shape (n, d).

    Args:
        model: of `frozen_network`.
        before_batch: called before every batch with the share of the images that are done.

    Raises:
        BackboneError: the features are not finite, or no vectors.
    """
    views = TTA[recipe.tta]
    features = open_features(
        model,
        data.pixels.train,
        data.pixels.test,
        views=views,
        folder=data.features,
        precision=precision,
        before_batch=before_batch,
        origin=(
            None
            if data.fingerprint is None
            else Origin(fingerprint=data.fingerprint, backbone=recipe.backbone, image_size=recipe.image_size)
        ),
    )
    return features, _mean([features.train[view] for view in views])


def _fit_heads(
    model: torch.nn.Module,
    recipe: Recipe,
    data: TrainingData,
    precision: torch.dtype,
    before_batch: Callable[[float], None],
) -> tuple[list[LinearHead], Features, Float32Array]:
    """Fit the heads of all folds on features that are averaged over the views of ``recipe.tta``.

    Returns:
        A head for each fold, and both of `frozen_features`.
    """
    features, mean = frozen_features(model, recipe, data, precision, before_batch)

    def class_weights(y: Labels) -> Float32Array:
        powers = (recipe.loss.class_weight, recipe.balance)
        by_loss, by_sampling = (compute_class_weights(y, data.num_classes, power) for power in powers)
        return by_loss * by_sampling

    weights = [data.row_weights(fold) for fold in range(data.num_folds)]
    row_weights = [each for each in weights if each is not None]
    device = next(model.parameters()).device
    heads = fit_heads(
        mean, data.y, data.folds, class_weights=class_weights, row_weights=row_weights or None, device=device
    )
    return heads, features, mean


def _fit_and_predict(
    model: torch.nn.Module,
    recipe: Recipe,
    data: TrainingData,
    precision: torch.dtype,
    before_batch: Callable[[float], None],
) -> _Fitted:
    views = TTA[recipe.tta]
    heads, features, mean = _fit_heads(model, recipe, data, precision, before_batch)
    oof = np.full((len(data.y), data.num_classes), np.nan, dtype=np.float32)
    losses, test = [], []
    for fold, head in enumerate(heads):
        part, held_out = data.training_part(fold), data.held_out(fold)
        oof[held_out] = average_views(
            {view: head.predict_proba(features.train[view][held_out]) for view in views}, views
        )
        test.append(average_views({view: head.predict_proba(features.test[view]) for view in views}, views))
        fitted = head.predict_proba(mean[part])
        if data.several_labels:
            fitted = np.where(data.y[part] == 1, fitted, 1.0 - fitted)
        else:
            fitted = fitted[np.arange(len(part)), data.y[part]]
        losses.append(float(-np.log(np.maximum(fitted, np.finfo(np.float32).tiny)).mean()))
    return _Fitted(heads=tuple(heads), oof=oof, test=tuple(test), train_loss=float(np.mean(losses)))


def _mean(arrays: Sequence[Float32Array]) -> Float32Array:
    """The mean of arrays of one shape, added up in float64."""
    total = sum((array.astype(np.float64) for array in arrays[1:]), arrays[0].astype(np.float64))
    return (total / len(arrays)).astype(np.float32)


def _networks(
    model: torch.nn.Module, classifier: torch.nn.Linear, heads: tuple[LinearHead, ...]
) -> tuple[dict[str, torch.Tensor], ...]:
    """State dict of the network of each fold, on the CPU; they share the tensors below the classifier."""
    state = {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}
    path = next(name for name, module in model.named_modules() if module is classifier)
    return tuple({**state, f"{path}.weight": head.weight.cpu(), f"{path}.bias": head.bias.cpu()} for head in heads)
