"""A search on the GPU that is not there, whose driver reports how busy it is."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch

from search.report.status import show_status
from search.runtime.gpus import usage
from search.study_setup.create_study import create_study
from search.tuning.pruners import Pruner
from search.worker.run_item import run_item
from search.worker.study_context import StudyContext
from storage.stores import open_stores
from tests.search.small_study import STUDY, make_context, study_plan, write_competition
from tests.trainer.training.support import ArrayPixels
from trainer.recipe.recipe import Recipe
from trainer.training.results import EpochReport, TrainingData


class _AfterTwoEpochs(Pruner):
    def gives_up(self, trial: optuna.Trial, report: EpochReport) -> bool:
        return report.epoch == 2


def shared() -> dict[str, Any]:
    """A search of one trial, whose worker measures how busy the GPU is, and what `search status` says of it."""
    usage.INTERVAL, usage.LEAST_SAMPLES = 1e-3, 1
    said: list[str] = []
    training_data = StudyContext.training_data

    def black(self: StudyContext, recipe: Recipe, split: int | None) -> TrainingData:
        data = training_data(self, recipe, split)
        train, test = np.zeros_like(data.pixels.train), np.zeros_like(data.pixels.test)
        return replace(data, pixels=ArrayPixels(train, test), cropped=None)

    StudyContext.training_data = black  # type: ignore[method-assign]
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("search.worker").addHandler(handler)
    logging.getLogger("search.worker").setLevel(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "images").mkdir()
        (root / "study.toml").write_text(STUDY)
        images, url = write_competition(root / "images"), f"sqlite:///{root / 'retable.db'}"
        stores = open_stores(url, create=True)
        study = create_study(stores, study_plan(root / "study.toml", images, budget=2))
        context = replace(
            make_context(stores, study, images, root / "home"),
            device=torch.device("cuda"),
            cores=8,
            pruner=_AfterTwoEpochs(),  # the predictions after the last epoch are arbitrary here, and may not be finite
        )
        context.loader.close()
        item = stores.queue.take(study.id, context.worker, 60.0)
        assert item is not None
        run_item(context, item, lambda: False)
        records = stores.trials.records(study.id)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            show_status(study.name, url, root / "home")
    return {
        "machine": records[0].machine,
        "logged": [line for line in said if "per GPU" in line],
        "status": " ".join(printed.getvalue().split()),
    }
