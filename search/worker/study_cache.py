"""What a worker process works with: one device, one pool of augmenters, and a context for each study it serves."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import optuna

from search.runtime.home import Home
from search.runtime.worker_environment import PLACE_VARIABLE
from search.study_setup.data_folder import DataMismatch, NoData, known_folder, open_for_training
from search.study_state.study import Study
from search.tuning.pruners import make_pruner
from search.tuning.samplers import make_sampler, sampler_seed
from search.worker.lease import LEASE
from search.worker.study_context import StudyContext
from search.worker.train_item import train
from storage.records.studies import StoredStudy
from storage.stores import Stores
from trainer.common.errors import DataError, listed
from trainer.data.image_set import ImageSet

if TYPE_CHECKING:
    import torch

    from trainer.batches.batch_loader import BatchLoader

KEPT_CONTEXTS = 8
"""Studies that stay open in a worker: each holds its images' table and its sampler's view of all its trials."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class WorkerResources:
    """What all benches of a process share."""

    worker: str
    stores: Stores
    home: Home
    folders: tuple[Path, ...]
    """Where images may be; a study is served from the one whose fingerprint is its own."""
    device: torch.device
    loader: BatchLoader
    weights_dir: Path | None = None
    lease: float = LEASE
    """Seconds."""


class StudyCache:
    """Opens a context for a study when it is first served, and keeps the latest `KEPT_CONTEXTS`."""

    def __init__(self, tools: WorkerResources) -> None:
        self._resources = tools
        self._contexts: OrderedDict[int, StudyContext] = OrderedDict()

    def context(self, study: StoredStudy) -> StudyContext:
        """The context of a study.

        Raises:
            NoData, DataMismatch, DataError: its images are not in any of the folders.
            StudyError: its specification is not valid, or names a pruner that was removed.
        """
        context = self._contexts.pop(study.id, None) or self._open(study)
        self._contexts[study.id] = context
        while len(self._contexts) > KEPT_CONTEXTS:
            self._contexts.popitem(last=False)
        return context

    def _open(self, stored: StoredStudy) -> StudyContext:
        tools = self._resources
        study = Study.of(stored)
        settings = study.spec.search_settings
        images = self._images(study)
        backend = tools.stores.optuna_study(study.name)
        trials = len(backend.get_trials(deepcopy=False))
        seed = sampler_seed(settings, os.environ.get(PLACE_VARIABLE, tools.worker), trials)
        sampler = make_sampler(settings, seed, study.budget or settings.trials)
        optuna_study = tools.stores.optuna_study(study.name, sampler)
        optuna_study.pruner = optuna.pruners.NopPruner()  # `search.tuning.pruners` decides, and sees more than numbers
        log.info("study %s: %d training images, on %s", study.name, len(images.y), tools.device)
        return StudyContext(
            worker=tools.worker,
            stores=tools.stores,
            study=study,
            optuna_study=optuna_study,
            pruner=make_pruner(settings),
            images=images,
            home=tools.home,
            device=tools.device,
            loader=tools.loader,
            train=train,
            weights_dir=tools.weights_dir,
            lease=tools.lease,
        )

    def _images(self, study: Study) -> ImageSet:
        known = known_folder(self._resources.stores, study.fingerprint)
        folders = list(dict.fromkeys([*self._resources.folders, *([known] if known else [])]))
        if not folders:
            raise NoData
        problems: list[Exception] = []
        for folder in folders:
            try:
                return open_for_training(folder, study)
            except (DataMismatch, DataError) as problem:
                problems.append(problem)
        if len(problems) == 1:
            raise problems[0]
        raise DataMismatch(f"none of the folders {listed(map(str, folders))} holds the images of study {study.name}")
