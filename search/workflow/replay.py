"""``search replay``: trains a stored trial again and compares the predictions. It writes nothing to the database.

A finished trial is compared by all out-of-fold probabilities (float32, as computed). A pruned trial is compared by the
probability of the true class after each epoch (float16, as stored).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search.runtime.console import open_console, say
from search.runtime.errors import SearchError
from search.runtime.home import Home
from search.statistics.member_names import MemberName
from search.statistics.reproducibility import (
    MEAN_DIFFERENCE,
    PredictionDifference,
    compare_predictions,
    different_facts,
    is_reproduced,
    must_be_equal,
)
from search.study_setup.data_folder import NoData, known_folder
from search.study_setup.open_images import open_for_training
from search.study_setup.weights_folder import weights_folder
from search.study_state.study import Study, read_study, require_search
from search.study_state.study_targets import read_folds, read_weights
from search.study_state.training_costs import is_fine_tuned
from search.worker.study_context import training_data
from search.worker.training.outcome import outcome_of
from storage.stores import Stores, open_stores
from storage.values import EpochCurve, TrialOutcome, TrialRecord, TrialStatus, WorkKind
from trainer.common.environment import check_torch_pair, usable_cores
from trainer.data.image_set import ImageSet
from trainer.evaluation.targets import Targets
from trainer.inference.printable import excerpt
from trainer.inference.resources import available_memory
from trainer.recipe.recipe import Recipe

if TYPE_CHECKING:
    import torch

    from trainer.training.results import EpochReport, Verdict

MOST_THREADS = 512
"""Torch threads above which a record is not believed: the system might not start so many."""

log = logging.getLogger(__name__)


class CannotReplay(SearchError):
    """There is no such trial, or it has no stored predictions to compare with."""


@dataclass(frozen=True, kw_only=True)
class ReplayRequest:
    """Options of ``search replay``."""

    study: str | None
    """Name of the study; None: the latest study."""
    trial: int
    """Number of the trial."""
    data: Path | None
    """Folder of images; None: the folder that the database knows."""
    storage_url: str
    home: Path
    """Home folder, see `search.runtime.home`."""
    weights: Path | None
    """Folder of pre-trained weights; None: the one that the study remembers."""


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """A trial and its second training."""

    record: TrialRecord
    """The stored result of the first training."""
    outcome: TrialOutcome
    """The result of the second training."""
    images: int
    """Number of training images."""
    difference: PredictionDifference

    @property
    def changed_facts(self) -> dict[str, tuple[Any, Any]]:
        """Facts about the machine that differ, as (then, now); see `search.statistics.reproducibility.FACTS`."""
        return different_facts(self.record.machine, self.outcome.machine)

    @property
    def exactly(self) -> bool:
        """Whether the predictions have to be equal to the last bit."""
        return must_be_equal(self.record.machine, self.outcome.machine)

    @property
    def allowed(self) -> float:
        """Largest allowed difference of the metric, unless `exactly`: one standard error, but at least one image."""
        return max(self.record.value_se or 0.0, self.outcome.value_se or 0.0, 1 / self.images)

    @property
    def is_as_recorded(self) -> bool:
        """Whether the second training reproduced the first within the tolerance."""
        difference = abs((self.record.value or 0.0) - (self.outcome.value or 0.0))
        return is_reproduced(self.difference, exactly=self.exactly, metric_difference=difference, allowed=self.allowed)


def replay(request: ReplayRequest) -> bool:
    """Train a trial again and print how much its predictions differ from the stored ones.

    Returns:
        Whether the difference is within the tolerance.

    Raises:
        CannotReplay, UnknownStudyError, NoStudy: there is nothing to compare with.
        NoData, NoWeights, DataMismatch, DataError, BackboneError: images or weights are missing.
    """
    check_torch_pair()
    stores = open_stores(request.storage_url)
    try:
        study = require_search(read_study(stores, request.study), "repeats")
        record = _find_record(stores, study, request.trial)
        folder = request.data or known_folder(stores, study.stored)
        if folder is None:
            raise NoData
        images = open_for_training(folder, study, stores)
        then = _comparable(stores.trials.curves(record.id), _stored_oof(stores, record))
        console = open_console()
        outcome = _train(stores, study, record, images, request)
    finally:
        stores.database.close()
    name = f"Trial {record.number} of study {study.name}"
    if (outcome.status, outcome.epochs_done) != (record.status, record.epochs_done):
        say(
            console,
            f"{name} was {_ended(record, record)}; now it is {_ended(record, outcome)}: "
            f"{excerpt(outcome.reason) or 'no reason given'}",
        )
        return False
    now = _comparable(outcome.curves, outcome.predictions.get("oof"))
    difference = compare_predictions(
        then, now, classes=record.status is TrialStatus.FINISHED, several_labels=images.several_labels
    )
    replayed = Replayed(record=record, outcome=outcome, images=len(images.y), difference=difference)
    say(
        console,
        f"{name}, {_ended(record, record)}, seed {record.seed}, split {record.split}:",
    )
    for line in replay_lines(replayed, study.metric):
        say(console, f"  {line}")
    return replayed.is_as_recorded


def replay_lines(replayed: Replayed, metric: str) -> list[str]:
    """The result of a replay as text: differences, tolerance, and whether it is as recorded."""
    record, outcome, difference = replayed.record, replayed.outcome, replayed.difference
    finished = record.status is TrialStatus.FINISHED
    compared = (
        "out-of-fold probabilities (float32)" if finished else "true-class probabilities of every epoch (float16)"
    )
    if difference.equal:
        lines = [f"{compared}: bit for bit equal to the stored ones"]
    else:
        lines = [f"{compared}: largest absolute difference {difference.largest:.3g}, mean {difference.mean:.3g}"]
    if difference.agreement is not None:
        lines.append(f"predicted classes: {difference.agreement:.2%} agree")
    lines.append(f"{metric}: {_number(record.value)} then, {_number(outcome.value)} now")
    for fact, (was, is_now) in replayed.changed_facts.items():
        lines.append(f"{fact}: {_known(was)} then, {_known(is_now)} now")
    if replayed.exactly:
        lines.append("tolerance: none, because device, threads and releases are all as recorded")
    else:
        lines.append(
            f"tolerance: mean absolute difference {MEAN_DIFFERENCE:g}, {metric} within one standard error "
            f"({replayed.allowed:.4f}). Other machines and other releases add in another order, and a GPU does so "
            "in every training. The sums are then rounded differently, above all in bfloat16; training amplifies that"
        )
    lines.append(
        "as recorded" if replayed.is_as_recorded else "NOT as recorded: the difference is beyond the tolerance"
    )
    return lines


def _ended(record: TrialRecord, ending: TrialRecord | TrialOutcome) -> str:
    """How a training of this trial ended: ``pruned after 1 epoch``; only the status of a linear probe."""
    return f"{ending.status} after {_epochs(ending.epochs_done)}" if is_fine_tuned(record) else str(ending.status)


def _epochs(number: int) -> str:
    return f"{number} epoch{'s' * (number != 1)}"


def _find_record(stores: Stores, study: Study, number: int) -> TrialRecord:
    records = stores.trials.records(study.id, kind=WorkKind.SEARCH)
    record = next((record for record in records if record.number == number), None)
    if record is None:
        ended = sorted(record.number for record in records if record.number is not None)
        known = f"its trials that have ended: {_ranges(ended)}" if ended else "none of its trials has ended yet"
        raise CannotReplay(f"study {study.name} has no trial {number} that has ended; {known}")
    name = MemberName(trial=number, is_probe=record.is_probe)
    if record.status not in (TrialStatus.FINISHED, TrialStatus.PRUNED) or record.epochs_done == 0:
        raise CannotReplay(
            f"{name} of study {study.name} {record.status} ({excerpt(record.reason)}) and has no predictions "
            "to compare with; finished and pruned trials can be replayed"
        )
    return record


def _ranges(numbers: list[int]) -> str:
    """Ascending numbers as ranges, such as ``0-7, 9``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _stored_oof(stores: Stores, record: TrialRecord) -> NDArray[np.float32] | None:
    return stores.trials.prediction(record.id, "oof") if record.status is TrialStatus.FINISHED else None


