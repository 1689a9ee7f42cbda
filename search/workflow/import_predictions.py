"""``search import``: predictions of a model that was made elsewhere, for the same images."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.export.members import DOUBTS, FILES, SEEDS, described, doubts_of, shown_value
from search.runtime.console import Column, note, open_console, print_table, say
from search.statistics.import_checks import fold_doubts, score_doubts
from search.statistics.ranking import rank
from search.study_state.search_trials import candidates
from search.study_state.study import Study, read_study
from search.study_state.study_targets import read_folds, read_weights
from storage.records.datasets import StoredDataset
from storage.records.imports import ImportedPredictions, LabelTakenError
from storage.stores import Stores, open_stores
from storage.values import SEARCH_SPLIT, TrialStatus, WorkKind
from studies.file.catalog import NAME_PATTERN
from trainer.common.errors import DataError, listed
from trainer.evaluation.metrics import score, standard_error
from trainer.evaluation.targets import Targets
from trainer.formats.probabilities import ProbabilityTable, read_probabilities

MAX_LABEL = 64  # characters


class ImportMistake(ValueError):  # noqa: N818 - named for the fact
    """Something cannot be imported, or removed, as it was asked for. Nothing was changed."""


@dataclass(frozen=True, kw_only=True)
class Best:
    """The study's best trial by the search's own scores."""

    number: int
    value: float
    error: float
    oof: NDArray[np.float32] | None
    """``(n, C)``; None where it is not stored."""


def import_predictions(request: ImportRequest) -> None:
    """Read, check and store predictions, and say what there is to doubt of them.

    Raises:
        UnknownStudyError, NoStudy: there is no such study.
        ImportMistake: a name that cannot be, one that is taken, or a file that is not asked for, or is missing.
        DataError: the files do not hold the probabilities of just these images and classes. Nothing was stored.
    """
    console, stores = open_console(), open_stores(request.storage_url)
    study = read_study(stores, request.study)
    dataset, metric = stores.datasets.get(study.fingerprint), study.metric
    label = _label(request)
    oof, test = _read(request, dataset, study)
    best, mean, targets = _best_of(stores, study), oof.mean, Targets(dataset.y, read_weights(stores, study))
    groups = None if dataset.groups is None else dataset.groups[: len(dataset.y)]
    mild = list(fold_doubts(oof.folds, read_folds(stores, study, SEARCH_SPLIT), groups))
    grave = list(score_doubts(metric, targets, mean, None if best is None else best.oof))
    files = [path.name for path in (request.oof, request.test) if path is not None]
    try:
        record, added = stores.imports.add(
            study.id,
            label,
            ImportedPredictions(oof=mean, test=None if test is None else test.mean),
            value=score(metric, targets, mean),
            value_se=standard_error(metric, targets, mean),
            notes={SEEDS: len(oof.proba), FILES: files, DOUBTS: [*grave, *mild]},
        )
    except LabelTakenError as error:
        raise ImportMistake(
            f"study {study.name} holds other predictions that are called {label!r}. Give these another --name, or "
            f"forget those first: search import --study {study.name} --remove {label}"
        ) from error
    if not added:
        say(console, f"Study {study.name} has just these predictions already, as {record.label!r}: nothing changed.")
        return
    say(console, f"Imported {label!r} into study {study.name}: {described(record, metric)}.")
    if best is not None:
        say(console, f"The study's best so far, trial {best.number}, has {best.value:.4f} ± {best.error:.4f}.")
    for line in grave:
        note(console, line, label="doubtful:", style="bold red")
    if grave:
        say(console, "Was an image predicted by a model that was trained on it? That would spoil the final model.")
    for line in (*mild, "whether these predictions were really held out cannot be checked"):
        note(console, line)
    say(console, f"`search export-best --study {study.name}` blends it in where that is a real gain.")


def list_imports(name: str | None, url: str) -> None:
    """What was imported into a study."""
    console, stores = open_console(), open_stores(url)
    study = read_study(stores, name)
    records = stores.imports.all(study.id)
    if not records:
        say(console, f"Nothing was imported into study {study.name}: search import --oof FILE --test FILE does it.")
        return
    print_table(
        console,
        f"Imported into {study.name}",
        [
            Column(name="name"),
            Column(name="when"),
            Column(name=f"out-of-fold {study.metric}", number=True),
            Column(name="seeds", number=True),
            Column(name="files", prose=True),
            Column(name="doubts", prose=True),
        ],
        [
            (
                record.label,
                f"{datetime.datetime.fromtimestamp(record.created):%Y-%m-%d %H:%M}",
                shown_value(record),
                str(record.notes.get(SEEDS, "?")),
                ", ".join(map(str, record.notes.get(FILES, ()))),
                "; ".join(doubts_of(record)) or "-",
            )
            for record in records
        ],
    )


def remove_import(name: str | None, url: str, label: str) -> None:
    """Forget what was imported under a label; exports that were made with it stay as they are.

    Raises:
        ImportMistake: there is nothing of that label; says what there is.
    """
    console, stores = open_console(), open_stores(url)
    study = stores.study(name)
    if not stores.imports.remove(study.id, label):
        there = listed(record.label for record in stores.imports.all(study.id)) or "nothing"
        raise ImportMistake(f"study {study.name} has no imported predictions called {label!r}; there is: {there}")
    say(console, f"{label!r} is removed from study {study.name}.")


def _label(request: ImportRequest) -> str:
    """The name that was given, or the file's; that of its folder where it is called as exports call theirs.

    Raises:
        ImportMistake: predictions cannot be called that.
    """
    label = request.label
    if label is None:
        path = request.oof.resolve()
        label = re.sub(r"[^A-Za-z0-9._-]+", "-", path.parent.name if path.stem == "oof" else path.stem)
        label = label.lstrip("._-")[:MAX_LABEL]
    if not NAME_PATTERN.fullmatch(label):
        raise ImportMistake(
            f"predictions cannot be called {label!r}: --name takes up to {MAX_LABEL} letters, digits, dots, dashes and "
            "underscores, beginning with a letter or digit"
        )
    return label


def _read(
    request: ImportRequest, dataset: StoredDataset, study: Study
) -> tuple[ProbabilityTable, ProbabilityTable | None]:
    """Both files; what is wrong with either is told at once."""
    if dataset.test_ids and request.test is None:
        raise ImportMistake(
            f"study {study.name} has {len(dataset.test_ids)} test images: --test FILE gives the same model's "
            "probabilities for them, without which it cannot take part in a submission"
        )
    if request.test is not None and not dataset.test_ids:
        raise ImportMistake(f"study {study.name} has no test images: leave --test out")
    labels = [dataset.class_names[label] for label in dataset.y]
    tables: list[ProbabilityTable] = []
    problems: list[str] = []
    advice: dict[str, None] = {}
    wanted = [(request.oof, dataset.train_ids, "training image", labels)]
    if request.test is not None:
        wanted.append((request.test, dataset.test_ids, "test image", []))
    for path, ids, what, truth in wanted:
        try:
            tables.append(read_probabilities(path, ids, dataset.class_names, what=what, labels=truth))
        except DataError as error:
            problems += error.problems
            advice[error.advice] = None
    if problems:
        raise DataError(problems, "\n".join(filter(None, advice)))
    return tables[0], tables[1] if len(tables) > 1 else None


def _best_of(stores: Stores, study: Study) -> Best | None:
    records = stores.trials.records(study.id, kind=WorkKind.SEARCH, status=TrialStatus.FINISHED)
    ranking = rank(candidates(records, study.metric))
    if not ranking:
        return None
    record = next(record for record in records if record.number == ranking[0].number)
    stored = "oof" in stores.trials.prediction_names(record.id)
    return Best(
        number=ranking[0].number,
        value=ranking[0].value,
        error=ranking[0].standard_error,
        oof=stores.trials.prediction(record.id, "oof") if stored else None,
    )


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """``search import``. None: not typed."""

    study: str | None
    storage_url: str
    oof: Path
    test: Path | None
    label: str | None
