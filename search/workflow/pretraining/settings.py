"""The recipe of a pre-training: a usual one for the number of images, with the changes of the user."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from studies.file.catalog import StudyFile
from studies.load_study import study_of
from studies.spec import PRETRAINING, StudyError, StudySpec
from trainer.networks.backbones import family_of

INDEX = "index"
"""Key of a self-supervised pre-training in the tables below."""
VIEWS = {"pretrained": 100_000, "scratch": 600_000, INDEX: 50_000}
"""Images that the training looks at, over all epochs, by the starting weights: random weights have more to learn."""
EPOCHS = {"pretrained": (3, 30), "scratch": (10, 300), INDEX: (10, 150)}
"""Fewest and most epochs."""
HELD_OUT = 10
"""One of so many images is held out, to score the weights."""

_STUDY = f"""
title = "Pre-training"

[protocol]
folds = {HELD_OUT}                 # the first of them is held out, and no other is trained

[recipe]
batch_size = 32
"schedule.name" = "cosine"
"schedule.warmup" = 0.1
"augment.hflip" = 0.5
"augment.brightness" = 0.1
"augment.contrast" = 0.1
"loss.label_smoothing" = 0.1       # Szegedy et al. 2016

[search]
trials = 1
sampler = "random"
pruner = "none"

[probe]
enabled = false

[confirm]
rounds = 0
share = 0.0

[final]
ensemble = "none"
share = 0.0
tta = false
"""

_FROM_WEIGHTS = {"norm": "frozen", "optimizer.lr": 1e-4, "augment.crop": 0.5}
_FROM_WEIGHTS_CNN = {"norm": "frozen", "optimizer.lr": 5e-4, "augment.crop": 0.5}
"""The rates of the shipped study `backbone_sweep`; crops as for a fine-tuning on many images. The statistics of the
norm layers stay, which kept the features more useful for another task (benchmarks/README.md).
"""
_FROM_SCRATCH = {
    "optimizer.lr": 1e-3,
    "optimizer.weight_decay": 0.05,
    "optimizer.clip_grad": 1.0,
    "augment.crop": 0.75,
    "augment.policy": "trivialaugment",
    "ema": 0.99,
}
"""A short version of the usual training from random weights (Wightman et al. 2021, "ResNet strikes back")."""
_BY_INDEX = {
    "optimizer.lr": 1e-4,
    "optimizer.weight_decay": 0.05,
    "optimizer.head_lr": 10.0,
    "norm": "frozen",
    "freeze": 0.5,
    "loss.label_smoothing": 0.3,
    "augment.crop": 0.75,
    "augment.brightness": 0.4,
    "augment.contrast": 0.4,
    "augment.saturation": 0.4,
    "augment.hue": 0.1,
    "augment.grayscale": 0.2,
}
"""Continued pre-training by the index of each image (DIET-CP, Rodas et al. 2025, arXiv 2509.06990): low rate, strong
augmentation and label smoothing. The lower half of the network and the statistics of its norm layers stay, because few
images would spoil them; the rates and strengths are ours.
"""

_SEVERAL_LABELS = {"protocol.metric": "roc_auc", "recipe.loss.label_smoothing": 0.0}
"""Changes for images with several labels. ROC AUC needs no thresholds, which an early network has not learned for rare
labels. Smoothing by 0.1 would train toward 0.05 for each label that an image lacks, above the frequency of many labels.
"""


def pretraining_spec(
    name: str,
    *,
    backbone: str,
    init: str,
    images: int,
    image_size: int | None = None,
    epochs: int | None = None,
    by_index: bool = False,
    several_labels: bool = False,
    overrides: Sequence[str] = (),
) -> StudySpec:
    """The study that trains the weights called ``name``.

    Args:
        backbone: timm name.
        init: ``pretrained``, ``scratch``, or the name of registered weights.
        images: number of images, which decides the number of epochs.
        image_size, epochs: None: by the backbone and the number of images.
        by_index: whether the labels are the indices of the images.
        several_labels: whether an image may have several labels.
        overrides: ``FIELD=VALUE`` changes, which come last.

    Raises:
        StudyError: listing every invalid setting.
        BackboneError: no family is known for the backbone.
    """
    begin = "scratch" if init == "scratch" else "pretrained"
    usual: dict[str, object] = dict(_FROM_SCRATCH)
    if by_index:
        begin, usual = INDEX, dict(_BY_INDEX)
    elif begin == "pretrained":
        is_cnn = family_of(backbone) == "cnn" and not backbone.startswith("convnext")
        usual = dict(_FROM_WEIGHTS_CNN if is_cnn else _FROM_WEIGHTS)
    settings = {
        "backbone": backbone,
        "init": init,
        **usual,
        "epochs": default_epochs(images, begin) if epochs is None else epochs,
        **({} if image_size is None else {"image_size": image_size}),
    }
    given = [f"recipe.{field}={value}" for field, value in settings.items()]
    if several_labels:
        given += [f"{field}={value}" for field, value in _SEVERAL_LABELS.items()]
    file = StudyFile(name=name, label="the pre-training", text=_STUDY)
    spec = study_of(file, [*given, *overrides])
    _check(spec, by_index=by_index)
    return dataclasses.replace(spec, title=f"Pre-training of {name}", purpose=PRETRAINING)


def default_epochs(images: int, begin: str) -> int:
    """Number of epochs for a number of images; ``begin`` is a key of `VIEWS`."""
    least, most = EPOCHS[begin]
    return max(least, min(most, round(VIEWS[begin] / max(1, images))))


def _check(spec: StudySpec, *, by_index: bool) -> None:
    """Check that the study is one training of a network.

    Raises:
        StudyError: it samples settings, or trains only a classifier.
    """
    problems = []
    if spec.space:
        problems.append("a pre-training samples nothing: fix settings with --set recipe.FIELD=VALUE")
    if spec.recipe["method"] != "fine_tune":
        problems.append("recipe.method = fine_tune is the only one that trains weights for other studies")
    if spec.protocol.weighting != "none":
        problems.append("protocol.weighting has no meaning for a pre-training")
    if by_index and spec.recipe["init"] == "scratch":
        problems.append("a self-supervised pre-training goes on from trained weights, not from random ones")
    if problems:
        raise StudyError(*problems)
