"""Checks of a ``search pretrain`` request, which end in a `PretrainingPlan`. Nothing is written to the database."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from search.engines.plan import Workers
from search.runtime.home import Home
from search.study_setup.create_study import StudyPlan
from search.study_setup.data_folder import Competition, progress_line
from search.study_setup.deadline import Hours
from search.study_setup.metric import check_labels
from search.study_setup.open_images import BY_INDEX, RELABELLED, pretraining_images
from search.study_setup.weights_folder import check_initial_weights
from search.study_state.study import PRETRAINING_PREFIX
from search.workflow.pretraining.class_map import check_class_map, read_class_map
from search.workflow.pretraining.register import CannotRegister, check_folder_of_weights, registered
from search.workflow.pretraining.settings import pretraining_spec
from studies.resolve_backbones import check_backbones
from studies.spec import StudySpec
from trainer.common.environment import check_torch_pair
from trainer.data.duplicates import find_duplicates
from trainer.data.image_set import ImageSet
from trainer.data.read import read_images
from trainer.formats.weights.description import WeightsDescription, check_weights_name
from trainer.formats.weights.trained_on import TrainedOn, contents_of, folder_name
from trainer.networks.backbones import check_backbone, native_size
from trainer.networks.custom_weights import BUILT_IN, registered_weights, weights_description
from trainer.recipe.recipe import Recipe

ONE = 1  # trial of a pre-training
MOST_INDEXED = 5000
"""Images of a self-supervised pre-training at most: each is a class, and predictions take memory for every class."""
REPEATS = 200
"""Images that a self-supervised pre-training is asked to recognise."""


@dataclass(frozen=True, kw_only=True)
class PretrainRequest:
    """The arguments of ``search pretrain``; None: not given."""

    name: str
    data: Path
    storage_url: str
    workers: Workers
    backbone: str | None = None
    init: str = "pretrained"
    """``pretrained`` or ``scratch``; ``--set recipe.init=NAME`` begins with registered weights."""
    classes: Path | None = None
    """Table of coarser classes."""
    epochs: int | None = None
    image_size: int | None = None
    hours: Hours | None = None
    license_note: str = ""
    replace: bool = False
    self_supervised: bool = False
    test_images: bool = True
    """Whether a self-supervised pre-training learns from the test images, too."""
    overrides: Sequence[str] = ()
    begun: float = field(default_factory=time.monotonic)
    """When the command began, on the monotonic clock; the time until a deadline counts from then."""


@dataclass(frozen=True, kw_only=True)
class PretrainingPlan:
    """A checked pre-training."""

    name: str
    study: StudyPlan
    """Its name is that of the first attempt, see `search.workflow.pretraining.command.study_name`."""
    folder: Path
    """Weights folder in which the weights are registered."""
    request: str
    """Digest of data and settings, see `trainer.formats.weights.description.WeightsDescription.request`."""
    known: WeightsDescription | None
    """What is registered under the name now."""
    data: TrainedOn
    is_coarse: bool = False
    """Whether a table replaces the classes of the images by coarser ones."""
    labelled: ImageSet | None = None
    """The images with their labels, on which probes decide about self-supervised weights; None: supervised."""

    @property
    def images(self) -> ImageSet:
        """The images as they are trained on."""
        return self.study.competition.images

    @property
    def held_out(self) -> int:
        """Number of images that are held out."""
        return int((self.study.fold_numbers == 0).sum())


def prepare_pretraining(request: PretrainRequest, console: Console) -> PretrainingPlan:
    """Read and check everything that a pre-training needs.

    Raises:
        CannotRegister: the weights cannot be written, or the name belongs to other files.
        StudyError, BackboneError, DataError, EnvironmentProblem: invalid input.
    """
    name, home = check_weights_name(request.name), Home(root=request.workers.home)
    check_torch_pair()
    # What can be wrong with the options alone is found before the images are read.
    spec = check_backbones(_spec(request, images=1000, native=True))
    given = request.workers.weights
    folder = home.weights if given is None else given
    check_folder_of_weights(folder, given=given is not None)
    known = registered(folder, name)
    start = _starting_folder(spec, given, home)
    check_initial_weights(spec, start, scratch=not request.self_supervised)
    earlier = _earlier(str(spec.recipe["init"]), start)
    table = None if request.classes is None else read_class_map(request.classes)
    source = _read(request.data, spec, console)
    if request.classes is not None and table is not None:
        table = check_class_map(request.classes, table, source.class_names)
    indexed: dict[str, Any] = {"with_test": request.test_images, "most": MOST_INDEXED, "repeats": REPEATS}
    images = source.by_index(**indexed) if request.self_supervised else pretraining_images(source, table)
    distinct = len(images.class_names) if request.self_supervised else len(images.y)
    spec = check_backbones(_spec(request, images=distinct, several_labels=images.several_labels, native=True))
    check_labels(spec, images)
    digest = _digest(images, spec, earlier)
    competition = Competition(images=images, duplicates=find_duplicates(images))
    plan = StudyPlan(
        name=f"{PRETRAINING_PREFIX}{name}-{digest[:8]}",
        spec=spec,
        file_spec=spec,
        overrides=(),
        competition=competition,
        folder=request.data,
        budget=ONE,
        weights_dir=start,
        held_out=np.arange(len(images.y)) >= distinct if request.self_supervised else None,
        summary=_summary(request, indexed, table, is_source=images.fingerprint == source.fingerprint),
    )
    return PretrainingPlan(
        name=name,
        study=plan,
        folder=folder,
        request=digest,
        known=known,
        data=TrainedOn(
            folder=folder_name(request.data),
            fingerprint=source.fingerprint,
            images=distinct,
            classes=0 if request.self_supervised else len(images.class_names),
            several_labels=images.several_labels,
            test_images=_test_images(source, images) if request.self_supervised else 0,
            license_note=request.license_note,
            contents="" if request.self_supervised else contents_of(images.training_contents),
        ),
        is_coarse=table is not None,
        labelled=source if request.self_supervised else None,
    )


def _summary(
    request: PretrainRequest, indexed: Mapping[str, object], table: Mapping[str, str] | None, *, is_source: bool
) -> dict[str, object]:
    """What a worker needs to know to see the folder's images as this training does, for the summary of the data set."""
    if request.self_supervised:
        return {BY_INDEX: dict(indexed)}
    return {} if is_source else {RELABELLED: table}


