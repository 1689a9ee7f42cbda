"""``search pretrain``: trains the planned weights on a worker, and registers them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.console import Console

from search.engines.plan import plan_fleet
from search.runtime.console import loud, note, open_console, say
from search.runtime.errors import SearchError
from search.runtime.home import Home
from search.runtime.kept_networks import kept_networks
from search.study_setup.data_folder import progress_line
from search.study_setup.deadline import set_deadline
from search.study_state.snapshot import StudySnapshot, read_snapshot
from search.study_state.stages import search_is_over
from search.study_state.study import PRETRAINING_PREFIX, Study
from search.tuning.retry import retry_host_failures
from search.workflow.pretraining.admission import probe_gain
from search.workflow.pretraining.messages import print_next, print_plan
from search.workflow.pretraining.prepare import PretrainingPlan, PretrainRequest, prepare_pretraining
from search.workflow.pretraining.register import CannotRegister, is_whole, register
from search.workflow.start import begin_or_continue
from search.workflow.watch import run_search
from storage.database.outages import OUTAGE_TIMEOUT
from storage.stores import Stores, open_stores, stores_if_any
from storage.values import StudyState, TrialRecord, TrialStatus
from trainer.formats.weights.description import SELF_SUPERVISED, SUPERVISED, WeightsDescription
from trainer.inference.printable import excerpt
from trainer.training.throughput import best_device

LATER_ATTEMPTS = 99
"""Most pre-trainings with the same data and settings, each after the networks of the one before were lost."""


class NothingToRegister(SearchError):
    """A pre-training ended without a network."""


def pretrain(request: PretrainRequest) -> None:
    """Train weights on labelled images and register them. The same command continues an interrupted training.

    All input is checked before anything is written.

    Raises:
        CannotRegister: the name has other weights, or the files cannot be written; nothing was trained.
        StudyError, BackboneError, DataError, EnvironmentProblem, DeviceError, StorageError: bad input.
        WorkersLost: the worker died; the last checkpoint is kept.
        NothingToRegister: the training failed, or the deadline came before its first epoch ended.
    """
    console = open_console()
    # One training has one worker.
    workers = replace(request.workers, workers=1)
    planned = plan_fleet(workers)
    plan = prepare_pretraining(request, console)
    _check_name(plan, request)
    known = plan.known
    if known is not None and known.request == plan.request and is_whole(plan.folder, known):
        shown = known.note or known.scored
        say(console, f"{plan.name} is registered already, with these images and settings: {shown}.")
        print_next(console, plan)
        return
    home = Home(root=request.workers.home)
    existing = stores_if_any(request.storage_url, create=True)
    name = study_name(existing, plan, home)
    others = [] if existing is None else list(_unfinished(existing, plan, name))
    if others and not request.replace:
        raise CannotRegister(
            f"a pre-training of {plan.name} with other images or settings has not ended ({others[0].name}). The "
            "command that began it continues it; --replace ends it and trains these weights, and another --name keeps "
            "both"
        )
    print_plan(console, plan, planned.where)
    for line in planned.notes:
        note(console, line)
    stores = open_stores(request.storage_url, create=True, outage_timeout=OUTAGE_TIMEOUT)
    for other in others:
        stores.studies.set_state(other.id, StudyState.STOPPED, "replaced by another pre-training of this name")
    study, _ = begin_or_continue(stores, replace(plan.study, name=name))
    retry_host_failures(stores, study)
    begun = stores.database.now() - (time.monotonic() - request.begun)
    study, deadline = set_deadline(stores, study, request.hours, begun=begun)
    if deadline:
        say(console, deadline)
    if not search_is_over(read_snapshot(stores, name)):
        run_search(stores, study, planned, request.data, workers, home, console)
    record = _finished(read_snapshot(stores, name), plan)
    verdict = ""
    if plan.labelled is not None:
        admitted, verdict = _judge(plan, study, record, home, request, console)
        if not admitted:
            with loud(console):
                say(console, verdict)
            return
    description = _register(plan, study, record, home, plan.folder, verdict)
    with loud(console):
        say(console, f"Registered {plan.name} in {plan.folder}: {verdict or description.scored}.")
        if record.reason:
            note(console, excerpt(record.reason))
        print_next(console, plan)


def study_name(stores: Stores | None, plan: PretrainingPlan, home: Home) -> str:
    """Name of the study of a pre-training: a new one after a finished training whose network this home lacks."""
    names = [plan.study.name, *(f"{plan.study.name}.{number}" for number in range(2, LATER_ATTEMPTS + 1))]
    for name in names:
        stored = None if stores is None else stores.studies.find(name)
        if stores is None or stored is None:
            return name
        finished = _finished_record(read_snapshot(stores, name))
        if finished is None or kept_networks(home, name, finished):
            return name
    raise NothingToRegister(
        f"the networks of {LATER_ATTEMPTS} trainings of {plan.name} were lost: choose another --name"
    )


def _check_name(plan: PretrainingPlan, request: PretrainRequest) -> None:
    known = plan.known
    if known is None or request.replace or known.request == plan.request:
        return
    raise CannotRegister(
        f"{plan.name} is registered in {plan.folder} with other images or settings: {known.words}; {known.scored}. "
        "--replace trains it again, and another --name keeps both"
    )


def _unfinished(stores: Stores, plan: PretrainingPlan, name: str) -> Iterator[Study]:
    """Pre-trainings of the same name with other data or settings that still run or wait."""
    pattern = re.compile(rf"{PRETRAINING_PREFIX}{re.escape(plan.name)}-[0-9a-f]{{8}}(\.\d+)?")
    for stored in stores.studies.all():
        if stored.name == name or not pattern.fullmatch(stored.name) or stored.state is StudyState.STOPPED:
            continue
        study = Study.of(stored)
        if study.is_pretraining and not search_is_over(read_snapshot(stores, stored.name)):
            yield study


def _finished_record(snapshot: StudySnapshot) -> TrialRecord | None:
    return next((record for record in snapshot.records if record.status is TrialStatus.FINISHED), None)


def _finished(snapshot: StudySnapshot, plan: PretrainingPlan) -> TrialRecord:
    """The record of the training.

    Raises:
        NothingToRegister: it has not finished.
    """
    record = _finished_record(snapshot)
    if record is not None:
        return record
    if snapshot.records:
        last = snapshot.records[-1]
        raise NothingToRegister(
            f"the pre-training of {plan.name} {last.status} ({excerpt(last.reason) or 'no reason given'}). A lower "
            "--set recipe.optimizer.lr, a smaller --image-size or another --backbone may do; nothing is registered"
        )
    if snapshot.study.state is StudyState.STOPPED:
        raise NothingToRegister(
            f"the pre-training of {plan.name} is stopped ({snapshot.study.state_reason or 'no reason given'}) before "
            "it has a network. The same command continues it"
        )
    raise NothingToRegister(
        f"the deadline came before the pre-training of {plan.name} had a network. The same command with --hours +1 "
        "continues it for another hour"
    )


def _judge(
    plan: PretrainingPlan, study: Study, record: TrialRecord, home: Home, request: PretrainRequest, console: Console
) -> tuple[bool, str]:
    """Compare the probe of self-supervised weights with that of the weights from which they began.

    Returns:
        Whether they are better by more than a standard error, and the comparison in words.
    """
    assert plan.labelled is not None, "self-supervised weights are judged by labelled images"
    recipe = record.recipe or {}
    begin, where = str(recipe["init"]), plan.study.weights_dir
    with (
        TemporaryDirectory(prefix="retable-") as folder,
        progress_line(console, f"Probing {begin} and {plan.name} …"),
    ):
        _register(plan, study, record, home, Path(folder), "")
        gain = probe_gain(
            plan.labelled,
            backbone=str(recipe["backbone"]),
            image_size=int(recipe["image_size"]),
            new=(plan.name, Path(folder)),
            old=(begin, where),
            home=home,
            device=best_device() if request.workers.gpus is None or request.workers.gpus else torch.device("cpu"),
        )
    words = f"{gain.mean:+.4f} ± {gain.error:.4f} (probe, mean probability of the true class, paired) against {begin}"
    if gain.real:
        return True, words
    return False, (
        f"{plan.name} does not help: {words}. It is not registered, so that no study begins from it. More --epochs, or "
        "another --set recipe.optimizer.lr, would be another training"
    )


def _register(
    plan: PretrainingPlan, study: Study, record: TrialRecord, home: Home, folder: Path, note: str
) -> WeightsDescription:
    networks = kept_networks(home, study.name, record)
    if not networks:
        raise NothingToRegister(
            f"the network of {plan.name} is not in {home.root}: another worker ({record.worker}) trained it with a "
            "home of its own. Type the command there, or again here to train it here"
        )
    by_index = plan.labelled is not None
    return register(
        folder,
        networks[0],
        name=plan.name,
        record=record,
        data=plan.data,
        method=SELF_SUPERVISED if by_index else SUPERVISED,
        classes=len(plan.images.class_names),
        metric=study.metric,
        held_out=0 if by_index else plan.held_out,
        request=plan.request,
        weights_dir=plan.study.weights_dir,
        note=note,
    )
