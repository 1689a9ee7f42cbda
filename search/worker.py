"""A worker's life: take work, train, store, tell; stop gracefully."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from pathlib import Path

from search.bench import Bench
from search.competition import NoData, open_for_training
from search.deadline import is_time_for_another
from search.engines.local import PARENT_VARIABLE, PLACE_VARIABLE
from search.home import Home
from search.lease import LEASE
from search.ledger import Ledger, open_ledger
from search.objective import run_item, running_trials
from search.patience import patiently
from search.presence import Presence
from search.samplers import make_pruner, make_sampler, sampler_seed
from search.stopping import StopSignals
from search.telling import tell_all
from storage.stored_studies import StoredStudy
from storage.values import StudyState, TrialStatus, WorkKind, WorkState
from studies.spec import StudySpec
from trainer.environment import check_torch_pair

POLL_INTERVAL = 2.0  # seconds between looks at the queue while others still work
MAX_FAILURES = 5  # failed trials in a row after which a study stops: something is wrong that no recipe can mend

log = logging.getLogger(__name__)


def run_worker(url: str, study: str | None, data: Path | None, *, home: Path, weights: Path | None) -> None:
    """Work on a study until nothing is left to do or a stop is requested (then the trial in hand goes back).

    Raises:
        StorageError, DataMismatch, DataError, NoData: nothing was begun.
    """
    parent = os.environ.get(PARENT_VARIABLE)
    signals = StopSignals(parent=int(parent) if parent else None).install()
    ledger = open_ledger(url)
    stored = ledger.study(study)
    check_torch_pair(thorough=True)
    if data is None:
        raise NoData
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    bench = _set_up(ledger, stored, data, Home(root=home), weights, name)
    with bench.loader, Presence(ledger.workers, name, str(bench.device), stored.id):
        # Whoever started this worker also ends it.
        work(bench, signals, linger=parent is not None)


def _set_up(ledger: Ledger, stored: StoredStudy, data: Path, home: Home, weights: Path | None, name: str) -> Bench:
    import torch

    from trainer.loader import BatchLoader

    spec = StudySpec.from_dict(stored.spec)
    images = open_for_training(data, spec, stored.fingerprint)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads:
        torch.set_num_threads(int(threads))
    # Beside a GPU the CPU augments, in processes; without one it is busy training, and a thread does.
    augmenters = (
        max(1, len(os.sched_getaffinity(0)) // max(1, torch.cuda.device_count())) if device.type == "cuda" else 0
    )
    trials = len(ledger.optuna_study(stored.name).get_trials(deepcopy=False))
    seed = sampler_seed(spec.search_settings, os.environ.get(PLACE_VARIABLE, name), trials)
    optuna_study = ledger.optuna_study(stored.name, make_sampler(spec.search_settings, seed))
    optuna_study.pruner = make_pruner(spec.search_settings)
    log.info("worker %s: study %s, %d training images, %s", name, stored.name, len(images.y), device)
    return Bench(
        worker=name,
        ledger=ledger,
        study=stored,
        spec=spec,
        optuna_study=optuna_study,
        images=images,
        home=home,
        device=device,
        loader=BatchLoader(augmenters),
        weights_dir=weights,
    )


def work(bench: Bench, signals: StopSignals, *, linger: bool = False) -> None:
    """Take and run work items until none is left for anybody or a stop is requested; with ``linger``, only the
    latter.
    """
    queue, study_id = bench.ledger.queue, bench.study.id
    earlier_failures = patiently(lambda: bench.ledger.runs.consecutive_failures(study_id))
    while not signals.requested:
        patiently(lambda: tell_all(queue, study_id, bench.optuna_study))
        # Read before the item is taken: from then on a claim without a trial number is ours, and hides orphans.
        orphans = patiently(lambda: queue.orphans(study_id, running_trials(bench.optuna_study)))
        earlier_failures = _stop_after_failures(bench, earlier_failures)
        item = patiently(lambda: queue.take(study_id, bench.worker, LEASE, _kinds_in_time(bench)))
        if item is not None:
            run_item(bench, item, lambda: signals.requested or _paused(bench), orphans)
        elif not linger and not _others_work(bench):
            return
        else:
            # Somebody may yet die and leave a trial to adopt, and `start` may yet want refits.
            time.sleep(POLL_INTERVAL)


def _kinds_in_time(bench: Bench) -> tuple[WorkKind, ...]:
    """What may be begun now: no more trials once another would end too late, but what the export needs."""
    study = bench.ledger.studies.get(bench.study.name)
    records = bench.ledger.runs.records(study.id, kind=WorkKind.SEARCH) if study.deadline is not None else []
    if is_time_for_another(study, records, bench.ledger.database.now()):
        return tuple(WorkKind)
    return (WorkKind.CONFIRM, WorkKind.REFIT)


def _paused(bench: Bench) -> bool:
    return patiently(lambda: bench.ledger.studies.state(bench.study.id)) is StudyState.PAUSED


def _stop_after_failures(bench: Bench, earlier: int) -> int:
    """Stop the study after `MAX_FAILURES` failures in a row beyond the ``earlier`` ones, which somebody may have
    mended.

    Returns:
        How many of the failures in a row are earlier ones: none any more once a trial has come out.
    """
    failures = patiently(lambda: bench.ledger.runs.consecutive_failures(bench.study.id))
    earlier = min(earlier, failures)
    if failures - earlier >= MAX_FAILURES:
        last = patiently(lambda: bench.ledger.runs.records(bench.study.id, status=TrialStatus.FAILED))[-1]
        reason = f"{failures} trials in a row failed, the last one with: {last.reason}"
        patiently(lambda: bench.ledger.studies.set_state(bench.study.id, StudyState.STOPPED, reason))
    return earlier


def _others_work(bench: Bench) -> bool:
    counts = patiently(lambda: bench.ledger.queue.counts(bench.study.id))
    return any(states[WorkState.LEASED] for states in counts.values())
