"""Waiting for a study: local workers that start because no worker elsewhere is left, and a stop."""

from __future__ import annotations

import io
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

import pytest
from rich.console import Console

from search.engines.plan import Workers
from search.runtime.console import open_console
from search.runtime.gpus.listing import DeviceError, Gpu
from search.runtime.home import Home
from search.runtime.signals import StopSignals
from search.study_setup.create_study import create_study
from search.study_state.study import Study
from search.workflow.watch import Interrupted, watch, watch_with_local_workers
from storage.stores import Stores
from tests.search.end_trials import end_next
from tests.search.small_study import study_plan


class Fleet:
    """A fleet whose trial ends with its last epoch, after the stop was requested."""

    def __init__(self, stores: Stores, study: Study) -> None:
        self._stores, self._study = stores, study

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *exc: object) -> None: ...

    def poll(self) -> bool:
        return True

    def waits_for(self) -> str:
        return ""

    def dead_workers(self) -> Collection[str]:
        return ()

    def crash_report(self) -> str:
        return ""

    def ask_to_stop(self) -> None:
        end_next(self._stores, self._study, 0.75)

    def wait(self, timeout: float) -> bool:
        return True

    def kill(self) -> None: ...


def test_a_trial_that_ends_after_a_stop_was_requested_is_printed(stores: Stores, stored: Study) -> None:
    output = io.StringIO()
    with pytest.raises(Interrupted):
        watch(
            stores,
            stored.name,
            lambda snapshot: False,
            fleet=Fleet(stores, stored),
            signals=StopSignals(parent=-1),  # the parent is gone, which counts as the first signal
            console=Console(file=output, width=100),
        )
    lines = [line for line in output.getvalue().splitlines() if line.startswith(("Stopping", "trial"))]
    assert [line.split()[0] for line in lines] == ["Stopping:", "trial"] and "0.7500" in lines[1]


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
