"""``search labels --apply``: writes the decisions of a review as corrections beside the images."""

from __future__ import annotations

import os
from pathlib import Path

from search.runtime.console import open_console, say
from search.runtime.errors import SearchError
from search.study_setup.data_folder import NoData, known_folder
from search.study_state.study import Study, read_study
from storage.stores import open_stores
from trainer.common.errors import DataError
from trainer.data.corrections.apply import check_corrections, corrections_path
from trainer.data.corrections.merge_review import merge_review
from trainer.data.read import read_images
from trainer.formats.label_tables import CORRECTIONS_FILE, read_corrections, read_review, write_corrections


class CorrectionsNotWritable(SearchError):
    """The corrections cannot be written beside the images."""


def apply_review(name: str | None, url: str, data: Path | None, review: Path) -> None:
    """Check all decisions of a review, join them with the earlier corrections, and write these beside the images.

    The file appears complete or not at all.

    Args:
        name: of the study whose settings read the images; None: the latest.
        data: the folder of images; None: the one with which the study was begun or last continued.

    Raises:
        UnknownStudyError, NoStudy: there is no such study.
        NoData: the folder of images is not given and not known.
        DataError: a table, a decision or the images are invalid; every problem is listed, and nothing was written.
        CorrectionsNotWritable: the folder cannot be written to.
    """
    console, stores = open_console(), open_stores(url)
    study = read_study(stores, name)
    folder = data or known_folder(stores, study.stored)
    if folder is None:
        raise NoData
    if not review.is_file():
        raise DataError(f"there is no file {review}; `search labels --study {study.name}` writes a review")
    if name is None:
        say(console, f"Study {study.name}, the latest one; --study names another.")
    rows = read_review(review)
    images = read_images(folder, study.spec.data.options.without_corrections(), verify=False)
    path = corrections_path(images)
    if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
        raise DataError(f"{path} is a link or no file: move it away")
    earlier = read_corrections(path) if path.exists() else []
    merged = merge_review(images, earlier, rows)
    if not merged.decided:
        why = f"the column decision of all {len(rows)} rows is empty" if rows else "it lists no image"
        say(console, f"{review} holds no decision yet: {why}.")
        return
    applied = check_corrections(images, merged.corrections)
    try:
        write_corrections(path, merged.corrections)
    except OSError as error:
        raise CorrectionsNotWritable(
            f"{path} cannot be written: {error.strerror or error}. The corrections belong beside the images: copy the "
            "folder to where you may write, and give it with --data"
        ) from error
    decisions = "1 decision is" if merged.decided == 1 else f"{merged.decided} decisions are"
    say(console, f"{decisions} written from {review} to {path}", whole=True)
    if merged.undecided:
        say(console, f"{merged.undecided} further rows are not decided yet; later decisions are added to these.")
    say(console, f"In all: {applied.sentence}.")
    say(console, _next(study, folder, changes=applied.changes))


def _next(study: Study, folder: Path, *, changes: bool) -> str:
    if not changes:
        return "No label changes, so every study goes on as before. `search labels` lists none of these images again."
    command = study.beginning_another(folder)
    return (
        f"Study {study.name} keeps the labels that it was begun with. A new study reads the corrections: `{command}`, "
        "with the options with which this one began. With --no-corrections (data.corrections = false) it reads the "
        f"labels as they are, and so it does without {CORRECTIONS_FILE}."
    )
