"""From what was typed to a study that can begin: everything that can be wrong is found out before anything is written.

Cheap checks come first. What is wrong with a study file or with the images is told before timm is imported, which takes
seconds; a sample competition of ours is written only when nothing else can be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from search.engines.plan import Workers
from search.runtime.home import Home
from search.study_setup.create_study import StudyPlan
from search.study_setup.data_folder import Competition, NoData, inspect_aloud, known_folder
from search.study_setup.image_weights import Weighting, weigh
from search.study_setup.shift_features import aloud
from search.study_setup.starting_point import begin_at, starting_point_again
from search.study_state.study import Study
from storage.stores import stores_if_any
from studies.file.catalog import check_name, find_study
from studies.resolve_backbones import backbones_of, check_backbones
from studies.spec import StudySpec, load_study
from trainer.common.environment import check_torch_pair
from trainer.common.errors import BackboneError
from trainer.data.sample_data import write_digits
from trainer.networks.custom_weights import missing_custom_weights_message
from trainer.networks.pretrained import missing_weights, missing_weights_message

PATIENCE = "search.patience="


def prepare(request: StartRequest, console: Console) -> StudyPlan:
    """Read and check the study and its images.

    Raises:
        StudyError, BackboneError, DataError, NoData, EnvironmentProblem, StorageError: bad input; nothing was written.
        NoSuchTrial, NothingFinished: there is no trial to begin at.
        CannotWeight: scores cannot be weighted toward the test images, as the study asks.
    """
    file_spec = load_study(request.study)
    name = check_name(request.name or find_study(request.study).name)
    stores = stores_if_any(request.storage_url, create=True)
    stored = stores.studies.find(name) if stores else None
    # What a study was begun with need not be typed again.
    overrides = request.overrides or (stored.overrides if stored else ())
    if request.patience is not None:
        overrides = [*(o for o in overrides if not o.startswith(PATIENCE)), f"{PATIENCE}{request.patience}"]
    begun = starting_point_again(stores, Study.of(stored) if stored else None, request.begin_from)
    spec = load_study(request.study, overrides, recipe=begun.recipe if begun else None)
    data, competition = request.data or (known_folder(stores, stored.fingerprint) if stores and stored else None), None
    if data is not None:
        competition = inspect_aloud(data, spec.data.options, console)
    elif spec.data.sample is None:
        raise NoData
    check_torch_pair()
    spec, file_spec = check_backbones(spec), check_backbones(file_spec, lenient=False)
    if begun is not None:
        spec = begin_at(spec, begun, overrides, console if stored is None else None)
    _check_weights(spec, request.workers.weights)
    if data is None or competition is None:
        data = write_digits(Home(root=request.workers.home).samples / "digits")
        competition = inspect_aloud(data, spec.data.options, console)
    return StudyPlan(
        name=name,
        spec=spec,
        file_spec=file_spec,
        overrides=overrides,
        competition=competition,
        folder=data,
        folds=request.folds,
        budget=request.trials,
        memory=request.memory,
        weighting=_weighting(spec, competition, request.workers.weights, console) if stored is None else None,
    )


def _weighting(spec: StudySpec, competition: Competition, weights: Path | None, console: Console) -> Weighting | None:
    """How much each image is to count in the scores of a new study; None: all the same."""
    if spec.protocol.weighting == "none":
        return None
    with aloud(console) as say:
        return weigh(competition, weights=weights, say=say)


def _check_weights(spec: StudySpec, weights: Path | None) -> None:
    """Name all that a trial may start from and that is not at hand, pre-trained weights and checkpoints alike."""
    inits = [str(name) for name in spec.values_of("init")]
    missing = missing_weights(backbones_of(spec), weights) if "imagenet" in inits else ()
    problems = [missing_weights_message(missing, weights)] if missing else []
    problems += [missing_custom_weights_message(inits, weights)]
    if any(problems):
        raise BackboneError("\n".join(filter(None, problems)))


@dataclass(frozen=True, kw_only=True)
class StartRequest:
    """``search start``. None: not typed."""

    study: str
    name: str | None
    data: Path | None
    storage_url: str
    trials: int | None
    hours: float | None
    patience: int | None
    """Trials that may gain nothing beyond noise before the search stops; 0: any number."""
    priority: int | None
    overrides: Sequence[str]
    begin_from: str | None
    """``STUDY`` or ``STUDY:TRIAL`` of the same database, at whose recipe a new study begins."""
    memory: bool
    """Whether a new study tries what did well in earlier ones."""
    folds: Path | None
    output: Path | None
    workers: Workers
