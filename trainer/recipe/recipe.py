"""`Recipe`: all settings of one training, as an immutable value.

A recipe has two forms. In code it is a frozen dataclass with nested groups. In study files, on the command line, in the
database and in exported models it is *flat*: a dictionary from dotted field name to plain value, such as
``{"backbone": "resnet18", "optimizer.lr": 0.001, "augment.sepia": 0.2}``. `FIELDS` holds type, range, default and
documentation of every flat field. It is derived from the dataclasses below and from
`trainer.recipe.augmentation_table.AUGMENTATIONS`, so each setting is declared once.

Nothing here imports torch, so that a study file is checked in milliseconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from trainer.common.errors import suggest
from trainer.inference.networks.views import TTA
from trainer.recipe.augmentation_table import AUGMENTATIONS, POLICIES
from trainer.recipe.exclusions import violated
from trainer.recipe.field_info import RENAMED_VALUES, FieldInfo, RecipeError, Scalar, interval, setting
from trainer.recipe.optimizer_table import OPTIMIZERS, SCHEDULES

__all__ = [
    "BIAS_NORM",
    "DOWNWEIGHT",
    "DROP",
    "FIELDS",
    "KEEP",
    "LINEAR_PROBE",
    "LORA",
    "RENAMED_VALUES",
    "Augment",
    "FieldInfo",
    "Loss",
    "Optimizer",
    "Recipe",
    "RecipeError",
    "Scalar",
    "Schedule",
    "field_info",
    "interval",
]

LINEAR_PROBE = "linear_probe"
"""The `Recipe.method` that trains only a linear classifier (`trainer.training.linear_probe`)."""
USED_BY_PROBES = frozenset(
    (
        *("backbone", "init", "method", "image_size", "resize", "balance", "suspicious_labels", "tta"),
        "loss.class_weight",
    )
)
"""The fields of a flat recipe that a linear probe uses."""

KEEP, DROP, DOWNWEIGHT = "keep", "drop", "downweight"
"""Values of `Recipe.suspicious_labels`."""

BIAS_NORM, LORA = "bias_norm", "lora"
"""Values of `Recipe.tune` with which the network learns in part (`trainer.networks.freezing`)."""


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """Settings of the optimizer."""

    name: str = setting("adamw", "optimizer", choices=OPTIMIZERS)
    lr: float = setting(3e-4, "peak learning rate", low=1e-8, high=10.0)
    weight_decay: float = setting(0.01, "weight decay; biases and norms are left out", low=0.0, high=1.0)
    momentum: float = setting(0.9, "momentum of SGD and RMSprop, first beta of the Adam family", low=0.0, high=0.999)
    beta2: float = setting(
        0.0, "second beta of the Adam family; 0 = the optimizer's own: mostly 0.999", low=0.0, high=0.99999
    )
    layer_decay: float = setting(
        1.0,
        "learning rate factor from a layer group to the one below (BEiT); 1 = same everywhere",
        low=0.1,
        high=1.0,
    )
    head_lr: float = setting(1.0, "the classifier's learning rate as a multiple of the others'", low=0.01, high=1000.0)
    clip_grad: float = setting(0.0, "gradients are scaled down to this norm; 0 = never", low=0.0, high=1000.0)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Settings of the learning-rate schedule."""

    name: str = setting("cosine", "shape after the warm-up", choices=SCHEDULES)
    warmup: float = setting(0.1, "fraction of all steps in which the rate rises to its peak", low=0.0, high=0.9)
    floor: float = setting(0.0, "share of the peak that the rate never falls below after it", low=0.0, high=1.0)


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Augmentation of training images. Strength 0 is exactly off."""

    strengths: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(AUGMENTATIONS, 0.0))
    """Strength by name of `trainer.recipe.augmentation_table.AUGMENTATIONS`, every name present. Treat as read-only."""
    policy: str = setting("none", "published mixture of augmentations, before all others", choices=POLICIES)
    policy_prob: float = setting(1.0, "share of the images that the policy changes; 0 = off", low=0.0, high=1.0)
    policy_magnitude: float = setting(
        0.3, "RandAugment's magnitude as a share of the strongest: M / 30 of the paper", low=0.0, high=1.0
    )
    policy_ops: int = setting(2, "RandAugment's N: changes to each image", low=1, high=8)
    mix: str = setting("none", "blend pairs of images of a batch", choices=("none", "mixup", "cutmix"))
    mix_alpha: float = setting(0.4, "Beta(alpha, alpha) draws the share of the blend", low=0.01, high=10.0)
    mix_prob: float = setting(0.5, "share of the batches that are blended", low=0.0, high=1.0)
    mix_off: float = setting(0.2, "blending is off for this last part of the epochs", low=0.0, high=1.0)


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Settings of the training loss."""

    label_smoothing: float = setting(0.0, "share of the target spread over all classes", low=0.0, high=0.9)
    focal_gamma: float = setting(0.0, "focal loss exponent (Lin et al. 2017); 0 = cross-entropy", low=0.0, high=10.0)
    class_weight: float = setting(
        0.0,
        "class weights are (1 / class frequency) to this power; 0 = none, 1 = balanced",
        low=0.0,
        high=1.0,
    )
    gce_q: float = setting(
        0.0,
        "generalized cross-entropy exponent (Zhang & Sabuncu 2018): forgives wrong labels; 0 = cross-entropy, 1 = MAE",
        low=0.0,
        high=1.0,
    )
    bootstrap: float = setting(
        0.0,
        "share of the target that is the network's own prediction (Reed et al. 2015): forgives wrong labels",
        low=0.0,
        high=0.95,
    )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings of one training, defaults included, so that a stored recipe says exactly what ran."""

    backbone: str = setting("tf_efficientnet_b0.ns_jft_in1k", "timm model name")
    init: str = setting(
        "pretrained",
        "starting weights: pretrained (timm's), scratch, or a checkpoint's name in the weights folder",
        pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}",
    )
    method: str = setting(
        "fine_tune",
        "what learns: fine_tune (the network), or linear_probe (only a linear classifier on its frozen features)",
        choices=("fine_tune", LINEAR_PROBE),
    )
    head: str = setting(
        "random",
        "first classifier: random (or the checkpoint's, if its classes are as many), or a linear probe's (LP-FT, Kumar "
        "et al. 2022)",
        choices=("random", "probe"),
    )
    norm: str = setting(
        "batch",
        "statistics by which norm layers normalise in training: the batch's, or frozen at the starting weights'",
        choices=("batch", "frozen"),
    )
    image_size: int = setting(224, "side of the square network input, in pixels", low=8, high=2048)
    resize: str = setting("squash", "how an image becomes square", choices=("squash", "pad", "crop"))
    epochs: int = setting(12, "passes over each fold's training images", low=1, high=10_000)
    batch_size: int = setting(32, "images per optimizer step", low=2, high=4096)
    balance: float = setting(
        0.0, "class sampling: 0 = as the data is, 1 = every class equally often", low=0.0, high=1.0
    )
    suspicious_labels: str = setting(
        KEEP,
        "training images whose label a linear probe inside of the training part contradicts (confident learning, "
        "Northcutt et al. 2021): keep; drop; or downweight, to half. Held-out images are scored as they are",
        choices=(KEEP, DROP, DOWNWEIGHT),
    )
    drop: float = setting(0.0, "dropout before the classifier", low=0.0, high=0.95)
    drop_path: float = setting(0.0, "stochastic depth, where the backbone has it", low=0.0, high=0.95)
    tune: str = setting(
        "all",
        "weights that learn: all; bias_norm (biases and norm layers: BitFit, Ben Zaken et al. 2022); or lora (low-rank "
        "adapters of the linear layers: Hu et al. 2022). The classifier always learns",
        choices=("all", BIAS_NORM, LORA),
    )
    lora_rank: int = setting(8, "rank of the adapters, with tune = lora", low=1, high=256)
    lora_alpha: float = setting(
        16.0, "lora_alpha / lora_rank scales the adapters, with tune = lora", low=0.01, high=1024.0
    )
    freeze: float = setting(
        0.0,
        "share of the layer groups, from the input up, that stay as they begin; 1 = only the classifier learns",
        low=0.0,
        high=1.0,
    )
    freeze_embed: bool = setting(False, "the patch embedding, or the stem of a CNN, stays as it begins")
    ema: float = setting(
        0.0,
        "decay of the averaged weights that are evaluated and kept; 0 = no averaging",
        low=0.0,
        high=0.99999,
    )
    swa: float = setting(
        0.0,
        "share of the steps, at the end, whose weights are averaged (Izmailov et al. 2018); wants a schedule.floor",
        low=0.0,
        high=0.9,
    )
    wise_ft: bool = setting(
        False,
        "after the last epoch, the weights go back towards the starting ones as far as that improves predictions of "
        "held-out images (WiSE-FT, Wortsman et al. 2022)",
    )
    tta: str = setting("none", "views of an image that a prediction averages", choices=TTA)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    augment: Augment = field(default_factory=Augment)
    loss: Loss = field(default_factory=Loss)

    @staticmethod
    def from_flat(flat: Mapping[str, object]) -> Recipe:
        """Build a recipe from flat settings; missing fields take their defaults.

        Raises:
            RecipeError: naming every unknown field and every invalid value, with the nearest valid names.
        """
        problems: list[str] = []
        values = {path: info.default for path, info in FIELDS.items()}
        for path, value in flat.items():
            try:
                values[path] = field_info(path).check(value)
            except RecipeError as error:
                problems.append(str(error))
        problems += map(str, violated(values))
        if problems:
            raise RecipeError("; ".join(problems))

        def group(cls: type, prefix: str) -> Any:
            names = [f.name for f in dataclasses.fields(cls) if f.metadata]
            return {name: values[prefix + name] for name in names}

        strengths = {name: float(values[f"augment.{name}"]) for name in AUGMENTATIONS}
        return Recipe(
            **group(Recipe, ""),
            optimizer=Optimizer(**group(Optimizer, "optimizer.")),
            schedule=Schedule(**group(Schedule, "schedule.")),
            augment=Augment(strengths=strengths, **group(Augment, "augment.")),
            loss=Loss(**group(Loss, "loss.")),
        )

    def to_flat(self) -> dict[str, Scalar]:
        """The recipe in flat form, in the order of `FIELDS`: ``Recipe.from_flat(recipe.to_flat()) == recipe``."""
        flat: dict[str, Scalar] = {}
        for path in FIELDS:
            target: Any = self
            for part in path.split("."):
                target = target.strengths[part] if part in AUGMENTATIONS else getattr(target, part)
            flat[path] = target
        return flat

    def replace(self, changes: Mapping[str, object]) -> Recipe:
        """A copy of the recipe with some flat fields changed.

        Raises:
            RecipeError: as `from_flat`.
        """
        return Recipe.from_flat({**self.to_flat(), **changes})


def field_info(path: str) -> FieldInfo:
    """The declaration of one flat field.

    Raises:
        RecipeError: no such field; the message suggests the nearest.
    """
    if path not in FIELDS:
        kind = "augmentation" if path.startswith("augment.") else "recipe field"
        raise RecipeError(f"there is no {kind} {path!r}{suggest(path, FIELDS)}")
    return FIELDS[path]


def _fields_of(cls: type, prefix: str) -> Iterable[FieldInfo]:
    hints = get_type_hints(cls)
    for item in dataclasses.fields(cls):
        if item.metadata:
            default: Any = item.default
            yield FieldInfo(path=prefix + item.name, type=hints[item.name], default=default, **item.metadata)


def _augmentation_fields() -> Iterable[FieldInfo]:
    for name, entry in AUGMENTATIONS.items():
        yield FieldInfo(path=f"augment.{name}", type=float, default=0.0, doc=entry.doc, low=0.0, high=entry.high)


FIELDS: dict[str, FieldInfo] = {
    info.path: info
    for source in (
        _fields_of(Recipe, ""),
        _fields_of(Optimizer, "optimizer."),
        _fields_of(Schedule, "schedule."),
        _augmentation_fields(),
        _fields_of(Augment, "augment."),
        _fields_of(Loss, "loss."),
    )
    for info in source
}
