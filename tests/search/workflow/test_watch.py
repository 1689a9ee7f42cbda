"""Local workers that start because no worker elsewhere is left."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from search.engines.plan import Workers
from search.runtime.console import open_console
from search.runtime.gpus.listing import DeviceError, Gpu
from search.runtime.home import Home
from search.study_setup.create_study import create_study
from search.workflow.watch import watch_with_local_workers
from storage.stores import Stores
from tests.search.small_study import study_plan


def test_late_workers_whose_gpus_are_taken_name_the_command_that_goes_on(
    stores: Stores, study_file: Path, competition_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = create_study(stores, study_plan(study_file, competition_folder))
    taken = Gpu(index=0, uuid="GPU-a", name="T4", memory_used=9_000, memory_total=15_360)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("search.engines.plan.list_gpus", lambda: (taken,))
    home = Home(root=tmp_path / "home")
    with ExitStack() as stack:
        until = watch_with_local_workers(
            stack,
            stores,
            study,
            competition_folder,
            Workers(home=home.root, engine="ray"),
            home,
            open_console(),
            shown=0,
            start_local_workers=lambda snapshot: True,
        )
        with pytest.raises(DeviceError) as caught:
            until(lambda snapshot: False)
    assert "9000 of 15360 MiB are in use; --gpus 0 uses it anyway" in str(caught.value)
    assert f"`search export-best --study {study.name} --gpus none`" in str(caught.value)
