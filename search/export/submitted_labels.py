"""What an export submitted for the test images: from the refits in the database, else from the file that it wrote."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.statistics.ranking import average
from search.study_state.training_costs import final_recipe
from storage.records.datasets import StoredDataset
from storage.records.studies import StoredStudy
from storage.records.trials import ExportRecord
from storage.stores import Ledger
from storage.values import FULL_DATA_SPLIT, SEARCH_SPLIT, TrialStatus, WorkKind
from studies.spec import StudySpec
from trainer.common.errors import DataError
from trainer.formats.delimited import read_table
from trainer.inference.blend import Blend

FILE = "test_proba.csv"
MAX_FILE_BYTES = 512 * 2**20


class UnusablePredictions(ValueError):  # noqa: N818 - named for the fact
    """A file of test predictions that is not what the export wrote; the message says what is wrong."""


@dataclass(frozen=True, kw_only=True)
class _Member:
    """A recipe of an export, as its notes have it, or imported predictions."""

    study: StoredStudy
    weight: float
    recipe: Mapping[str, Any]
    """Empty of imported predictions."""
    views: tuple[str, ...] = ()
    trainings: tuple[tuple[int, int], ...] = ()
    """Split and seed of each, where they are told of it alone."""
    digest: str = ""
    """Of imported predictions."""


def submitted_labels(
    ledger: Ledger, study: StoredStudy, export: ExportRecord, dataset: StoredDataset, *, overwritten: bool
) -> NDArray[np.int64] | None:
    """Class of each test image as the export decided, int64 ``(m,)`` in the order of ``dataset.test_ids``; None where
    its predictions are nowhere at hand.

    Args:
        overwritten: a later export went to the same folder, so that the file there is not of this one.

    Raises:
        UnusablePredictions: the database does not have them, and the file is not of this data set or damaged.
    """
    shape = (len(dataset.test_ids), len(dataset.class_names))
    offsets, cuts = (_numbers(export.notes.get(name, ())) for name in ("offsets", "cuts"))
    temperature = _numbers([export.notes.get("temperature", 1.0)])
    known = offsets is not None and cuts is not None and temperature is not None and temperature[0] > 0
    if not shape[0] or not known or len(offsets or ()) not in (0, shape[1]) or len(cuts or ()) not in (0, shape[1] - 1):
        return None
    assert offsets is not None and cuts is not None and temperature is not None
    members = _members(ledger, study, export)
    tests = [_predicted(ledger, export, member) for member in members]
    found = [test for test in tests if test is not None and test.shape == shape]
    if found and len(found) == len(members):
        weights = tuple(member.weight for member in members)
        blend = Blend(weights=weights, temperature=temperature[0], offsets=offsets, cuts=cuts)
        return blend.labels(blend.probabilities(np.stack(found)))
    path = Path(export.folder) / FILE
    if overwritten or not path.is_file():
        return None
    # What the file holds is blended already; the rule by which labels are decided comes after.
    return Blend(weights=(1.0,), offsets=offsets, cuts=cuts).labels(read_test_proba(path, dataset))


def read_test_proba(path: Path, dataset: StoredDataset) -> NDArray[np.float64]:
    """Read what an export wrote: float64 ``(m, C)``, in the order of ``dataset.test_ids``.

    Raises:
        UnusablePredictions: not a table of probabilities of just these images and classes.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UnusablePredictions(f"{path} is larger than {MAX_FILE_BYTES:,} bytes")
        table = read_table(path, ",")
    except (DataError, OSError) as error:
        raise UnusablePredictions(f"{path}: {error}") from error
    if table.rows[0] != ("image_id", *(f"p_{name}" for name in dataset.class_names)):
        raise UnusablePredictions(f"{path} has other columns than image_id and p_CLASS for each class")
    if tuple(row[0] for row in table.rows[1:]) != dataset.test_ids:
        raise UnusablePredictions(f"{path} is of other test images, or in another order")
    try:
        proba = np.array([[float(cell) for cell in row[1:]] for row in table.rows[1:]])
    except ValueError as error:
        raise UnusablePredictions(f"{path}: {error}") from error
    if not (np.isfinite(proba).all() and (proba >= 0).all() and (proba.sum(axis=1) > 0).all()):
        raise UnusablePredictions(f"{path} holds numbers that are no probabilities")
    return proba


