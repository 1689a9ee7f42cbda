"""A study of two tiny networks, with checkpoints that the tests make."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from search.study_setup.create_study import create_study
from search.worker.study_context import StudyContext
from storage.stores import Stores
from tests.search.small_study import STUDY, make_context, study_plan
from tests.search.tuning.probing.networks import NETWORKS, Make

SWEEP = STUDY.replace('backbone = "test_resnet"\n', "").replace('"scratch"', '"pretrained"')


@pytest.fixture
def make(stores: Stores, tmp_path: Path, competition_folder: Path) -> Iterator[Make]:
    """Makes a worker's context for a new study of two networks and a budget."""
    weights = tmp_path / "weights"
    weights.mkdir()
    torch.manual_seed(0)
    for name in NETWORKS:
        save_file(timm.create_model(name, num_classes=10).state_dict(), weights / f"{name}.safetensors")
    made: list[StudyContext] = []

    def context_of(budget: int, *overrides: str) -> StudyContext:
        file = tmp_path / "sweep.toml"
        names = ", ".join(f'"{name}"' for name in NETWORKS)
        file.write_text(SWEEP.replace("[space]\n", f"[space]\nbackbone = [{names}]\n"))
        changes = (f"search.trials={budget}", *overrides)
        study = create_study(stores, study_plan(file, competition_folder, *changes, budget=budget))
        made.append(replace(make_context(stores, study, competition_folder, tmp_path / "home"), weights_dir=weights))
        return made[-1]

    yield context_of
    for context in made:
        context.loader.close()
