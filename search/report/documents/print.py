"""``search status --json`` and ``search compare --json``."""

from __future__ import annotations

from pathlib import Path

from search.report.documents.comparison import comparison_document
from search.report.documents.encode import print_document
from search.report.documents.status import status_document
from search.report.finalists.comparison import check_target, compare_finalists, draw_comparison
from search.runtime.home import Home
from search.study_state.snapshot import read_snapshot
from search.tuning.restore_optuna import restore_if_gone
from storage.stores import open_stores


def print_status_document(name: str | None, url: str, home: Path) -> None:
    """Print the state of a study as a JSON document.

    Raises:
        UnknownStudyError, NoStudy, ForeignOptunaStudy: as `search.report.status.show_status`.
    """
    stores = open_stores(url)
    stored = stores.study(name)
    restore_if_gone(stores, stored)
    print_document(status_document(stores, read_snapshot(stores, stored.name), Home(root=home)))


def print_comparison_document(name: str | None, url: str, picture: Path | None) -> None:
    """Print the comparison of a study's finalists as a JSON document.

    Args:
        picture: file to draw into; None: no picture.

    Raises:
        UnknownStudyError, NoStudy, NothingConfirmed, PictureNotWritable, FileNotOurs: as
            `search.report.finalists.comparison.compare`.
    """
    stores = open_stores(url)
    study = stores.study(name)
    if picture is not None:
        check_target(picture)
    comparison = compare_finalists(stores, study.name)
    if picture is not None:
        draw_comparison(picture, comparison)
    print_document(comparison_document(stores, comparison))