def _members(ledger: Ledger, study: StoredStudy, export: ExportRecord) -> list[_Member]:
    """The members of an export; none where its notes do not tell how they were blended (a stacked regression)."""
    notes = export.notes
    if "members" not in notes:
        told, recipe = [{"weight": 1.0, **notes}], export.recipe
    else:
        told, recipe = [note for note in notes["members"] if isinstance(note, dict)], None
    members = [_member(ledger, study, note, recipe) for note in told]
    good = [member for member in members if member is not None]
    complete = len(good) == len(notes.get("members", told))
    return good if complete and math.fsum(member.weight for member in good) > 0 else []


def _member(
    ledger: Ledger, own: StoredStudy, note: Mapping[str, Any], recipe: Mapping[str, Any] | None
) -> _Member | None:
    """A member from its note, and from its recipe where that is stored with the export; None where they do not tell."""
    study = ledger.studies.find(note["study"]) if isinstance(note.get("study"), str) else own
    weight = _numbers([note.get("weight")])
    if study is None or weight is None or weight[0] < 0:
        return None
    if isinstance(note.get("digest"), str):
        return _Member(study=study, weight=weight[0], recipe={}, digest=note["digest"])
    if recipe is None:
        trials = {record.number: record.recipe for record in ledger.runs.records(study.id, kind=WorkKind.SEARCH)}
        found = trials.get(note.get("trial"))
        recipe = final_recipe(found, StudySpec.from_dict(study.spec).final).to_flat() if found else None
    views = note.get("views")
    if recipe is None or not isinstance(views, list) or not views:
        return None
    trainings = tuple(_trainings(note)) if "trainings" in note else ()
    return _Member(study=study, weight=weight[0], recipe=recipe, views=tuple(map(str, views)), trainings=trainings)


def _predicted(ledger: Ledger, export: ExportRecord, member: _Member) -> NDArray[np.float32] | None:
    """What a member predicts for the test images; None where that is not stored (any more)."""
    if not member.digest:
        return _of_refits(ledger, export, member)
    record = next((record for record in ledger.imports.all(member.study.id) if record.digest == member.digest), None)
    return None if record is None else ledger.imports.predictions(record.id).test


def _of_refits(ledger: Ledger, export: ExportRecord, member: _Member) -> NDArray[np.float32] | None:
    """What one recipe predicts, averaged over trainings and views as the export did; None where one is missing."""
    trainings = member.trainings or _trainings(export.notes)
    records = {
        (record.split, record.seed): record
        for kind in (WorkKind.SEARCH, WorkKind.CONFIRM, WorkKind.REFIT)
        for record in ledger.runs.records(member.study.id, kind=kind, status=TrialStatus.FINISHED)
        if record.recipe == member.recipe
    }
    # The views of the recipe's own test-time augmentation are averaged already.
    own = member.recipe.get("tta", "none") != "none"
    names = ["test"] if own else [f"test.{view}" for view in member.views]
    predictions = []
    for training in trainings:
        record = records.get(training)
        if record is None or not set(names) <= set(ledger.runs.prediction_names(record.id)):
            return None
        predictions.append(average([ledger.runs.prediction(record.id, name) for name in names]))
    return average(predictions) if predictions else None


def _trainings(notes: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Split and seed of each training of an export; none where its notes do not tell."""
    told = notes.get("trainings")
    if told is None:  # an older release refitted with the first seeds
        seeds = notes.get("seeds")
        split = FULL_DATA_SPLIT if notes.get("full_data") else SEARCH_SPLIT
        return [(split, seed) for seed in range(seeds)] if isinstance(seeds, int) else []
    pairs = [tuple(pair) for pair in told if isinstance(pair, list)] if isinstance(told, list) else []
    good = all(len(pair) == 2 and all(isinstance(number, int) for number in pair) for pair in pairs)
    return [(pair[0], pair[1]) for pair in pairs] if good else []


def _numbers(values: object) -> tuple[float, ...] | None:
    """Finite numbers of a stored list; None where it is anything else."""
    if not isinstance(values, (list, tuple)):
        return None
    good = all(isinstance(value, (int, float)) and math.isfinite(value) for value in values)
    return tuple(map(float, values)) if good else None