def _test_images(source: ImageSet, images: ImageSet) -> int:
    """Number of the test images of ``source`` among the images by index."""
    return sum(int(name.removeprefix("image ")) >= len(source.train_ids) for name in images.class_names)


def _spec(request: PretrainRequest, *, images: int, several_labels: bool = False, native: bool = False) -> StudySpec:
    """The study of a request.

    Args:
        several_labels: whether an image may have several labels.
        native: ask timm whether it has the backbone, and for which size of images it was made.

    Raises:
        StudyError, BackboneError: a setting is not valid.
    """
    backbone = _override(request, "backbone") or request.backbone or Recipe().backbone
    size = request.image_size
    if native:
        check_backbone(backbone)
        size = native_size(backbone) if size is None else size
    return pretraining_spec(
        request.name,
        backbone=backbone,
        init=_override(request, "init") or request.init,
        images=images,
        image_size=size,
        epochs=request.epochs,
        by_index=request.self_supervised,
        several_labels=several_labels,
        overrides=request.overrides,
    )


def _override(request: PretrainRequest, field: str) -> str | None:
    """The value that ``--set recipe.FIELD=VALUE`` gives a field on which usual settings depend."""
    given = [text.partition("=") for text in request.overrides]
    values = [value.strip().strip("\"'") for path, _, value in given if path.strip() == f"recipe.{field}"]
    return values[-1] if values else None


def _read(folder: Path, spec: StudySpec, console: Console) -> ImageSet:
    label = f"Reading {folder} …"
    with progress_line(console, label) as update:
        return read_images(
            folder,
            spec.data.options,
            progress=lambda done, total: update(f"{label} {done} of {total} images"),
        )


def _starting_folder(spec: StudySpec, given: Path | None, home: Home) -> Path | None:
    """The folder of the weights from which the training begins: that of ``--weights``, or this home's for its own."""
    own = {known.name for known in registered_weights(home.weights)}
    return home.weights if given is None and str(spec.recipe["init"]) in own else given


def _earlier(init: str, folder: Path | None) -> WeightsDescription | None:
    """What is known of the weights from which the training begins; None for published and random ones.

    Raises:
        CannotRegister: nothing is known of a checkpoint.
    """
    known = weights_description(init, folder)
    if known is None and init not in BUILT_IN:
        raise CannotRegister(
            f"recipe.init = {init!r}: nothing says which images trained these weights, so that the new ones could not "
            "say it either; registered weights, pretrained and scratch can be started from"
        )
    return known


def _digest(images: ImageSet, spec: StudySpec, earlier: WeightsDescription | None) -> str:
    """Digest of everything that the trained weights depend on."""
    start = "" if earlier is None else earlier.sha256
    return hashlib.sha256(f"{images.fingerprint} {spec.spec_hash} {start}".encode()).hexdigest()
