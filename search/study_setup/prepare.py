"""Checks of a ``search start`` request, which end in a `StudyPlan`. Nothing is written to the database.

Cheap checks come first: the study file and the images are checked before timm is imported, which takes seconds;
but a backbone filter of a shipped file needs timm where a study is continued. A built-in sample competition is written
only after all other checks.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from search.engines.plan import Workers
from search.runtime.console import note
from search.runtime.home import Home
from search.study_setup.create_study import StudyPlan
from search.study_setup.data_folder import Competition, NoData, inspect_with_progress, known_folder
from search.study_setup.deadline import Hours
from search.study_setup.image_weights import estimate_image_weights
from search.study_setup.metric import fit_metric
from search.study_setup.open_images import inspect_as_begun
from search.study_setup.rules import check_learned_labels, check_rules
from search.study_setup.shift_features import comparison_progress
from search.study_setup.starting_point import begin_with, find_starting_point
from search.study_setup.weights_folder import (
    check_initial_weights,
    given_or_remembered,
    remembered_path,
    weights_folder,
    with_registered,
)
from search.study_state.study import Study, require_search
from search.tuning.probing.plan import plan_probes
from storage.records.study_rows import ImageWeights, StoredStudy
from storage.stores import stores_if_any
from studies.errors import StudyError
from studies.explain import differences
from studies.file.catalog import check_name, find_study, is_bundled, is_study_file
from studies.file.overrides import merged
from studies.load_study import load_study
from studies.resolve_backbones import SHOWN_NAMES, backbones_of, check_backbones
from studies.spec import StudySpec
from studies.stored_spec import spec_from_dict
from trainer.common.environment import check_torch_pair
from trainer.common.errors import listed
from trainer.data.sample_data import write_digits

PATIENCE = "search.patience="
BACKBONE_OVERRIDE = "space.backbone"


def prepare(request: StartRequest, console: Console) -> StudyPlan:
    """Read and check a study and its images.

    Raises:
        StudyError, BackboneError, DataError, NoData, NoWeights, EnvironmentProblem, StorageError: invalid input;
            nothing was written.
        NoSuchTrial, NothingFinished: the trial of ``--from`` does not exist or has not finished.
        AgainstTheRules: the study could use what its rules forbid.
        LearnedLabels: its starting weights have learned the labels of its training images.
        NotASearch: the stored study is a pre-training.
        CannotWeight: the study asks for scores weighted toward the test images, which is not possible.
    """
    by_name = _stored_by_name(request) or _begun_with_earlier_file(request, console)
    file_spec = load_study(request.study) if by_name is None else spec_from_dict(by_name.file_spec)
    name = by_name.name if by_name else check_name(request.name or find_study(request.study).name)
    stores = stores_if_any(request.storage_url, create=True)
    stored = stores.studies.find(name) if stores else None
    if stored is not None:
        require_search(Study.of(stored), "searches")
    given = [*request.overrides, *([] if request.patience is None else [f"{PATIENCE}{request.patience}"])]
    overrides: Sequence[str] = merged(stored.overrides if stored else (), given)
    start = find_starting_point(stores, Study.of(stored) if stored else None, request.begin_from)
    if by_name is None:
        spec = load_study(request.study, overrides, recipe=start.recipe if start else None)
    else:
        start = None  # the stored specification begins there already
        # A pattern of backbones, for example, was resolved when the study began, and no trial may depend on another.
        known = {text for text in by_name.overrides if text.startswith(("recipe.", "space."))}
        spec = spec_from_dict(by_name.spec, [text for text in given if text not in known])
    data, competition = request.data or (known_folder(stores, stored) if stores and stored else None), None
    if data is not None:
        if stores and stored:
            competition = inspect_as_begun(data, spec.data.options, Study.of(stored), stores, console)
        else:
            competition = inspect_with_progress(data, spec.data.options, console)
        spec, overrides = fit_metric(spec, overrides, request.study, competition.images, console)
    elif spec.data.sample is None:
        raise NoData
    check_torch_pair()
    own_weights = with_registered(stored, spec, request.workers.weights, Home(root=request.workers.home))
    weights = given_or_remembered(stored, own_weights)
    spec = _resolved(spec, stored, overrides, weights, console)
    file_spec = check_backbones(file_spec, lenient=False, weights=weights)
    if start is not None:
        spec = begin_with(spec, start, overrides, console if stored is None else None)
    trials = spec.search_settings.trials if request.trials is None else request.trials
    _check_trials(spec, trials)
    weights_dir = weights_folder(stored, spec, own_weights)
    registered = Home(root=request.workers.home).weights
    check_initial_weights(spec, weights_dir, probes_only=trials == 0, registered=registered)
    if spec.rules.forbidden:
        check_rules(spec, "" if competition is None else competition.images.fingerprint, weights_dir)
    if weights_dir is not None and remembered_path(weights_dir) is None:
        note(console, "the name of the weights folder is not UTF-8, so the study cannot remember it: repeat --weights")
    if data is None or competition is None:
        data = write_digits(Home(root=request.workers.home).samples / "digits")
        competition = inspect_with_progress(data, spec.data.options, console)
    for line in check_learned_labels(spec, competition.images, weights_dir):
        note(console, line)
    if stored is not None and (before := Study.of(stored).spec.rules) != spec.rules:
        note(
            console,
            f"the rules of study {name} forbid {spec.rules.forbidden or 'nothing'} now, instead of "
            f"{before.forbidden or 'nothing'}",
        )
    return StudyPlan(
        name=name,
        spec=spec,
        file_spec=file_spec,
        overrides=overrides,
        competition=competition,
        folder=data,
        folds=request.folds,
        budget=request.trials,
        until_deadline=request.hours is not None,
        memory=request.memory,
        weights_dir=own_weights,
        weighting=(
            _weighting(spec, competition, weights_dir, request.workers.home, console) if stored is None else None
        ),
    )


def _stored_by_name(request: StartRequest) -> StoredStudy | None:
    """The stored study that ``--study`` names, if no study file has that name.

    A study that was begun with ``--name`` is continued by that name, although its file has another one.
    """
    if is_study_file(request.study) or request.begin_from is not None or request.name not in (None, request.study):
        return None
    stores = stores_if_any(request.storage_url, create=True)
    return stores.studies.find(request.study) if stores else None


def _begun_with_earlier_file(request: StartRequest, console: Console) -> StoredStudy | None:
    """The stored study that ``--study`` names by its shipped file, if an earlier release shipped other settings.

    Its trials could not be compared with those of the new file, so it continues with the stored settings; a note says
    so. A study called otherwise with ``--name`` is recognised by the file's title.
    """
    if not is_bundled(request.study):
        return None
    stores = stores_if_any(request.storage_url, create=True)
    stored = stores.studies.find(check_name(request.name or request.study)) if stores else None
    if stored is None:
        return None
    then, now = spec_from_dict(stored.file_spec), load_study(request.study)
    if stored.name != request.study and then.title != now.title:
        return None
    if not now.is_resolved:
        check_torch_pair()
        now = check_backbones(now, lenient=False, kept=backbones_of(then))
    if not differences(then, now):
        return None
    note(
        console,
        f"study {stored.name} keeps its settings: the shipped file of {request.study} has changed since "
        "(--name NAME begins a new study with it)",
    )
    return stored


def _weighting(
    spec: StudySpec, competition: Competition, weights: Path | None, home: Path, console: Console
) -> ImageWeights | None:
    """Weights of the training images in the scores of a new study; None: equal weights."""
    if spec.protocol.weighting == "none":
        return None
    with comparison_progress(console) as say:
        return estimate_image_weights(competition, weights=weights, home=Home(root=home), say=say).stored


def _resolved(
    spec: StudySpec, stored: StoredStudy | None, overrides: Sequence[str], weights: Path | None, console: Console
) -> StudySpec:
    """The specification with its filter replaced by backbones.

    A stored study keeps the backbones whose weights were at hand when it was created, as long as its filter is the
    same. The console names others that are at hand now.
    """
    found = check_backbones(spec, weights=weights)
    filtered = any(dimension.match is not None and dimension.match.at_hand for dimension in spec.space)
    if stored is None or not filtered or _backbone_settings(overrides) != _backbone_settings(stored.overrides):
        return found
    known = backbones_of(spec_from_dict(stored.spec))
    added = [name for name in backbones_of(found) if name not in known]
    if added:
        which = f"{listed(added[:SHOWN_NAMES])}{' …' if len(added) > SHOWN_NAMES else ''}"
        note(console, f"the weights of {which} came after this study: --name NAME begins one with them")
    return check_backbones(spec, weights=weights, kept=known)


def _backbone_settings(overrides: Sequence[str]) -> list[str]:
    return [text for text in overrides if text.startswith(BACKBONE_OVERRIDE)]


def _check_trials(spec: StudySpec, trials: int) -> None:
    """Check that a study without trials has probes.

    Raises:
        StudyError: it has none.
    """
    if trials or plan_probes(spec):
        return
    if not spec.probe.enabled:
        why = "its probes are switched off ([probe] enabled, --no-probe)"
    else:
        why = "its backbones begin with random weights (init), of which no probe is made"
    raise StudyError(
        f"study {spec.title!r} has 0 trials, so it would only probe backbones, but {why}. --trials N begins N trials"
    )


@dataclass(frozen=True, kw_only=True)
class StartRequest:
    """The arguments of ``search start``; None: not given."""

    study: str
    name: str | None
    data: Path | None
    storage_url: str
    workers: Workers
    trials: int | None = None
    hours: Hours | None = None
    patience: int | None = None
    """Number of trials without a gain beyond noise after which the search stops; 0: never."""
    priority: int | None = None
    overrides: Sequence[str] = ()
    begin_from: str | None = None
    """``STUDY`` or ``STUDY:TRIAL`` of the same database; a new study begins with its recipe."""
    memory: bool = False
    """Whether a new study tries good recipes of earlier studies."""
    folds: Path | None = None
    output: Path | None = None
    quiet: bool = False
    """Whether to print only warnings, errors and the answer."""
    begun: float = field(default_factory=time.monotonic)
    """When the command began, on the monotonic clock; the time until a deadline counts from then."""
