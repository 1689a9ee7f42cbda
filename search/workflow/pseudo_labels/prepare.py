"""The second study: the leader of an export again, with pseudo-labelled test images beside its training images."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from search.engines.plan import Workers
from search.export.notes import ExportNotes
from search.export.output.manifest import read_manifest
from search.runtime.home import Home
from search.study_setup.create_study import StudyPlan
from search.study_setup.data_folder import DataMismatch, about_corrections, inspect_with_progress, progress_line
from search.study_setup.pseudo_labels import LINES, SEEDS, finished_by_seed
from search.study_setup.rules import TEST_IMAGES, AgainstTheRules
from search.study_setup.weights_folder import weights_folder
from search.study_state.study import Study
from search.study_state.study_targets import read_folds
from search.workflow.pseudo_labels.teachers import CannotLabel, give_labels
from search.workflow.single.exported_ensemble import ExportedModel, open_export
from storage.records.studies import PseudoLabels
from storage.stores import Stores
from storage.values import SEARCH_SPLIT
from studies.settings import ConfirmSettings, FinalSettings, ProbeSettings
from studies.spec import PSEUDO_LABELS, StudySpec
from trainer.recipe.recipe import KEEP, Recipe


@dataclass(frozen=True, kw_only=True)
class PseudoRequest:
    """Options of ``search start --pseudo-from``. None: not given."""

    study: str
    """Name of the new study."""
    teacher: str
    """Study of the export that gives the labels, or the folder of the export."""
    data: Path | None
    storage_url: str
    output: Path | None
    workers: Workers
    quiet: bool = False


def prepare_pseudo_labels(request: PseudoRequest, stores: Stores, device: str, console: Console) -> StudyPlan:
    """Give the test images labels, and plan the study that learns from them. Nothing is written to the database.

    A stored study keeps its labels.

    Raises:
        CannotLabel: the export cannot give labels, or a study of this name is something else.
        AgainstTheRules: the rules of the study forbid learning from test images.
        NoExport, NoData, DataMismatch, DataError, NoWeights: as `open_export` and `weights_folder`.
    """
    home = Home(root=request.workers.home)
    stored = stores.studies.find(request.study)
    if stored is not None and not Study.of(stored).has_pseudo_labels:
        raise CannotLabel(f"there is a study {request.study} already, without pseudo-labels: choose another name")
    teacher, folder = _teacher(request)
    export = open_export(stores, teacher, home, folder, request.data)
    if stored is not None and Study.of(stored).teacher != export.study.name:
        raise CannotLabel(
            f"study {request.study} has pseudo-labels of {Study.of(stored).teacher}, not of {export.study.name}: "
            "choose another name"
        )
    _check_teacher(export.study)
    if export.images.several_labels:
        raise CannotLabel(
            f"images of study {export.study.name} may have several labels, and pseudo-labels give one class to an image"
        )
    source = export.study
    competition = inspect_with_progress(export.images.root, source.spec.data.options, console)
    if competition.images.fingerprint != source.fingerprint:
        about = about_corrections(stores.datasets.get(source.fingerprint), competition.images)
        raise DataMismatch(f"the images have changed since study {source.name} was begun. {about}")
    weights_dir = weights_folder(source.stored, source.spec, request.workers.weights)
    if stored is not None:
        spec, labels = Study.of(stored).spec, None
    else:
        spec, labels = _with_labels(export, device, console)
    return StudyPlan(
        name=request.study,
        spec=spec,
        file_spec=spec,
        overrides=(),
        competition=competition,
        folder=export.images.root,
        budget=1,
        weights_dir=weights_dir,
        pseudo_labels=labels,
    )


def second_spec(spec: StudySpec, recipe: Recipe, begun_from: str, seeds: int) -> StudySpec:
    """The study of one trial that trains ``recipe`` as the study ``spec`` did, without searching.

    Args:
        begun_from: ``STUDY:TRIAL`` of the recipe.
        seeds: number of trainings.
    """
    return dataclasses.replace(
        spec,
        title=f"{spec.title} with pseudo-labels"[:200],
        recipe=recipe.to_flat(),
        space=(),
        portfolio=(),
        search_settings=dataclasses.replace(
            spec.search_settings, sampler="random", trials=1, patience=0, pruner="none"
        ),
        probe=ProbeSettings(enabled=False),
        confirm=ConfirmSettings(rounds=0, share=0.0),
        final=FinalSettings(
            seeds=seeds, tta=spec.final.tta, calibrate=spec.final.calibrate, ensemble=spec.final.ensemble
        ),
        begun_from=begun_from,
        purpose=PSEUDO_LABELS,
    )


def _teacher(request: PseudoRequest) -> tuple[str, Path | None]:
    """Study and folder of the export that is named."""
    folder = Path(request.teacher)
    manifest = read_manifest(folder) if folder.is_dir() else None
    return (request.teacher, None) if manifest is None else (manifest.study, folder)


def _check_teacher(study: Study) -> None:
    if not study.spec.rules.use_test_images:
        raise AgainstTheRules(f"{TEST_IMAGES} of study {study.name} forbids pseudo-labels: they learn from test images")
    if study.has_pseudo_labels:
        raise CannotLabel(
            f"study {study.name} has pseudo-labels itself. Labels of labels are not supported: --pseudo-from "
            f"{study.teacher}"
        )


def _with_labels(export: ExportedModel, device: str, console: Console) -> tuple[StudySpec, PseudoLabels]:
    study, recipe = export.study, export.recipes[0]
    if recipe.suspicious_labels != KEEP:
        raise CannotLabel(
            f"the best recipe of study {study.name} judges labels (suspicious_labels = {recipe.suspicious_labels}), "
            "which does not go with pseudo-labels"
        )
    notes = _notes(export)
    if notes.study is not None:
        raise CannotLabel(f"the best recipe of this export is of study {notes.study}: --pseudo-from {notes.study}")
    plain = finished_by_seed(export.stores, study, recipe.to_flat())
    seeds = sorted(seed for split, seed in notes.trainings if split == SEARCH_SPLIT and seed in plain)
    if not seeds:
        raise CannotLabel(
            f"the export of study {study.name} has no training of its best recipe on the folds of the search, with "
            "which one with pseudo-labels could be compared: `search export-best --seeds` with more seeds makes one"
        )
    folds = read_folds(export.stores, study, SEARCH_SPLIT)
    with progress_line(console, "Labelling the test images …") as update:
        given = give_labels(
            export,
            folds,
            device=device,
            on_step=lambda done, total: update(f"Labelling the test images: {done} of {total} networks"),
        )
    spec = second_spec(study.spec, recipe, f"{study.name}:{notes.trial}", len(seeds))
    # The trial of the search has the seed of the settings; further seeds are refits.
    first = spec.search_settings.seed
    seeds = [first] * (first in seeds) + [seed for seed in seeds if seed != first]
    return spec, PseudoLabels(values=given.values, about={SEEDS: seeds, LINES: given.lines()})


def _notes(export: ExportedModel) -> ExportNotes:
    folder = str(export.folder.parent)
    records = [record for record in export.stores.exports.all(export.study.id) if record.folder == folder]
    return ExportNotes.from_json(records[-1].notes)
