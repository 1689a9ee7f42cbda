"""Registering weights: the network of a finished pre-training becomes ``NAME.safetensors`` with its description."""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Mapping
from pathlib import Path

from search.runtime.errors import SearchError
from storage.artifacts import digest_of
from storage.values import TrialRecord
from trainer.common.environment import library_versions
from trainer.common.files import replacing
from trainer.formats.weights.description import (
    WeightsDescription,
    description_path,
    read_description,
    write_description,
)
from trainer.formats.weights.trained_on import TrainedOn
from trainer.networks.backbones import UNKNOWN_LICENSE, license_of
from trainer.networks.custom_weights import check_description, images_before, weights_description
from trainer.networks.pretrained.folder_networks import SUFFIXES
from trainer.recipe.recipe import Recipe


class CannotRegister(SearchError):
    """Weights cannot be registered as requested. Nothing was trained or written."""


def weights_path(folder: Path, name: str) -> Path:
    """The file of the registered weights called ``name``."""
    return folder / f"{name}.safetensors"


def check_folder_of_weights(folder: Path, *, given: bool) -> None:
    """Check that weights can be written into a folder, which need not exist if it is this home's.

    Args:
        given: whether ``--weights`` names it.

    Raises:
        CannotRegister: it does not exist, or this user may not write to it.
    """
    if given and not folder.is_dir():
        raise CannotRegister(f"the weights folder {folder} does not exist")
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        raise CannotRegister(
            f"the weights folder {folder} cannot be written to, and the new weights belong beside those that it holds. "
            "Copy it to a folder of your own, and give that: --weights FOLDER"
        )


def registered(folder: Path, name: str) -> WeightsDescription | None:
    """The weights that are registered under a name; None if there are none.

    Raises:
        CannotRegister: a backbone has the name, or a file with it was not written by a registration.
        BackboneError: the description is damaged.
    """
    from timm.models import is_model

    if is_model(name.partition(".")[0]):
        raise CannotRegister(f"{name} is a backbone of timm, whose weights have this name; choose another --name")
    file = weights_path(folder, name)
    known = read_description(description_path(file, name))
    others = [path for path in (folder / f"{name}{suffix}" for suffix in SUFFIXES) if path.exists()]
    if known is None and (others or description_path(file, name).exists()):
        shown = others[0] if others else description_path(file, name)
        raise CannotRegister(f"{shown} exists, and `search pretrain` did not write it; choose another --name")
    return known


def is_whole(folder: Path, known: WeightsDescription) -> bool:
    """Whether the weights file has the content that its description names; a kill may leave the description alone."""
    file = weights_path(folder, known.name)
    return file.is_file() and digest_of(file) == known.sha256


def register(
    folder: Path,
    network: Path,
    *,
    name: str,
    record: TrialRecord,
    data: TrainedOn,
    method: str,
    classes: int,
    metric: str,
    held_out: int,
    request: str,
    weights_dir: Path | None,
    note: str = "",
) -> WeightsDescription:
    """Write the network of a training without its classifier, and its description, into a weights folder.

    The description is written first: after a kill in between, its digest shows that the weights are missing.

    Args:
        network: safetensors file of the trained network.
        record: of the training.
        data: the images that it trained on.
        classes: number of its classes.
        held_out: number of images on which it was scored; 0: its score says nothing about other images.
        request: digest of data and settings.
        weights_dir: folder of the weights from which it began.
        note: what else is known of the weights.

    Raises:
        OSError: the files cannot be written.
        BackboneError: the network cannot be read.
    """
    from trainer.networks.build import create_backbone
    from trainer.networks.layers import classifier_tensors
    from trainer.networks.pretrained.load_weights import read_state_dict
    from trainer.training.write_model_folder import save_weights

    recipe = Recipe.from_flat(record.recipe or {})
    model = create_backbone(recipe.replace(_PLAIN), classes, weights_dir=None)
    classifier = classifier_tensors(model)
    state = {key: value for key, value in read_state_dict(network).items() if key not in classifier}
    earlier = weights_description(recipe.init, weights_dir)
    file = weights_path(folder, name)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary:
        trained_on = (*images_before(recipe.init, recipe.backbone, weights_dir), data)
        save_weights(temporary, state, trained_on)
        description = WeightsDescription(
            name=name,
            backbone=recipe.backbone,
            method=method,
            init=recipe.init,
            trained_on=trained_on,
            sha256=digest_of(temporary),
            request=request,
            recipe=recipe.to_flat(),
            metric=metric if held_out else "",
            score=_finite(record.value) if held_out else None,
            score_error=_finite(record.value_se) if held_out else None,
            held_out=held_out,
            weights_license=_license(recipe, earlier),
            note="; ".join(filter(None, (record.reason, note))),
            versions=library_versions(),
            created=datetime.date.today().isoformat(),
        )
        write_description(description_path(file, name), description)
    check_description(name, recipe.backbone, folder)
    return description


_PLAIN: Mapping[str, object] = {
    "init": "scratch",
    "head": "random",
    "norm": "batch",
    "wise_ft": False,
    "tune": "all",
    "freeze": 0.0,
    "freeze_embed": False,
}
"""Settings with which the network is built only to find its classifier."""


def _finite(score: float | None) -> float | None:
    """A score; None if it is undefined, as ROC AUC is where the images that are held out have the same labels."""
    return score if score is not None and math.isfinite(score) else None


def _license(recipe: Recipe, earlier: WeightsDescription | None) -> str:
    """Licence of the published weights at the beginning; empty for random weights."""
    if recipe.init == "scratch":
        return ""
    if recipe.init == "pretrained":
        return license_of(recipe.backbone)
    return UNKNOWN_LICENSE if earlier is None else earlier.weights_license
