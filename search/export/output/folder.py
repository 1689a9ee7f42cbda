"""Which folder an export goes to, and whether it may: files of other origin are never replaced."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from search.export.output.lock import locked, remove_scratch, scratch_folder
from search.export.output.manifest import (
    MANIFEST,
    MODEL,
    NAMES,
    OutputNotOurs,
    foreign_entries,
    manifest_of,
    read_manifest,
    write_manifest,
)
from search.export.output.replacement import COMMITTED, finish_interrupted
from search.runtime.errors import SearchError
from search.runtime.home import Home
from storage.stores import Stores

_OF_EARLIER_MODELS = ("config.json", "predict.py", "inference", "weights", "__pycache__")


class OutputNotWritable(SearchError):
    """The folder cannot be written to."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The study that an export belongs to."""

    database: str = ""
    """Identity of the database; empty: not created yet."""
    study: str
    recorded: Collection[str] = ()
    """Folders of its exports in the database. An export of an earlier release has no manifest, so this shows it."""

    @staticmethod
    def of(stores: Stores | None, name: str) -> Owner:
        """The owner of the exports of a study, which need not be stored yet; ``stores`` is None without a database."""
        if stores is None:
            return Owner(study=name)
        stored = stores.studies.find(name)
        exports = [] if stored is None else stores.exports.all(stored.id)
        return Owner(database=stores.database.identity, study=name, recorded=[export.folder for export in exports])


def output_folder(owner: Owner, home: Home, output: Path | None = None) -> Path:
    """The folder of a study's export: ``output`` if it is given, else one in ``home``.

    If the study's folder in ``home`` holds the export of another database, this database has a folder of its own.

    Raises:
        OutputNotWritable: ``output`` leads through ``..`` and cannot be a folder.
    """
    if output is not None:
        # The system cannot follow .. out of a folder that does not exist, so all later steps get the resolved path.
        return real_folder(output) if ".." in output.parts else output
    folder = home.exports(owner.study)
    manifest = read_manifest(folder)
    if manifest is None or manifest.database == owner.database or not owner.database:
        return folder
    return folder.with_name(f"{folder.name}@{owner.database[:8]}")  # no study name holds an @


def check_output(folder: Path, owner: Owner) -> None:
    """Check that an export into ``folder`` would replace nothing but an earlier export, and that it can be written.

    An interrupted export is finished first.

    Raises:
        OutputNotOurs, OutputNotWritable: nothing was changed.
        OutputBusy: another process has been writing an export into the folder for long.
    """
    target = real_folder(folder)
    if not target.exists():
        return
    with _in_words(folder), locked(target):
        check_locked(target, owner)


@contextmanager
def writing(folder: Path, owner: Owner) -> Iterator[tuple[Path, Path]]:
    """Lock and check ``folder``, and remove what killed exports left there.

    Yields:
        The real path of the folder, and a temporary folder for its new content, which is removed at the end.

    Raises:
        OutputNotOurs, OutputNotWritable, OutputBusy: as `check_output`.
    """
    target = real_folder(folder)
    with _in_words(folder):
        target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target):
        check_locked(target, owner)
        with scratch_folder(target) as scratch:
            yield target, scratch


def check_locked(target: Path, owner: Owner) -> None:
    """`check_output` for a holder of the lock; also removes the temporary folders of killed exports.

    Args:
        target: as from `real_folder`.
    """
    with _in_words(target):
        finish_interrupted(target)
        remove_scratch(target)
        manifest = read_manifest(target)
        is_of_earlier_release = manifest is None and str(target) in owner.recorded
        problems = list(_problems_of_earlier_release(target) if is_of_earlier_release else _problems(target))
        if os.path.lexists(target / COMMITTED):
            problems.append(f"{COMMITTED} is not of an export")
        if problems:
            raise OutputNotOurs(target, problems)
        if is_of_earlier_release and target.is_dir():
            write_manifest(target, manifest_of(target, database=owner.database, study=owner.study))


def real_folder(folder: Path) -> Path:
    """The absolute path of the folder, links in it resolved; it need not exist.

    Raises:
        OutputNotWritable: it is no folder, a link to nothing, or cannot be created or written to.
    """
    try:
        target = folder.resolve()
        if folder.is_symlink() and not target.exists():
            raise OutputNotWritable(f"{folder} is a link to {target}, which does not exist: name another --output")
        existing = next(path for path in (target, *target.parents) if path.exists())
        if not existing.is_dir():
            raise OutputNotWritable(f"{existing} is no folder, so nothing can be exported there: name another --output")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise OutputNotWritable(f"{existing} cannot be written to: name another folder with --output")
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name that is too long, a NUL
        raise OutputNotWritable(f"{str(folder)[:200]!r} cannot be a folder ({error}): name another --output") from error
    return target


@contextmanager
def _in_words(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputNotWritable(
            f"{folder} cannot be written to ({error.strerror or error}): name another --output"
        ) from error


def _problems(target: Path) -> Iterator[str]:
    manifest = read_manifest(target)
    if manifest is None and os.path.lexists(target / MANIFEST):
        yield f"{MANIFEST} is not valid"
    for name in NAMES:
        yield from foreign_entries(target, name, *([] if manifest is None else [manifest]))


def _problems_of_earlier_release(target: Path) -> Iterator[str]:
    """In an export without a manifest, which the database records, the names alone show what is ours."""
    if os.path.lexists(target / MANIFEST):
        yield f"{MANIFEST} is not valid"
    for name in NAMES:
        path = target / name
        if path.is_symlink() or (path.exists() and path.is_dir() != (name == MODEL)):
            yield f"{name} is not of an export"
    for path in (target / MODEL).rglob("*"):
        inner = path.relative_to(target / MODEL)
        if path.is_symlink() or inner.parts[0] not in _OF_EARLIER_MODELS:
            yield f"{MODEL}/{inner.as_posix()} is not of an export"
