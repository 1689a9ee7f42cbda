"""``search preview``: draws each augmentation of a study at its weakest and strongest, on the user's own images."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search.export.output.outside_data import check_file
from search.report.preview.rows import Row, Subject, example_settings, examples, rows_of
from search.runtime.console import open_console, say
from search.runtime.errors import SearchError
from search.runtime.home import Home
from search.runtime.output_files import check_picture
from search.study_setup.data_folder import NoData, known_folder
from storage.database.existing import NoStudy, check_database
from studies.load_study import load_study
from studies.resolve_backbones import check_backbones
from studies.spec import StudySpec
from studies.stored_spec import spec_from_dict
from trainer.common.errors import DataError
from trainer.data.image_set import ImageSet
from trainer.data.read import read_images
from trainer.evaluation.several_labels import rarest_label
from trainer.inference.errors import ImageError
from trainer.inference.images import resize_image
from trainer.inference.predictions import folder_problem
from trainer.recipe.recipe import Recipe

EXAMPLES = 3
"""Number of pictures at each end of a range."""
FORMATS = (".png", ".pdf", ".svg")
"""Formats of the picture, by the ending of its name."""


class NothingToPreview(SearchError):
    """The study has no augmentation."""


class PreviewNotWritable(SearchError):
    """The picture cannot be written to the given path."""


@dataclass(frozen=True, kw_only=True)
class PreviewRequest:
    """Options of ``search preview``."""

    study: str
    """A stored study, a shipped one, or the path of a study file."""
    data: Path | None
    """Folder of images; None: that of the stored study, or the sample data that the study file names."""
    storage_url: str
    home: Path
    """Home folder, see `search.runtime.home`."""
    output: Path
    """Path of the picture. Its ending is one of `FORMATS`."""
    images: int
    """Number of images, from different classes. The rows of the picture show them in turn."""
    overrides: Sequence[str] = ()
    """``FIELD=VALUE`` changes of the study file."""


def preview(request: PreviewRequest) -> None:
    """Draw the augmentations of a study and write the picture.

    Raises:
        StudyError: there is no such study, or it is invalid.
        NoData, DataError: there are no images, or invalid ones.
        NothingToPreview: the study has no augmentation.
        PreviewNotWritable, FileNotOurs, OutputInData: the picture cannot be written.
    """
    if request.output.suffix.lower() not in FORMATS:
        raise PreviewNotWritable(f"{request.output} has to end in one of {', '.join(FORMATS)}")
    if (problem := folder_problem(request.output.parent)) is not None:
        raise PreviewNotWritable(problem)
    check_picture(request.output)
    console = open_console()
    spec, stored_folder = _find_study(request)
    spec = check_backbones(spec)
    rows = rows_of(spec)
    if not rows:
        raise NothingToPreview(
            f"{request.study} neither samples nor fixes any augmentation, so every image stays unchanged. Add for "
            f"example {example_settings()}; the shipped study aug_tuning samples many"
        )
    folder = request.data or stored_folder or _write_sample(spec, Home(root=request.home))
    check_file(request.output, [folder], request.home)
    images = read_images(folder, spec.data.options, verify=False)
    recipe = Recipe.from_flat(spec.default_recipe())
    with console.status("Drawing …"):
        _draw(request, recipe, folder, rows, _subjects(images, recipe, request.images))
    say(console, f"{request.output}: {len(rows)} augmentations of {request.study}")


def _find_study(request: PreviewRequest) -> tuple[StudySpec, Path | None]:
    """The specification of the study and, if the study is stored, the folder of its images.

    The specification is that of the stored study. It is read from the study file if no study of that name is stored.
    """
    try:
        check_database(request.storage_url)
    except NoStudy:
        return load_study(request.study, request.overrides), None
    from storage.errors import SchemaError
    from storage.stores import open_stores

    try:
        stores = open_stores(request.storage_url)
    except SchemaError:  # a database of another program
        return load_study(request.study, request.overrides), None
    try:
        stored = stores.studies.find(request.study)
        if stored is None:
            return load_study(request.study, request.overrides), None
        return spec_from_dict(stored.spec, request.overrides), known_folder(stores, stored)
    finally:
        stores.database.close()


def _write_sample(spec: StudySpec, home: Home) -> Path:
    """Write the sample data that the study file names, and return its folder."""
    if spec.data.sample is None:
        raise NoData
    from trainer.data.sample_data import write_digits

    return write_digits(home.samples / "digits")


def _subjects(images: ImageSet, recipe: Recipe, count: int) -> list[Subject]:
    """``count`` images (two at least), resized as in training; the classes take turns.

    Raises:
        DataError: too few images, or an image cannot be read.
    """
    from trainer.batches.pixel_cache import side_to_crop_from
    from trainer.networks.backbones import preprocessing_of

    interpolation = preprocessing_of(recipe.backbone).interpolation
    sides = (recipe.image_size, side_to_crop_from(recipe.image_size))
    chosen = list(_by_turns(images))[: max(2, count)]
    if len(chosen) < 2:
        raise DataError(f"a preview needs two images, not {len(chosen)}")
    subjects = []
    for index in chosen:
        try:
            picture = images.train_images.read(index)
            whole, larger = (resize_image(picture, side, recipe.resize, interpolation) for side in sides)
        except ImageError as error:
            raise DataError(f"{images.train_images.name(index)}: {error}") from error
        subjects.append(Subject(whole=whole, larger=larger))
    return subjects


def _by_turns(images: ImageSet) -> Iterator[int]:
    """Indices of all training images: the first of each class, then the second of each, and so on."""
    strata = rarest_label(images.y, len(images.class_names))
    of_class = [np.flatnonzero(strata == label) for label in range(len(images.class_names) + 1)]
    for turn in range(max(map(len, of_class), default=0)):
        for rows in of_class:
            if turn < len(rows):
                yield int(rows[turn])


def _draw(request: PreviewRequest, recipe: Recipe, folder: Path, rows: list[Row], subjects: list[Subject]) -> None:
    from search.report.preview.picture import PictureRow, draw

    def picture_row(number: int, row: Row) -> PictureRow:
        place = number % min(len(subjects), request.images)
        subject, others = subjects[place], subjects[place + 1 :] + subjects[:place]
        # A fixed strength has one setting instead of two ends. Its examples fill the space of both.
        count = EXAMPLES * 2 // len(row.settings)
        blocks = tuple((end.caption, examples(row, end, subject, others, count)) for end in row.settings)
        return PictureRow(name=row.name, doc=row.doc, original=subject.whole, blocks=blocks)

    named = textwrap.shorten(f"Study {request.study} on {folder.name}", 110, placeholder=" …")
    subtitle = (
        f"{named}, {recipe.image_size} x {recipe.image_size} pixels\n"
        "Each augmentation alone, at its weakest and its strongest; random draws, the strongest first"
    )
    try:
        draw(
            request.output,
            "Augmentations of the training images",
            subtitle,
            [picture_row(number, row) for number, row in enumerate(rows)],
        )
    except OSError as error:
        raise PreviewNotWritable(f"{request.output} cannot be written: {error.strerror or error}") from error
