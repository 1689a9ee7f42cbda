"""A small competition, a small study of three trials, and a worker's context for them. Its trainings are real."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from search.runtime.home import Home
from search.runtime.signals import StopSignals
from search.study_setup.create_study import StudyPlan
from search.study_setup.data_folder import inspect
from search.study_state.study import Study
from search.tuning.probing.backbones import ProbeResults
from search.tuning.pruners import make_pruner
from search.tuning.samplers import make_sampler
from search.worker.loop import work
from search.worker.study_context import StudyContext
from search.worker.training.train_item import train
from storage.stores import Stores
from studies.load_study import load_study
from trainer.batches.batch_loader import BatchLoader

STUDY = """
title = "Three colours"

[protocol]
folds = 2

[recipe]
backbone = "test_resnet"
init = "scratch"
image_size = 32
epochs = 3
batch_size = 8
"augment.hflip" = 0.5

[space]
"optimizer.name" = ["adamw", "sgd"]
"optimizer.lr" = [
    { low = 1e-3, high = 1e-2, log = true, default = 5e-3, when = { "optimizer.name" = "adamw" } },
    { low = 1e-2, high = 1e-1, log = true, default = 5e-2, when = { "optimizer.name" = "sgd" } },
]
"loss.label_smoothing" = { low = 0.0, high = 0.1 }

[search]
trials = 3
pruner = "none"
"""

COLOURS = {"blue": (40, 40, 200), "green": (40, 200, 40), "red": (200, 40, 40)}
PER_CLASS = 10
TEST_IMAGES = 6


def write_competition(folder: Path, seed: int = 0) -> Path:
    """Write a competition in Kaggle's layout: noisy images of three colours, ids without extension."""
    rng = np.random.default_rng(seed)

    def draw(path: Path, colour: tuple[int, int, int]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.clip(np.array(colour) + rng.normal(0, 60, (40, 40, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path)

    with (folder / "train.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["picture", "colour"])
        for i in range(PER_CLASS * len(COLOURS)):
            name = list(COLOURS)[i % len(COLOURS)]
            draw(folder / "train" / f"p{i:03}.png", COLOURS[name])
            table.writerow([f"p{i:03}", name])
    with (folder / "sample_submission.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["picture", "colour"])
        for i in rng.permutation(TEST_IMAGES):
            draw(folder / "test" / f"t{i:03}.png", list(COLOURS.values())[i % 3])
            table.writerow([f"t{i:03}", "red"])
    return folder


def study_plan(
    study_file: Path,
    folder: Path,
    *overrides: str,
    name: str = "colours",
    budget: int | None = 3,
    until_deadline: bool = False,
) -> StudyPlan:
    """Plan of the study file on the images of ``folder``, with ``--set`` overrides."""
    spec = load_study(study_file, overrides)
    return StudyPlan(
        name=name,
        spec=spec,
        file_spec=load_study(study_file),
        overrides=overrides,
        competition=inspect(folder, spec.data.options),
        folder=folder,
        budget=budget,
        until_deadline=until_deadline,
    )


def make_context(stores: Stores, stored: Study, folder: Path, home: Path, worker: str = "worker-a") -> StudyContext:
    """A worker's context on the CPU with one thread; the caller closes its loader."""
    torch.set_num_threads(1)
    spec = stored.spec
    study = stores.optuna_study(
        stored.name, make_sampler(spec.search_settings, seed=0, budget=spec.search_settings.trials)
    )
    return StudyContext(
        train=train,
        worker=worker,
        stores=stores,
        study=stored,
        optuna_study=study,
        pruner=make_pruner(spec.search_settings),
        probes=ProbeResults(stores, stored.id, spec),
        images=inspect(folder, spec.data.options).images,
        home=Home(root=home),
        device=torch.device("cpu"),
        loader=BatchLoader(),
    )


def work_on(context: StudyContext, signals: StopSignals | None = None) -> None:
    """Run a worker on the context's study until no work is left."""
    work(context.stores, lambda study: context, signals or StopSignals(), home=context.home, only=context.study.stored)
