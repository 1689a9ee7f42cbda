"""The next trial of a study: first probes, then waiting trials by the probes of their backbones, then new ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.study_state.optuna_attributes import (
    EPOCHS_ATTRIBUTE,
    ORIGIN_ATTRIBUTE,
    PROBE_ATTRIBUTE,
    PROBE_SIZE_ATTRIBUTE,
)
from search.study_state.study import Study
from search.tuning.probing.backbones import LEAST_KEPT, ProbedBackbone, ProbeResults
from search.tuning.probing.further_probe import (
    enqueue_further_probe,
    finished_trials,
    is_time_for_further_probe,
    unbeaten_probe,
)
from search.tuning.probing.probe_time import is_time_for_probe
from search.tuning.restore_optuna import record_enqueued
from search.tuning.suggest import sampled_value
from storage.database.locks import Purpose, exclusive
from storage.optuna_storage.optuna_trials import FIXED_PARAMS, begin_waiting, end_waiting, set_fixed_params
from storage.records.enqueued_trials import EnqueuedRecord
from storage.stores import Stores
from storage.values import DEFAULT_TRIAL, TrialRecord, TrialStatus
from studies.space.fit_recipe import fit
from studies.spec import StudySpec

NO_TIME = "the probes have had their share of the time until the deadline"
"""Reason of a probe that never began."""
NOT_ENLARGED = "only the best backbones are probed on enlarged images"
"""Reason of a probe that never began."""
PROBED = "probed"
"""Source of a trial that fine-tunes one of the best-probed backbones, see
`search.study_state.optuna_attributes.ORIGIN_ATTRIBUTE`.
"""
CLEARLY_WORSE = "the probe of its backbone is clearly worse than the best"
"""Reason of a trial that never began."""


def begin_next_trial(
    stores: Stores,
    study: Study,
    optuna_study: optuna.Study,
    probes: ProbeResults,
    has_room: Callable[[], bool] = lambda: True,
) -> optuna.Trial | None:
    """Begin the next trial.

    Once all probes have ended, the study's default recipe is enqueued with each of the best-probed backbones
    (`LEAST_KEPT`), and with the starting weights whose probe beats that of its own; waiting trials end whose backbone
    has a probe that is clearly worse. Trial 0 stays, because
    others are compared with it: it is the first or the second that is trained. It gets the best-probed backbone if
    every probe of its own failed. Where the trials so far gain nothing over the best probe, its backbone is probed once
    more on still larger images.

    Args:
        has_room: whether the budget allows another trial that is no probe.

    Returns:
        None if no probe waits and the budget is used up.
    """
    trials = optuna_study.get_trials(deepcopy=False)
    probing = [trial for trial in trials if PROBE_ATTRIBUTE in trial.user_attrs]
    comparing = [trial for trial in probing if PROBE_SIZE_ATTRIBUTE not in trial.user_attrs]
    waiting = [trial for trial in probing if trial.state is TrialState.WAITING]
    unsettled = any(trial.number not in probes.settled for trial in comparing)
    compared = all(trial.state.is_finished() for trial in comparing)
    if unsettled or waiting:
        ended = probes.read()
        wanted = _wanted_probes(study, waiting, probes)
        if compared:
            _cancel(stores, study, optuna_study, [trial for trial in waiting if trial not in wanted], NOT_ENLARGED)
        begun = _begin_probe(stores, study, optuna_study, wanted, ended, probes)
        if begun is not None:
            return begun
    if not has_room():
        _forget_ended(stores, study.id, optuna_study)
        return None
    # Another worker may have begun a probe that waits in this copy of the trials.
    if unsettled and compared:
        _replace_failed_default(stores, study, optuna_study, probes.kept)
        _enqueue_best(stores, study, optuna_study, probes.kept)
        _enqueue_better_start(stores, study, optuna_study, probes)
        probes.settled = frozenset(trial.number for trial in comparing)
    if comparing and probes.may_go_further:
        begun = _begin_further_probe(stores, study, optuna_study, probes)
        if begun is not None:
            return begun
    return _begin_waiting_trial(optuna_study, probes) or optuna_study.ask()


def _begin_further_probe(
    stores: Stores, study: Study, optuna_study: optuna.Study, probes: ProbeResults
) -> optuna.Trial | None:
    """Begin a probe of the best-probed backbone on still larger images, if trials have gained nothing over its probe
    and there is time.
    """
    finished = finished_trials(stores, study.id)
    if all(record.is_probe for record in finished):
        return None
    best = unbeaten_probe(finished)
    probes.may_go_further = best is not None
    if best is None or not is_time_for_further_probe(study, finished, best, stores.database.now()):
        return None
    probes.may_go_further = False
    number = enqueue_further_probe(stores, study, optuna_study, best)
    return None if number is None else begin_waiting(optuna_study, number)


def _wanted_probes(study: Study, waiting: Sequence[FrozenTrial], probes: ProbeResults) -> list[FrozenTrial]:
    """The waiting probes that may begin: that on reduced images, then all that compare backbones, then the best ones on
    enlarged images.
    """
    reduced = [trial for trial in waiting if _is_reduced(trial, probes)]
    comparing = [trial for trial in waiting if PROBE_SIZE_ATTRIBUTE not in trial.user_attrs]
    if comparing:
        return reduced + comparing
    rank = {backbone.name: number for number, backbone in enumerate(probes.kept[:LEAST_KEPT])}
    best = [trial for trial in waiting if trial not in reduced and _probed_backbone(study, trial) in rank]
    return reduced + sorted(best, key=lambda trial: (rank[_probed_backbone(study, trial)], trial.number))


def _is_reduced(trial: FrozenTrial, probes: ProbeResults) -> bool:
    """Whether a probe has smaller images than those that compare backbones."""
    size = trial.user_attrs.get(PROBE_SIZE_ATTRIBUTE)
    return size is not None and int(size) < probes.smallest_size


def _begin_probe(
    stores: Stores,
    study: Study,
    optuna_study: optuna.Study,
    waiting: Sequence[FrozenTrial],
    ended: Sequence[TrialRecord],
    probes: ProbeResults,
) -> optuna.Trial | None:
    """Begin the first waiting probe; None if none waits, or if they have had their share of the time, which ends them.

    Args:
        ended: records of the probes that have ended.
    """
    now = stores.database.now()
    late = [trial for trial in waiting if not _is_in_time(study, ended, trial, now, probes)]
    _cancel(stores, study, optuna_study, late, NO_TIME)
    for trial in waiting:
        if trial not in late and (begun := begin_waiting(optuna_study, trial.number)) is not None:
            return begun
    return None


def _cancel(
    stores: Stores, study: Study, optuna_study: optuna.Study, waiting: Sequence[FrozenTrial], reason: str
) -> None:
    """End probes that wait, for a reason."""
    ended = [trial.number for trial in waiting if end_waiting(optuna_study, trial.number, reason)]
    stores.enqueued.remove(study.id, ended)


def _forget_ended(stores: Stores, study_id: int, optuna_study: optuna.Study) -> None:
    """Remove the record of every probe that ended without a work item, so that it no longer counts as waiting.

    A worker that was killed between the two steps of cancelling a probe leaves such a record.
    """
    recorded = {trial.number for trial in stores.enqueued.all(study_id) if PROBE_ATTRIBUTE in trial.attributes}
    never_begun = recorded - stores.queue.assigned_trials(study_id).keys()
    if never_begun:
        open_trials = [t for t in optuna_study.get_trials(deepcopy=False) if not t.state.is_finished()]
        stores.enqueued.remove(study_id, never_begun - {trial.number for trial in open_trials})


def _begin_waiting_trial(optuna_study: optuna.Study, probes: ProbeResults) -> optuna.Trial | None:
    """Begin the first waiting trial, by the probe of its backbone and then by number; None if none waits."""
    rank = {backbone.name: number for number, backbone in enumerate(probes.kept)}
    trained = [t for t in optuna_study.get_trials(deepcopy=False) if PROBE_ATTRIBUTE not in t.user_attrs]
    is_first = all(trial.state is TrialState.WAITING for trial in trained)
    waiting = optuna_study.get_trials(deepcopy=False, states=(TrialState.WAITING,))

    def order(trial: FrozenTrial) -> tuple[bool, int, int]:
        comes_next = trial.number == DEFAULT_TRIAL and not is_first
        return not comes_next, rank.get(backbone_of(trial), len(rank)), trial.number

    distances = probes.distances if probes.settled else {}
    for trial in sorted(waiting, key=order):
        if math.isinf(distances.get(backbone_of(trial), 0.0)) and trial.number != DEFAULT_TRIAL:
            end_waiting(optuna_study, trial.number, CLEARLY_WORSE)
        elif (begun := begin_waiting(optuna_study, trial.number)) is not None:
            return begun
    return None


def backbone_of(trial: FrozenTrial) -> str:
    """The sampled backbone of a trial, which may wait; empty if it samples none."""
    return str(sampled_value(trial, "backbone") or "")


def _enqueue_best(stores: Stores, study: Study, optuna_study: optuna.Study, kept: Sequence[ProbedBackbone]) -> None:
    """Enqueue the default recipe with each of the best-probed backbones that no other trial has."""
    if len(kept) < 2:
        return
    with exclusive(stores.database, Purpose.TRIALS):
        tried = {
            backbone_of(trial)
            for trial in optuna_study.get_trials(deepcopy=False)
            if PROBE_ATTRIBUTE not in trial.user_attrs
        }
        for number, backbone in enumerate(kept[:LEAST_KEPT], 1):
            params = _default_with(study.spec, backbone.name) if backbone.name not in tried else None
            if params is not None:
                origin = f"{PROBED}: {backbone.name} has rank {number} of {len(kept)} by the probes at one image size"
                attributes = {EPOCHS_ATTRIBUTE: study.spec.recipe["epochs"], ORIGIN_ATTRIBUTE: origin}
                optuna_study.enqueue_trial(params, user_attrs=attributes)
        record_enqueued(stores, study.id, optuna_study)


def _enqueue_better_start(stores: Stores, study: Study, optuna_study: optuna.Study, probes: ProbeResults) -> None:
    """Enqueue the default recipe with other starting weights, if their probe beats that of its own."""
    default = study.spec.default_recipe()
    backbone, init = str(default["backbone"]), str(default["init"])
    start = probes.better_start(backbone, init)
    wanted = {"backbone": backbone, "init": str(start)}
    found = None if start is None else fit(study.spec.space, study.spec.recipe, wanted)
    if found is None or found.misfits:
        return
    with exclusive(stores.database, Purpose.TRIALS):
        trials = [t for t in optuna_study.get_trials(deepcopy=False) if PROBE_ATTRIBUTE not in t.user_attrs]
        if any({**t.system_attrs.get(FIXED_PARAMS, {}), **t.params} == dict(found.params) for t in trials):
            return
        origin = f"{PROBED}: begins with {start}, whose probe is better than that of {init}"
        attributes = {EPOCHS_ATTRIBUTE: study.spec.recipe["epochs"], ORIGIN_ATTRIBUTE: origin}
        optuna_study.enqueue_trial(dict(found.params), user_attrs=attributes)
        record_enqueued(stores, study.id, optuna_study)


def _replace_failed_default(
    stores: Stores, study: Study, optuna_study: optuna.Study, kept: Sequence[ProbedBackbone]
) -> None:
    """Give trial 0 the best-probed backbone if it waits and its own backbone has been probed without success."""
    with exclusive(stores.database, Purpose.TRIALS):
        first = next((t for t in optuna_study.get_trials(deepcopy=False) if t.number == DEFAULT_TRIAL), None)
        if first is None or first.state is not TrialState.WAITING or not kept:
            return
        own = backbone_of(first)
        probes = [r for r in stores.trials.records(study.id) if r.is_probe and (r.recipe or {}).get("backbone") == own]
        params = _default_with(study.spec, kept[0].name)
        if params is None or not probes or any(record.status is TrialStatus.FINISHED for record in probes):
            return
        set_fixed_params(optuna_study, DEFAULT_TRIAL, params)
        replaced = EnqueuedRecord(number=DEFAULT_TRIAL, params=params, attributes=dict(first.user_attrs))
        stores.enqueued.remove(study.id, [DEFAULT_TRIAL])
        stores.enqueued.add(study.id, [replaced])


def _default_with(spec: StudySpec, backbone: str) -> dict[str, object] | None:
    """Parameters of the default recipe with another backbone; None if the study samples no such recipe."""
    found = fit(spec.space, spec.recipe, {"backbone": backbone})
    return None if found is None or found.misfits else dict(found.params)


def _probed_backbone(study: Study, trial: FrozenTrial) -> str:
    """The backbone of a probe, which samples it or has that of the study."""
    return backbone_of(trial) or str(study.spec.recipe["backbone"])


def _is_in_time(
    study: Study, ended: Sequence[TrialRecord], trial: FrozenTrial, now: float, probes: ProbeResults
) -> bool:
    """Whether a waiting probe may begin ``now``, Unix seconds; see `is_time_for_probe`."""
    on_larger_images = PROBE_SIZE_ATTRIBUTE in trial.user_attrs and not _is_reduced(trial, probes)
    return is_time_for_probe(study, ended, _probed_backbone(study, trial), now, on_larger_images=on_larger_images)
