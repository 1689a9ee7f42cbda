"""``search import``: adds predictions of another library, for the same images, to a study."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.export.candidates.members import DOUBTS, FILES, SEEDS, describe_import, doubts_of, shown_value
from search.runtime.console import Column, note, open_console, print_table, say
from search.runtime.errors import SearchError
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
from trainer.evaluation.several_labels import has_several
from trainer.evaluation.targets import Targets
from trainer.formats.probabilities import ProbabilityTable, read_probabilities
from trainer.inference.predictions import label_cell

MAX_LABEL = 64  # characters


class ImportMistake(SearchError):
    """Predictions cannot be imported or removed as requested. Nothing was changed."""


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best trial of the study, by its scores in the search."""

    number: int
    value: float
    error: float
    oof: NDArray[np.float32] | None
    """Out-of-fold probabilities, ``(n, C)``; None if they are not stored."""


def import_predictions(request: ImportRequest) -> None:
    """Read, check and store predictions, and print the doubts about them.

    Raises:
        UnknownStudyError, NoStudy: there is no such study.
        ImportMistake: the name is invalid or taken, or the file for test images is missing or superfluous.
        DataError: a file does not hold the probabilities of exactly the study's images and classes. Nothing was stored.
    """
    console, stores = open_console(), open_stores(request.storage_url)
    study = read_study(stores, request.study)
    dataset, metric = stores.datasets.get(study.fingerprint), study.metric
    label = _label(request)
    oof, test = _read(request, dataset, study)
    best, mean, targets = _best_of(stores, study), oof.mean, Targets(dataset.y, read_weights(stores, study))
    groups = None if dataset.groups is None else dataset.groups[: len(dataset.y)]
    minor = list(fold_doubts(oof.folds, read_folds(stores, study, SEARCH_SPLIT), groups))
    serious = list(score_doubts(metric, targets, mean, None if best is None else best.oof))
    files = [path.name for path in (request.oof, request.test) if path is not None]
    try:
        record, added = stores.imports.add(
            study.id,
            label,
            ImportedPredictions(oof=mean, test=None if test is None else test.mean),
            value=score(metric, targets, mean),
            value_se=standard_error(metric, targets, mean),
            notes={SEEDS: len(oof.proba), FILES: files, DOUBTS: [*serious, *minor]},
        )
    except LabelTakenError as error:
        raise ImportMistake(
            f"study {study.name} has other predictions called {label!r}. Give these another --name, or remove those "
            f"first: search import --study {study.name} --remove {label}"
        ) from error
    if not added:
        say(console, f"Study {study.name} has these predictions already, as {record.label!r}: nothing changed.")
        return
    say(console, f"Imported {label!r} into study {study.name}: {describe_import(record, metric)}.")
    if best is not None:
        say(
            console,
            f"The best trial of the study so far, trial {best.number}, scores {best.value:.4f} ± {best.error:.4f}.",
        )
    for line in serious:
        note(console, line, label="doubtful:", style="bold red")
    if serious:
        say(console, "Did a model predict images that it was trained on? That would spoil the final model.")
    for line in (*minor, "nothing proves that these predictions were really held out"):
        note(console, line)
    say(console, f"`search export-best --study {study.name}` blends them in if that improves the score beyond noise.")


def list_imports(name: str | None, url: str) -> None:
    """List the imported predictions of a study."""
    console, stores = open_console(), open_stores(url)
    study = read_study(stores, name)
    records = stores.imports.all(study.id)
    if not records:
        command = f"search import --study {study.name} --oof FILE --test FILE"
        say(console, f"Study {study.name} has no imports: `{command}` adds predictions.")
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
    """Remove the imported predictions called ``label``. Exports that were made with them stay.

    Raises:
        ImportMistake: there are none of that name; the message lists the existing ones.
    """
    console, stores = open_console(), open_stores(url)
    study = stores.study(name)
    if not stores.imports.remove(study.id, label):
        existing = listed(record.label for record in stores.imports.all(study.id)) or "nothing"
        raise ImportMistake(f"study {study.name} has no imported predictions called {label!r}; there is: {existing}")
    say(console, f"{label!r} is removed from study {study.name}.")


def _label(request: ImportRequest) -> str:
    """The given name, else the file's, else the folder's if the file is called ``oof`` as in an export.

    Raises:
        ImportMistake: the name is invalid.
    """
    label = request.label
    if label is None:
        path = request.oof.resolve()
        label = re.sub(r"[^A-Za-z0-9._-]+", "-", path.parent.name if path.stem == "oof" else path.stem)
        label = label.lstrip("._-")[:MAX_LABEL]
    if not NAME_PATTERN.fullmatch(label):
        raise ImportMistake(
            f"predictions cannot be called {label!r}: --name takes up to {MAX_LABEL} ASCII letters, digits, dots, "
            "dashes and underscores, beginning with a letter or digit"
        )
    return label


def _read(
    request: ImportRequest, dataset: StoredDataset, study: Study
) -> tuple[ProbabilityTable, ProbabilityTable | None]:
    """Read both files; a `DataError` lists the problems of both."""
    if dataset.test_ids and request.test is None:
        raise ImportMistake(
            f"study {study.name} has {len(dataset.test_ids)} test images: --test FILE gives the same model's "
            "probabilities for them, which a submission needs"
        )
    if request.test is not None and not dataset.test_ids:
        raise ImportMistake(f"study {study.name} has no test images: leave --test out")
    labels = [label_cell(label, dataset.class_names) for label in dataset.y]
    several = has_several(dataset.y)
    tables: list[ProbabilityTable] = []
    problems: list[str] = []
    advice: dict[str, None] = {}
    wanted = [(request.oof, dataset.train_ids, "training image", labels)]
    if request.test is not None:
        wanted.append((request.test, dataset.test_ids, "test image", []))
    for path, ids, kind, truth in wanted:
        try:
            tables.append(read_probabilities(path, ids, dataset.class_names, what=kind, labels=truth, several=several))
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
    """Options of ``search import``. None: not given."""

    study: str | None
    storage_url: str
    oof: Path
    """File of out-of-fold probabilities."""
    test: Path | None
    """File of test probabilities."""
    label: str | None
    """Name of the predictions; None: after the file."""