def _comparable(curves: tuple[EpochCurve, ...], oof: NDArray[np.floating[Any]] | None) -> NDArray[np.floating[Any]]:
    """The predictions to compare: float32 ``(n, C)`` of a finished trial, float16 ``(epochs, n)`` of a pruned one."""
    return np.stack([curve.true_class for curve in curves]) if oof is None else oof


def _train(stores: Stores, study: Study, record: TrialRecord, images: ImageSet, request: ReplayRequest) -> TrialOutcome:
    from trainer.batches.batch_loader import BatchLoader, fitting_workers
    from trainer.training.cross_validation import cross_validate
    from trainer.training.results import Verdict

    recipe = Recipe.from_flat(record.recipe or {})
    metric = study.metric
    targets = Targets(images.y, read_weights(stores, study))
    folds, pixels = read_folds(stores, study, record.split), Home(root=request.home).pixels
    data = training_data(images, recipe, folds, pixels, targets.image_weights)
    device = _device(record)
    last, name = record.epochs_done, str(MemberName(trial=record.number, is_probe=record.is_probe))
    log.info("%s: %s on %s", name, _epochs(last) if is_fine_tuned(record) else "a linear probe", device)
    with (
        _torch_threads(_recorded_threads(record) if device.type == "cpu" else None),
        BatchLoader(fitting_workers(device.type, usable_cores(), available_memory())) as loader,
    ):

        def on_epoch(report: EpochReport) -> Verdict:
            left = (last - report.epoch) * report.seconds
            log.info(
                "%s: epoch %d of %d, %s %.4f, about %.0f s left", name, report.epoch, last, metric, report.metric, left
            )
            if report.epoch < last:
                return Verdict.CONTINUE
            # A deadline may have ended a trial that counts as finished.
            return Verdict.FINISH if record.status is TrialStatus.FINISHED else Verdict.PRUNE

        result = cross_validate(
            recipe,
            data,
            metric=metric,
            seed=record.seed,
            device=device,
            on_epoch=on_epoch,
            checkpoint=None,
            weights_dir=weights_folder(study.stored, study.spec, request.weights),
            predict_test=False,
            loader=loader,
        )
    return outcome_of(result, metric, targets)


def _device(record: TrialRecord) -> torch.device:
    """Device of the second training: the CPU if the first one used it, because then the predictions can be equal.

    Else a GPU if there is one.
    """
    import torch

    use_gpu = torch.cuda.is_available() and record.machine.get("device") != "cpu"
    return torch.device("cuda" if use_gpu else "cpu")


def _recorded_threads(record: TrialRecord) -> int | None:
    """The number of torch threads of the first training; None: it is not recorded, or no number of threads."""
    recorded = record.machine.get("threads")
    return recorded if type(recorded) is int and 1 <= recorded <= MOST_THREADS else None


@contextmanager
def _torch_threads(number: int | None) -> Iterator[None]:
    """Run the block with this number of torch threads, which decides the order of sums. None: leave the number."""
    import torch

    before = torch.get_num_threads()
    try:
        if number is not None:
            torch.set_num_threads(number)
        yield
    finally:
        torch.set_num_threads(before)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6g}"


def _known(fact: object) -> str:
    return "not recorded" if fact is None else str(fact)
