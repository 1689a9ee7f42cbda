"""Probes on reduced images, on a real study with tiny networks and checkpoints that the tests make."""

from __future__ import annotations

from search.study_state.optuna_attributes import PROBE_SIZE_ATTRIBUTE
from search.tuning.probing.next_trial import _wanted_probes
from search.worker.study_context import StudyContext
from storage.values import TrialStatus, WorkKind
from tests.search.small_study import work_on
from tests.search.tuning.probing.networks import NETWORKS, Make

SIZE = "recipe.image_size=96"
"""A change with which the study has a probe on images of 64 pixels, and two on 96."""


def probed(context: StudyContext) -> list[tuple[int, TrialStatus]]:
    records = context.stores.trials.records(context.study.id, kind=WorkKind.SEARCH)
    return [((r.recipe or {})["image_size"], r.status) for r in records if r.is_probe]


def test_the_probe_on_reduced_images_comes_first_and_compares_no_backbones(make: Make) -> None:
    context = make(1, SIZE, "probe.enlarge=1")
    work_on(context)
    assert probed(context) == [(64, TrialStatus.FINISHED), (96, TrialStatus.FINISHED), (96, TrialStatus.FINISHED)]
    assert {backbone.name for backbone in context.probes.ranked} == set(NETWORKS)
    assert len(context.probes.settled) == 2


def test_a_waiting_probe_on_reduced_images_keeps_those_on_enlarged_ones(make: Make) -> None:
    """What is not wanted ends. After `search retry`, the probe on reduced images may be the last that waits."""
    context = make(1, SIZE, "probe.enlarge=1.3")
    resized = [t for t in context.optuna_study.get_trials() if PROBE_SIZE_ATTRIBUTE in t.user_attrs]
    work_on(context)
    wanted = [t.user_attrs[PROBE_SIZE_ATTRIBUTE] for t in _wanted_probes(context.study, resized, context.probes)]
    assert len(wanted) == 3 and wanted[0] == 64 and min(wanted[1:]) > 96
