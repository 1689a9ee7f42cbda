"""``search report``: writes the report of a study, and `add_to_export`, which puts it beside an export's files."""

from __future__ import annotations

import logging
from pathlib import Path

from search.export.output.folder import Owner, output_folder
from search.export.output.manifest import provisional_submission
from search.export.output.outside_data import check_file
from search.page.facts import read_facts
from search.page.render import page_of, render
from search.runtime.console import open_console, say
from search.runtime.errors import SearchError
from search.runtime.home import Home
from search.runtime.output_files import check_page
from search.study_setup.data_folder import known_folders
from storage.errors import StorageError
from storage.stores import Stores, open_stores
from trainer.common.files import replacing
from trainer.inference.predictions import folder_problem

REPORT = "report.html"
"""Default name of the file."""
ENDINGS = (".html", ".htm")

log = logging.getLogger(__name__)


class ReportNotWritable(SearchError):
    """The report cannot be written to the given path."""


def report(name: str | None, url: str, home: Path, output: Path | None) -> None:
    """Write the report of a study and print where it is.

    Args:
        name: of the study; None: the latest.
        output: the file; None: `REPORT` in the folder of the study's exports.

    Raises:
        UnknownStudyError, NoStudy: there is no such study.
        ReportNotWritable, FileNotOurs, OutputInData: ``output`` cannot be written.
    """
    if output is not None and output.suffix.lower() not in ENDINGS:
        raise ReportNotWritable(f"{output} has to end in {' or '.join(ENDINGS)}: the report is an HTML page")
    console, stores = open_console(), open_stores(url)
    study = stores.study(name)
    folder = output_folder(Owner.of(stores, study.name), Home(root=home))
    path = output or folder / REPORT
    check_file(path, known_folders(stores, study), home)
    check_page(path)
    write_report(stores, study.name, path, provisional=provisional_submission(folder), home=Home(root=home))
    say(console, f"The report is written to {path}; open it in a browser.", whole=True)


def add_to_export(stores: Stores, name: str, folder: Path, home: Home | None = None, *, with_map: bool = True) -> bool:
    """Write the report into the folder of an export.

    Args:
        home: folder with the stored pictures; None: none are shown.
        with_map: as in `read_facts`.

    Returns:
        Whether it was written. A file of other origin under its name, for example, is no reason to end a search.
    """
    try:
        write_report(stores, name, folder / REPORT, home=home, with_map=with_map)
    except (SearchError, StorageError) as problem:
        log.warning("%s", problem)
        return False
    return True


def remove_from_export(folder: Path) -> None:
    """Remove the report of an earlier export from the folder of a new one; a file of other origin stays."""
    path = folder / REPORT
    try:
        check_page(path)
        path.unlink(missing_ok=True)
    except (SearchError, OSError) as problem:
        log.warning("%s", problem)


def write_report(
    stores: Stores,
    name: str,
    path: Path,
    *,
    provisional: Path | None = None,
    home: Home | None = None,
    with_map: bool = True,
) -> None:
    """Write the report of the study called ``name`` atomically, in place of an earlier one.

    Args:
        provisional: the submission of the best trial so far; None: there is none.
        home: folder with the stored pictures; None: none are shown.
        with_map: as in `read_facts`.

    Raises:
        FileNotOurs: a file of other origin is there.
        ReportNotWritable: the file cannot be written.
    """
    html = render(page_of(read_facts(stores, name, provisional, home, with_map=with_map)))
    check_page(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(html, encoding="utf-8")
    except (FileExistsError, NotADirectoryError) as error:
        raise ReportNotWritable(folder_problem(path.parent) or f"{path} cannot be written: {error.strerror}") from error
    except OSError as error:
        raise ReportNotWritable(f"{path} cannot be written: {error.strerror or error}") from error
