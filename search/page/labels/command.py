"""``search labels``: writes the suspicious labels of a study as a page with pictures and as a table to fill in."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from search.export.output.folder import Owner, output_folder
from search.export.output.outside_data import check_folder
from search.page import text
from search.page.labels.candidates import Candidates, find_candidates
from search.page.labels.page import render_review, review_page, right_label
from search.page.labels.sentences import summary
from search.runtime.commands import completed
from search.runtime.console import open_console, say
from search.runtime.errors import SearchError
from search.runtime.home import Home
from search.runtime.output_files import FileNotOurs, check_page
from search.study_setup.data_folder import known_folder, known_folders
from search.study_state.study import Study, read_study
from storage.stores import open_stores
from trainer.common.errors import DataError
from trainer.common.files import replacing
from trainer.data.corrections.decided import corrections_about
from trainer.data.image_set import ImageSet
from trainer.data.names.own_files import REVIEW_PAGE, REVIEW_TABLE
from trainer.data.read import read_images
from trainer.evaluation.label_errors.candidate import CandidateLabel
from trainer.evaluation.several_labels import NONE
from trainer.formats.label_tables import (
    CORRECTIONS_FILE,
    DROP,
    ReviewRow,
    read_review,
    write_review,
)
from trainer.inference.printable import excerpt

SHOWN = 8
"""Candidates that are printed."""

log = logging.getLogger(__name__)


class ReviewNotWritable(SearchError):
    """The review cannot be written into the given folder."""


def review_labels(name: str | None, url: str, home: Path, data: Path | None, output: Path | None) -> None:
    """Write the review of a study's labels, and print what was found and what to do next.

    Decisions in a table of an earlier review in the same folder stay. Labels that the corrections beside the data have
    decided about are left out.

    Args:
        name: of the study; None: the latest.
        data: the folder of images; None: the one that the study was begun with, if this machine has it.
        output: folder of page and table; None: the folder of the study's exports.

    Raises:
        UnknownStudyError, NoStudy: there is no such study.
        NothingToJudge: the study has no predictions that could judge its labels.
        ReviewNotWritable, FileNotOurs: the files cannot be written, or would replace a file of other origin.
        OutputInData: the folder is one of images.
        DataError: the corrections beside the data, or the table of an earlier review, cannot be read.
    """
    console, stores = open_console(), open_stores(url)
    study = read_study(stores, name)
    folder = output or output_folder(Owner.of(stores, study.name), Home(root=home))
    check_folder(folder, [data] if data is not None else known_folders(stores, study.stored), home)
    page_path, table_path = folder / REVIEW_PAGE, folder / REVIEW_TABLE
    check_page(page_path)
    earlier = _earlier_rows(table_path)
    found = find_candidates(stores, study)
    folder_of_images = data or known_folder(stores, study.stored)
    images = _raw_images(folder_of_images, study)
    corrections = [] if images is None else corrections_about(images)
    left = found.without(corrections)
    lines = list(summary(found, len(found.candidates) - len(left.candidates)))
    apply = _apply_command(study, table_path, data, folder_of_images)
    html = render_review(review_page(stores, Home(root=home), left, lines, apply))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(page_path) as temporary:
            temporary.write_text(html, encoding="utf-8")
        write_review(table_path, _joined(left.rows("" if images is None else images.label_source), earlier))
    except OSError as error:
        raise ReviewNotWritable(
            f"{folder} cannot be written to: {error.strerror or error}; name another --output"
        ) from error
    for line in (*lines, *_listing(left)):
        say(console, line)
    if not left.candidates:
        return
    say(console, f"The pictures are in {page_path}; open it in a browser.", whole=True)
    say(console, f"The table to fill in is {table_path}.", whole=True)
    say(
        console,
        f"Next: look at each picture and write into its row, column decision: {right_label(left.several_labels)}, or "
        f"{DROP} (leave the image out). Then this command checks the decisions and writes {CORRECTIONS_FILE} beside "
        "the images:",
    )
    say(console, f"  {apply}", whole=True)


def _earlier_rows(path: Path) -> list[ReviewRow]:
    """The rows of a review that is there already.

    Raises:
        FileNotOurs: the file is a link, or no review.
    """
    if not os.path.lexists(path):
        return []
    try:
        if not path.is_symlink() and path.is_file():
            return read_review(path)
        problem = "it is a link or no file"
    except DataError as error:
        problem = str(error)
    raise FileNotOurs(
        f"{path} is no review that could be continued, so it is left alone: {problem}. Move it away, or name another "
        "--output"
    )


def _raw_images(folder: Path | None, study: Study) -> ImageSet | None:
    """The images of a study without corrections; None where this machine has none that can be read."""
    if folder is None:
        return None
    try:
        return read_images(folder, study.spec.data.options.without_corrections(), verify=False)
    except DataError as problem:  # moved or changed since the begin; the predictions still judge the stored labels
        log.warning("the corrections beside the images are not read: %s", problem)
        return None


def _joined(rows: Sequence[ReviewRow], earlier: Sequence[ReviewRow]) -> Iterator[ReviewRow]:
    """The candidates with their earlier decisions, then the other rows that were decided earlier."""
    decided = {(row.label_source, row.id, row.given): row for row in earlier if row.decision}
    for row in rows:
        sources = (row.label_source, "")  # older reviews are without
        known = next((key for source in sources if (key := (source, row.id, row.given)) in decided), None)
        yield row if known is None else decided.pop(known)
    yield from decided.values()


def _listing(found: Candidates) -> Iterator[str]:
    ids = found.dataset.train_ids
    for each in found.candidates[:SHOWN]:
        yield f"  {excerpt(ids[each.row])}: {_named(each.given)}, rather {_named(each.proposed)}"
    if len(found.candidates) > SHOWN:
        yield f"  and {len(found.candidates) - SHOWN} more"


def _named(labels: Sequence[CandidateLabel]) -> str:
    return " + ".join(f"{excerpt(each.name)} ({text.share(each.probability)})" for each in labels) or NONE


def _apply_command(study: Study, table: Path, data: Path | None, known: Path | None) -> str:
    """The command that applies the table: without --data where the database knows the folder."""
    words = ["search", "labels", "--study", study.name, "--apply", str(table)]
    if data is not None or known is None:
        words += ["--data", "DATA" if data is None else str(data)]
    return completed(shlex.join(words))
