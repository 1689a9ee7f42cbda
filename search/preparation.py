"""From what was typed to a study that can begin: everything that can be wrong is found out before anything is written.

Cheap checks come first. What is wrong with a study file or with the images is told before timm is imported, which takes
seconds; a sample competition of ours is written only when nothing else can be wrong.
"""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from search.at_once import NoStudy, check_database
from search.competition import NoData, inspect_aloud
from search.founding import Founding
from search.home import Home
from search.ledger import Ledger, open_ledger
from search.requests import StartRequest
from storage.stored_studies import StoredStudy
from studies.backbones import backbones_of, check_backbones
from studies.catalog import check_name, find_study
from studies.spec import StudySpec, load_study
from trainer.backbones import BackboneError
from trainer.environment import check_torch_pair
from trainer.named_weights import missing_named_message
from trainer.samples import write_digits
from trainer.weights import missing_weights, missing_weights_message


def prepare(request: StartRequest, console: Console) -> Founding:
    """Read and check the study and its images.

    Raises:
        StudyError, BackboneError, DataError, NoData, EnvironmentProblem, StorageError: bad input; nothing was written.
    """
    file_spec = load_study(request.study)
    name = check_name(request.name or find_study(request.study).name)
    stored, known_folder = _stored(request.storage_url, name)
    # What a study was begun with need not be typed again.
    overrides = request.overrides or (stored.overrides if stored else ())
    spec = load_study(request.study, overrides) if overrides else file_spec
    data, competition = request.data or known_folder, None
    if data is not None:
        competition = inspect_aloud(data, spec.data.options, console)
    elif spec.data.sample is None:
        raise NoData
    check_torch_pair()
    spec, file_spec = check_backbones(spec), check_backbones(file_spec)
    _check_weights(spec, request.workers.weights)
    if data is None or competition is None:
        data = write_digits(Home(root=request.workers.home).samples / "digits")
        competition = inspect_aloud(data, spec.data.options, console)
    return Founding(
        name=name,
        spec=spec,
        file_spec=file_spec,
        overrides=overrides,
        competition=competition,
        folder=data,
        folds=request.folds,
        budget=request.trials,
    )


def known_folder(ledger: Ledger, stored: StoredStudy) -> Path | None:
    """Where the data was when the study began, if it is still there; its fingerprint is compared in any case."""
    folder = ledger.datasets.get(stored.fingerprint).summary.get("folder")
    return Path(folder) if isinstance(folder, str) and Path(folder).is_dir() else None


def _stored(url: str, name: str) -> tuple[StoredStudy | None, Path | None]:
    """The study of that name, if there is one, and where its images are, if they still are."""
    try:
        check_database(url)
    except NoStudy:
        return None, None
    ledger = open_ledger(url, create=True)
    stored = ledger.studies.find(name)
    return stored, None if stored is None else known_folder(ledger, stored)


def _check_weights(spec: StudySpec, weights: Path | None) -> None:
    """Name all that a trial may start from and that is not at hand, pre-trained weights and checkpoints alike."""
    inits = [str(name) for name in spec.values_of("init")]
    missing = missing_weights(backbones_of(spec), weights) if "imagenet" in inits else ()
    problems = [missing_weights_message(missing, weights)] if missing else []
    problems += [missing_named_message(inits, weights)]
    if any(problems):
        raise BackboneError("\n".join(filter(None, problems)))
