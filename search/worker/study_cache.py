"""Resources that a worker shares among its studies, and a cache of the studies that it has opened."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import optuna

from search.runtime.home import Home
from search.runtime.worker_environment import PLACE_VARIABLE
from search.study_setup.data_folder import DataMismatch, NoData, known_folders
from search.study_setup.open_images import open_for_training
from search.study_setup.rules import check_learned_labels, check_rules
from search.study_setup.weights_folder import weights_folder
from search.study_state.study import Study
from search.tracking.trackers import Trackers
from search.tuning.probing.backbones import ProbeResults
from search.tuning.probing.sampler import ProbedSampler
from search.tuning.pruners import make_promotion, make_pruner
from search.tuning.restore_optuna import is_replaced, optuna_study
from search.tuning.samplers import make_sampler, sampler_seed
from search.worker.lease import LEASE
from search.worker.study_context import StudyContext
from search.worker.training.train_item import train
from storage.records.study_rows import StoredStudy
from storage.stores import Stores
from trainer.common.errors import DataError, listed
from trainer.data.image_set import ImageSet

if TYPE_CHECKING:
    import torch

    from trainer.batches.batch_loader import BatchLoader

KEPT_CONTEXTS = 8
"""Number of studies that a worker keeps open. Each holds a table of its images and its sampler's copy of all trials."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class WorkerResources:
    """What all studies of a worker process share."""

    worker: str
    """Name of the worker, see `search.runtime.process_names`."""
    stores: Stores
    home: Home
    folders: tuple[Path, ...]
    """Folders of images. A study is trained on the one with the study's fingerprint."""
    device: torch.device
    loader: BatchLoader
    trackers: Trackers = field(default_factory=Trackers)
    """What else records the trainings."""
    cores: int = 1
    """CPU cores of the worker."""
    weights_dir: Path | None = None
    """Folder of pre-trained weights of all studies; None: of each study the one that it remembers."""
    lease: float = LEASE
    """Seconds, see `search.worker.lease.LEASE`."""


class StudyCache:
    """Opens studies at first use, and keeps the `KEPT_CONTEXTS` that were used last."""

    def __init__(self, resources: WorkerResources) -> None:
        self._resources = resources
        self._contexts: OrderedDict[int, StudyContext] = OrderedDict()

    def context(self, study: StoredStudy) -> StudyContext:
        """The context of a study.

        It is opened again if Optuna's study was deleted and restored since, because its ids are others then.

        Raises:
            NoData, DataMismatch, DataError: no folder holds its images.
            NoWeights: this machine lacks its weights.
            AgainstTheRules, LearnedLabels, BackboneError: it may not begin from the weights in the folder of this
                worker, or they are damaged.
            StudyError: its specification is not valid, or it names a pruner that no longer exists.
            ForeignOptunaStudy: another program has replaced Optuna's study.
        """
        context = self._contexts.pop(study.id, None)
        if context is None or is_replaced(self._resources.stores, context.optuna_study):
            context = self._open(study)
        self._contexts[study.id] = context
        while len(self._contexts) > KEPT_CONTEXTS:
            self._contexts.popitem(last=False)
        return context

    def _open(self, stored: StoredStudy) -> StudyContext:
        resources = self._resources
        study = Study.of(stored)
        settings = study.spec.search_settings
        images = self._images(study)
        trials_so_far = len(optuna_study(resources.stores, stored).get_trials(deepcopy=False))
        seed = sampler_seed(settings, os.environ.get(PLACE_VARIABLE, resources.worker), trials_so_far)
        probes = ProbeResults(resources.stores, study.id, study.spec)
        sampler = ProbedSampler(
            make_sampler(settings, seed, study.budget or settings.trials),
            lambda: probes.distances,
            seed=seed,
            pausing=make_promotion(settings) is not None,
        )
        backend = resources.stores.optuna_study(study.name, sampler)
        # `StudyContext.pruner` decides instead, because it sees the whole report of an epoch. Optuna's pruners do not.
        backend.pruner = optuna.pruners.NopPruner()
        weights_dir = weights_folder(stored, study.spec, resources.weights_dir)
        self._check_weights(study, images, weights_dir)
        log.info("study %s: %d training images, on %s", study.name, len(images.y), resources.device)
        return StudyContext(
            worker=resources.worker,
            stores=resources.stores,
            study=study,
            optuna_study=backend,
            pruner=make_pruner(settings),
            probes=probes,
            images=images,
            home=resources.home,
            device=resources.device,
            loader=resources.loader,
            trackers=resources.trackers,
            cores=resources.cores,
            train=train,
            weights_dir=weights_dir,
            lease=resources.lease,
        )

    @staticmethod
    def _check_weights(study: Study, images: ImageSet, weights_dir: Path | None) -> None:
        """Check the starting weights as `search start` did: the folder of this worker may hold others.

        Raises:
            AgainstTheRules, LearnedLabels: the study may not begin from them.
            BackboneError: a file is damaged.
        """
        if study.is_pretraining:
            return
        if study.spec.rules.forbidden:
            check_rules(study.spec, study.fingerprint, weights_dir)
        for line in check_learned_labels(study.spec, images, weights_dir):
            log.warning("study %s: %s", study.name, line)

    def _images(self, study: Study) -> ImageSet:
        """The study's images, from the first folder that holds them; those that the database knows come last."""
        known = known_folders(self._resources.stores, study.stored)
        folders = list(dict.fromkeys([*self._resources.folders, *known]))
        if not folders:
            raise NoData
        problems: list[Exception] = []
        for folder in folders:
            try:
                return open_for_training(folder, study, self._resources.stores)
            except (DataMismatch, DataError) as problem:
                problems.append(problem)
        if len(problems) == 1:
            raise problems[0]
        raise DataMismatch(f"none of the folders {listed(map(str, folders))} holds the images of study {study.name}")
