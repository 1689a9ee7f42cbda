"""The plan of a second study: one trial, the leader of an export, on the folds and with the seeds of the first."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from search.engines.plan import Workers
from search.export.output.manifest import read_manifest
from search.runtime.home import Home
from search.study_setup.create_study import StudyPlan
from search.study_setup.data_folder import DataMismatch, inspect_with_progress
from search.study_setup.second_study import finished_by_seed
from search.study_setup.weights_folder import weights_folder
from search.study_state.study import SECOND_KINDS, Study
from search.study_state.study_targets import read_folds, read_image_weights
from search.workflow.second_study.method import CannotTrainAgain, Method
from search.workflow.second_study.pseudo_labels import WITH_PSEUDO_LABELS
from search.workflow.second_study.self_distillation import SELF_DISTILLED
from search.workflow.second_study.two_stage import IN_TWO_STAGES
from search.workflow.single.exported_ensemble import ExportedModel, open_export
from storage.records.study_rows import PseudoLabels
from storage.stores import Stores
from storage.values import SEARCH_SPLIT
from studies.settings import ConfirmSettings, FinalSettings, ProbeSettings
from studies.spec import StudySpec
from trainer.recipe.recipe import KEEP, Recipe

METHODS: dict[str, Method] = {
    SECOND_KINDS[method.purpose].option: method for method in (WITH_PSEUDO_LABELS, SELF_DISTILLED, IN_TWO_STAGES)
}
"""By the option of ``search start`` that begins such a study."""


@dataclass(frozen=True, kw_only=True)
class SecondRequest:
    """Options of ``search start`` for a second study. None: not given."""

    option: str
    """The option that asks for it, of `METHODS`."""
    study: str
    """Name of the new study."""
    first: str
    """Study of the export, or the folder of the export."""
    data: Path | None
    storage_url: str
    output: Path | None
    workers: Workers
    quiet: bool = False


def prepare_second_study(request: SecondRequest, stores: Stores, device: str, console: Console) -> StudyPlan:
    """Plan a second study of an export. Nothing is written to the database.

    A stored study keeps its recipe, seeds and pseudo-labels.

    Args:
        device: where networks of the export compute, if they have to.

    Raises:
        CannotTrainAgain: the export cannot begin such a study, or a study of this name is something else.
        AgainstTheRules: the rules of the first study forbid it.
        NoExport, NoData, DataMismatch, DataError, NoWeights: as `open_export` and `weights_folder`.
    """
    home, method = Home(root=request.workers.home), METHODS[request.option]
    found = stores.studies.find(request.study)
    stored = None if found is None else Study.of(found)
    if stored is not None and stored.spec.purpose != method.purpose:
        raise CannotTrainAgain(
            f"there is a study {request.study} already, without {SECOND_KINDS[method.purpose].name}: choose another "
            "name"
        )
    name, folder = _first(request)
    export = open_export(stores, name, home, folder, request.data)
    first = export.study
    if stored is not None and stored.first != first.name:
        raise CannotTrainAgain(
            f"study {request.study} trains the best recipe of {stored.first} again, not that of {first.name}: choose "
            "another name"
        )
    if first.second is not None:
        raise CannotTrainAgain(
            f"study {first.name} is a second study itself: it trains with {first.second.name}. A second study needs a "
            f"search: {request.option} {first.first}"
        )
    method.check_export(export)
    options = first.spec.data.options
    # Corrections that were made since the first study began change nothing in it, nor in a second one.
    applied = export.images.corrections
    decisions = () if applied is None else applied.decisions
    competition = inspect_with_progress(export.images.root, options, console, decisions)
    if competition.images.fingerprint != first.fingerprint:
        raise DataMismatch(f"the images have changed since study {first.name} was begun")
    weights_dir = weights_folder(first.stored, first.spec, request.workers.weights)
    if stored is not None:
        spec, labels = stored.spec, None
    else:
        spec, labels = _plan(export, method, request.option, device, console)
    return StudyPlan(
        name=request.study,
        spec=spec,
        file_spec=spec,
        overrides=(),
        competition=competition,
        folder=export.images.root,
        budget=1,
        weights_dir=weights_dir,
        weighting=None if stored is not None else read_image_weights(stores, first),
        pseudo_labels=labels,
    )


def second_spec(spec: StudySpec, recipe: Recipe, begun_from: str, purpose: str, seeds: Sequence[int]) -> StudySpec:
    """The study of one trial that trains ``recipe`` as the study ``spec`` did, without searching.

    Args:
        begun_from: ``STUDY:TRIAL`` of the recipe.
        purpose: one of `studies.spec.SECOND_STUDIES`.
        seeds: of the trainings, the trial's first.
    """
    return dataclasses.replace(
        spec,
        title=f"{spec.title} with {SECOND_KINDS[purpose].name}"[:200],
        recipe=recipe.to_flat(),
        space=(),
        portfolio=(),
        search_settings=dataclasses.replace(
            spec.search_settings, sampler="random", trials=1, patience=0, pruner="none"
        ),
        probe=ProbeSettings(enabled=False),
        confirm=ConfirmSettings(rounds=0, share=0.0),
        final=FinalSettings(
            seeds=len(seeds), tta=spec.final.tta, calibrate=spec.final.calibrate, ensemble=spec.final.ensemble
        ),
        begun_from=begun_from,
        purpose=purpose,
        compared_seeds=tuple(seeds),
    )


def _first(request: SecondRequest) -> tuple[str, Path | None]:
    """Study and folder of the export that is named.

    Raises:
        CannotTrainAgain: it is the path of something else.
    """
    folder = Path(request.first)
    manifest = read_manifest(folder) if folder.is_dir() else None
    if manifest is None and os.sep in request.first:
        raise CannotTrainAgain(
            f"{request.option} {request.first}: this is no folder of an export. Give the folder that holds its "
            "MODEL_CARD.md, or the name of its study"
        )
    return (request.first, None) if manifest is None else (manifest.study, folder)


def _plan(
    export: ExportedModel, method: Method, option: str, device: str, console: Console
) -> tuple[StudySpec, PseudoLabels | None]:
    """Settings and pseudo-labels of a new second study."""
    first, recipe = export.study, export.recipes[0]
    notes = export.notes
    if notes.study is not None:
        raise CannotTrainAgain(f"the best recipe of this export is of study {notes.study}: {option} {notes.study}")
    if recipe.suspicious_labels != KEEP:
        raise CannotTrainAgain(
            f"the best recipe of study {first.name} judges labels (suspicious_labels = {recipe.suspicious_labels}), "
            f"which does not go with {SECOND_KINDS[method.purpose].name}. A search with "
            "--set recipe.suspicious_labels=keep and another --name finds recipes that do not"
        )
    if method.check_recipe is not None:
        method.check_recipe(first, recipe)
    plain = finished_by_seed(export.stores, first, recipe.to_flat())
    seeds = sorted(seed for split, seed in notes.trainings if split == SEARCH_SPLIT and seed in plain)
    if not seeds:
        raise CannotTrainAgain(
            f"the export of study {first.name} has no training of its best recipe on the folds of the search, with "
            "which another one could be compared: `search export-best --seeds` with more seeds makes one"
        )
    # The trial of the search has the seed of the settings; further seeds are refits.
    own = first.spec.search_settings.seed
    seeds = [own] * (own in seeds) + [seed for seed in seeds if seed != own]
    spec = second_spec(first.spec, recipe, f"{first.name}:{notes.trial}", method.purpose, seeds)
    folds = read_folds(export.stores, first, SEARCH_SPLIT)
    if method.find_groups is not None:
        spec = dataclasses.replace(spec, class_groups=method.find_groups(export, folds, seeds))
    labels = None if method.give_labels is None else method.give_labels(export, folds, device, console)
    return spec, labels
