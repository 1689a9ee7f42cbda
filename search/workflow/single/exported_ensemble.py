"""The ensemble of an export, opened for ``search single``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.export.notes import ExportNotes, RecipeNotes
from search.export.output.folder import Owner, check_output, output_folder, real_folder
from search.export.output.manifest import MODEL, provisional_submission
from search.runtime.commands import completed
from search.runtime.errors import SearchError
from search.runtime.home import Home
from search.study_setup.data_folder import NoData, known_folder
from search.study_setup.open_images import open_for_training
from search.study_state.study import Study, read_study, require_search
from search.study_state.study_targets import read_folds
from storage.stores import Stores
from trainer.batches.pixel_cache import Pixels, open_pixels
from trainer.data.image_set import ImageSet
from trainer.inference.model_folder import Member, ModelFolder, load_model_folder
from trainer.recipe.recipe import Recipe


class NoExport(SearchError):
    """The study has no export whose ensemble could become one network."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportedModel:
    """The ensemble of an export, its study and its images."""

    stores: Stores
    study: Study
    images: ImageSet
    home: Home
    folder: Path
    """The model folder."""
    model: ModelFolder
    recipes: tuple[Recipe, ...]
    """One for each member."""
    notes: ExportNotes
    """What the database holds about it."""

    @property
    def splits(self) -> tuple[int, ...]:
        """Splits of its trainings, in which each network held out a fold; empty if they trained on all images."""
        if self.notes.full_data:
            return ()
        others = [member.trainings for member in self.notes.members if isinstance(member, RecipeNotes)]
        return tuple(sorted({split for trainings in (self.notes.trainings, *others) for split, _ in trainings}))

    @property
    def networks(self) -> int:
        """Number of networks of the ensemble."""
        return sum(len(member.weights) for member in self.model.members)

    @property
    def oof_file(self) -> Path:
        """Its table of out-of-fold predictions; there is none if the networks trained on all images."""
        return self.folder.parent / "oof.csv"

    def pixels(self, member: Member, *, with_test: bool) -> Pixels:
        """The images as a member needs them, from the cache of the home folder."""
        return open_pixels(
            self.images,
            size=member.size,
            resize=member.resize,
            interpolation=member.interpolation,
            folder=self.home.pixels,
            with_test=with_test and len(self.images.test_ids) > 0,
        )

    def folds(self) -> dict[int, NDArray[np.int64]]:
        """Fold of each training image, ``(n,)``, by split."""
        return {split: read_folds(self.stores, self.study, split) for split in self.splits}


def open_export(stores: Stores, name: str | None, home: Home, output: Path | None, data: Path | None) -> ExportedModel:
    """The latest export of a study, checked.

    Args:
        name: of the study; None: the latest.
        output: folder of the export; None: that of the study in ``home``.
        data: folder of the images; None: the one that the database knows.

    Raises:
        NoExport: there is none in the folder, or the database does not know it.
        OutputNotOurs, OutputNotWritable, OutputBusy: as `check_output`.
        NoData, DataMismatch, DataError: there are no images, or not the study's.
    """
    from trainer.conversion.single.ingredients import read_recipes

    study = read_study(stores, name)
    require_search(study, "exports", or_second=True)
    owner = Owner.of(stores, study.name)
    folder = output_folder(owner, home, output)
    check_output(folder, owner)
    target = real_folder(folder)
    records = [record for record in stores.exports.all(study.id) if record.folder == str(target)]
    if not records or not (target / MODEL / "config.json").is_file():
        raise NoExport(_why_none(stores, study, folder))
    data = data or known_folder(stores, study.stored)
    if data is None:
        raise NoData
    model = load_model_folder(target / MODEL)
    return ExportedModel(
        stores=stores,
        study=study,
        images=open_for_training(data, study, stores),
        home=home,
        folder=target / MODEL,
        model=model,
        recipes=tuple(read_recipes(target / MODEL, model)),
        notes=ExportNotes.from_json(records[-1].notes),
    )


def _why_none(stores: Stores, study: Study, folder: Path) -> str:
    """Why ``folder`` is no export of the study that the database knows, and what to do."""
    command = completed(f"search export-best --study {study.name}")
    if not (folder / MODEL / "config.json").is_file():
        only = "only the submission of the best trial so far, and " * (provisional_submission(folder) is not None)
        return f"{folder} holds {only}no export of study {study.name}: `{command}` writes one"
    # Only the recorded folder is known to hold the networks that the notes of the export describe.
    places = [Path(record.folder) for record in stores.exports.all(study.id)]
    kept = [place for place in reversed(places) if (place / MODEL / "config.json").is_file()]
    moved = f"{folder} holds an export of study {study.name} that was copied or moved there"
    return f"{moved}: use {kept[0]}" if kept else f"{moved}: move it back, or `{command}` writes another one"
