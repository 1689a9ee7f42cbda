"""A study with an export, of which second studies are made, and the parts of a second study that tests replace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from search.engines.plan import Workers
from search.export.files import write_export
from search.export.final_model import gather_refits
from search.export.plan import plan_export, queue_refits
from search.study_setup.create_study import create_study
from search.study_state.study import Study
from search.worker.study_context import StudyContext
from search.workflow.second_study.prepare import SecondRequest
from search.workflow.single.exported_ensemble import ExportedModel, open_export
from storage.stores import open_stores
from tests.search.small_study import STUDY, make_context, study_plan, work_on

FOLDS, SEEDS = 3, 2


class FirstStudy:
    """A study with an export of two seeds, and what it takes to train a second one in this process."""

    def __init__(self, root: Path, competition: Path) -> None:
        self.root, self.url, self.data = root, f"sqlite:///{root / 'retable.db'}", competition
        weights = root / "weights"
        weights.mkdir()
        torch.manual_seed(0)
        save_file(timm.create_model("test_resnet", num_classes=1000).state_dict(), weights / "test_resnet.safetensors")
        final = f"\n[final]\nseeds = {SEEDS}\ntta = false\ncalibrate = false\n"
        (root / "colours.toml").write_text(STUDY.replace('"scratch"', '"pretrained"') + final)
        self.stores = open_stores(self.url, create=True)
        changes = ("recipe.epochs=4", f"protocol.folds={FOLDS}", "probe.enabled=false", "recipe.head=probe")
        plan = study_plan(root / "colours.toml", competition, *changes, "protocol.metric=log_loss", budget=1)
        self.study = create_study(self.stores, replace(plan, weights_dir=weights))
        self.context = self.context_of(self.study)
        self.home = self.context.home
        work_on(self.context)
        self.export()

    def context_of(self, study: Study) -> StudyContext:
        context = make_context(self.stores, study, self.data, self.root / "home")
        return replace(context, weights_dir=self.root / "weights")

    def export(self) -> None:
        plan = plan_export(self.stores, self.study, seeds=None, full_data=False, home=self.home)
        ids = queue_refits(self.stores, plan, self.home)
        work_on(self.context)
        refits = gather_refits(self.stores, plan, ids)
        write_export(self.stores, plan, refits, self.context.images, self.home, self.home.root / "colours", None)

    def opened(self) -> ExportedModel:
        return open_export(self.stores, "colours", self.home, None, None)

    def request(self, study: str, first: str = "colours", option: str = "--pseudo-from") -> SecondRequest:
        workers = Workers(home=self.home.root, gpus=(), workers=1)
        return SecondRequest(
            option=option, study=study, first=first, data=None, storage_url=self.url, output=None, workers=workers
        )


def adopt(monkeypatch: pytest.MonkeyPatch, *, always: bool) -> None:
    """Let every gain count as real, or none."""
    monkeypatch.setattr("search.statistics.paired_gain.REAL", -1e9 if always else 1e9)
