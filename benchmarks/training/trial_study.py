"""A competition of JPEG files and a study of one recipe on it, for timing whole trials."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter

from benchmarks.training.plain_pytorch import Workload
from search.runtime.home import Home
from search.runtime.signals import StopSignals
from search.study_setup.create_study import StudyPlan, create_study
from search.study_setup.data_folder import inspect
from search.study_state.study_targets import read_folds
from search.worker.loop import work
from search.worker.study_cache import StudyCache, WorkerResources
from search.worker.study_context import StudyContext
from storage.stores import Stores, open_stores
from storage.values import SEARCH_SPLIT
from studies.load_study import load_study
from trainer.batches.batch_loader import BatchLoader, fitting_workers
from trainer.common.environment import usable_cores

CLASSES = 13
PICTURE_SIDE = 256  # pixels of the JPEG files

STUDY = """
title = "One recipe"

[protocol]
folds = {folds}

[recipe]
backbone = "{backbone}"
init = "scratch"
image_size = {size}
epochs = {epochs}
batch_size = {batch_size}
"augment.hflip" = 0.5
"augment.brightness" = 0.2
"augment.contrast" = 0.2
"augment.scale" = 0.1

[space]
"optimizer.lr" = {{ low = 9e-5, high = 1.1e-4, log = true, default = 1e-4 }}

[search]
pruner = "none"

[final]                     # longer, so that networks are not kept for it, as for most trials of a search
epochs = {longer}
"""


def write_images(folder: Path, count: int, seed: int = 0) -> Path:
    """Write ``count`` JPEG files, one folder per class: smooth random images with noise."""
    generator = np.random.default_rng(seed)
    for number in range(count):
        coarse = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.BICUBIC)
        grain = generator.normal(0, 12, (PICTURE_SIDE, PICTURE_SIDE, 3))
        pixels = np.clip(np.asarray(smooth, dtype=np.float64) + grain, 0, 255).astype(np.uint8)
        target = folder / f"class{number % CLASSES:02}" / f"p{number:04}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(0.7)).save(target, quality=90)
    return folder


@dataclass
class TrialRunner:
    """A worker's loop in this process; each call of `run` does one more trial."""

    stores: Stores
    context: StudyContext
    done: int = 0

    def run(self) -> None:
        """Run one trial from its work item to the report to Optuna."""
        self.done += 1
        self.stores.studies.set_budget(self.context.study.id, self.done)
        context = self.context
        work(self.stores, lambda study: context, StopSignals(), home=context.home, only=context.study.stored)

    def workload(self) -> Workload:
        """The same cross-validation as a value for the rivals."""
        images = self.context.images
        recipe = self.context.spec.recipe
        root = Path(str(self.stores.datasets.get(self.context.study.fingerprint).summary["folder"]))
        paths = {path.relative_to(root).as_posix(): path for path in root.rglob("*.jpg")}
        return Workload(
            backbone=str(recipe["backbone"]),
            paths=[paths[identifier] for identifier in images.train_ids],
            y=images.y,
            folds=read_folds(self.stores, self.context.study, SEARCH_SPLIT),
            size=int(recipe["image_size"]),
            batch_size=int(recipe["batch_size"]),
            epochs=int(recipe["epochs"]),
            device=self.context.device,
        )


@contextmanager
def trial_runner(
    work_dir: Path,
    images_dir: Path,
    device: torch.device,
    *,
    backbone: str,
    folds: int,
    size: int,
    epochs: int,
    batch_size: int,
) -> Iterator[TrialRunner]:
    """Create a study of one recipe in ``work_dir`` and open a worker's context for it."""
    study_file = work_dir / "study.toml"
    given = {"folds": folds, "backbone": backbone, "size": size, "epochs": epochs, "batch_size": batch_size}
    study_file.write_text(STUDY.format(**given, longer=epochs + 1))
    stores = open_stores(f"sqlite:///{work_dir / 'retable.db'}", create=True)
    spec = load_study(study_file)
    competition = inspect(images_dir, spec.data.options)
    study = create_study(
        stores,
        StudyPlan(name="one", spec=spec, file_spec=spec, overrides=(), competition=competition, folder=images_dir),
    )
    with BatchLoader(
        fitting_workers(device.type, usable_cores() if device.type == "cuda" else torch.get_num_threads())
    ) as loader:
        resources = WorkerResources(
            worker="benchmark",
            stores=stores,
            home=Home(root=work_dir / "home"),
            folders=(images_dir,),
            device=device,
            loader=loader,
        )
        yield TrialRunner(stores=stores, context=StudyCache(resources).context(study.stored))
    stores.database.close()
