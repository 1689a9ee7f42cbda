"""The state of a study as a document: what `search status --json` prints. docs/json.md describes every field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search.export.expected_score import read_optimism
from search.report.documents.encode import Document, moment
from search.report.live.activity import read_workers
from search.report.live.schedule import seconds_to_end
from search.report.status import state_of
from search.runtime.disk import disk_use
from search.runtime.home import Home
from search.statistics.ranking import Candidate
from search.study_state.snapshot import StudySnapshot
from search.tuning.warm_starts import origins_of
from storage.stores import Stores
from storage.values import TrialRecord, TrialStatus

SCHEMA = "retable.status"
VERSION = 1
"""Rises when a field changes its meaning or disappears; further fields do not raise it."""


def status_document(stores: Stores, snapshot: StudySnapshot, home: Home) -> Document:
    """The document of a snapshot's study."""
    study = snapshot.study
    origins = origins_of(stores, study.name)
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "generated": moment(stores.database.now()),
        "database": stores.database.name,
        "study": {
            "name": study.name,
            "title": study.spec.title,
            "state": state_of(snapshot),
            "state_reason": study.state_reason,
            "priority": study.stored.priority,
            "begun": moment(study.stored.created),
            "deadline": moment(study.deadline),
            "budget": study.budget,
            "metric": snapshot.metric,
            "folds": study.protocol.folds,
        },
        "progress": _progress(stores, snapshot),
        "best": _best(stores, snapshot),
        "ranking": [_candidate(snapshot, candidate) for candidate in snapshot.ranking],
        "trials": [_trial(record, origins) for record in snapshot.records],
        "failures": [_failure(record) for record in stores.trials.records(study.id, status=TrialStatus.FAILED)],
        "workers": [
            {
                "name": worker.name,
                "host": worker.host,
                "device": worker.device,
                "seen": moment(worker.seen),
                "doing": worker.doing,
                "kind": None if worker.kind is None else str(worker.kind),
                "trial": worker.trial,
                "epochs": worker.epochs,
                "scores": worker.scores,
            }
            for worker in read_workers(stores, snapshot)
        ],
        "imports": [
            {
                "label": record.label,
                "created": moment(record.created),
                "value": record.value,
                "standard_error": record.value_se,
            }
            for record in stores.imports.all(study.id)
        ],
        "exports": [
            {
                "number": record.id,
                "created": moment(record.created),
                "folder": record.folder,
                "value": record.score,
                "standard_error": record.score_se,
                "public_score": record.public_score,
                "private_score": record.private_score,
            }
            for record in stores.exports.all(study.id)
        ],
        "disk": vars(disk_use(stores, home, study.stored)),
    }


def _progress(stores: Stores, snapshot: StudySnapshot) -> Document:
    return {
        "counted": snapshot.counted,
        "running": snapshot.running,
        "waiting": snapshot.waiting,
        "paused": snapshot.trials_paused,
        **{str(status): snapshot.count(status) for status in TrialStatus},
        "probes_planned": snapshot.probes_planned,
        "probes_ended": snapshot.probes_ended,
        "confirmations_done": snapshot.confirms_done,
        "confirmations_open": snapshot.confirms_open,
        "refits_done": snapshot.refits_done,
        "refits_open": snapshot.refits_open,
        "seconds_to_deadline": snapshot.seconds_to_deadline,
        "seconds_to_export": seconds_to_end(stores, snapshot),
    }


def _best(stores: Stores, snapshot: StudySnapshot) -> Document | None:
    """The leader, and its score without selection bias, which two finished trials give."""
    if not snapshot.ranking:
        return None
    optimism = read_optimism(stores, snapshot.study) if snapshot.count(TrialStatus.FINISHED) > 1 else None
    return {
        **_candidate(snapshot, snapshot.ranking[0]),
        "unbiased_value": None if optimism is None else optimism.unbiased.score,
        "unbiased_standard_error": None if optimism is None else optimism.unbiased.error,
    }


def _candidate(snapshot: StudySnapshot, candidate: Candidate) -> Document:
    return {
        "trial": candidate.number,
        "name": snapshot.name_of(candidate.number),
        "value": candidate.value,
        "standard_error": candidate.standard_error,
        "averaged": candidate.averaged,
        "brier": candidate.brier,
    }


def _trial(record: TrialRecord, origins: Mapping[int, str]) -> Document:
    return {
        "trial": record.number,
        "is_probe": record.is_probe,
        "status": str(record.status),
        "value": record.value,
        "standard_error": record.value_se,
        "mean_true_probability": record.mean_true_probability,
        "brier": record.brier,
        "epochs": record.epochs_done,
        "seconds": record.seconds,
        "finished": moment(record.finished),
        "worker": record.worker,
        "origin": None if record.number is None else origins.get(record.number),
        "failure": None if record.failure is None else str(record.failure),
        "reason": record.reason,
        "recipe": record.recipe,
    }


def _failure(record: TrialRecord) -> dict[str, Any]:
    """A failed training of any kind."""
    return {
        "kind": str(record.kind),
        "trial": record.number,
        "split": record.split,
        "seed": record.seed,
        "failure": str(record.failure),
        "reason": record.reason,
        "worker": record.worker,
        "attempt": record.attempt,
        "finished": moment(record.finished),
    }
