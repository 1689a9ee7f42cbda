"""Replaces an export in one step: a killed process leaves the old one or the new one.

A folder that does not exist yet appears by one rename. A folder that holds nothing but files is exchanged with the new
one by one system call (``renameat2``); files of other origin are in both, as hard links.

Any other folder (a mount point, the current folder, one with folders of other origin, a file system without exchange)
gets the new export as a hidden folder `COMMITTED`, by one rename. Its entries then move to their places, which takes
milliseconds. A process that is killed meanwhile leaves the rest to `finish_interrupted`.

Either way the replaced files are checked once more where no program looks for them. If one was changed in the meantime,
the old export returns to its place.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

from search.export.output.lock import scratch_name
from search.export.output.manifest import (
    MANIFEST,
    NAMES,
    Manifest,
    OutputNotOurs,
    foreign_entries,
    read_manifest,
    write_manifest,
)

COMMITTED = ".retable-committed"
OLD = ".old"
MOST_LINKS = 256
"""A folder with more files of other origin is not exchanged."""

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def replace_export(made: Path, target: Path) -> None:
    """Put the export ``made``, with its manifest, in the place of the one in ``target``, if there is one.

    Args:
        made: on the file system of ``target``. Afterwards it holds what was replaced, or nothing.
        target: checked, and locked by the caller.

    Raises:
        OSError: ``target`` cannot be written to.
        OutputNotOurs: files of the old export were changed since the caller's check. The old export stays.
    """
    _write_to_disk(made)
    if not target.exists():
        made.rename(target)
        return
    refuse_changes(target, target, read_manifest(target))
    if _may_be_exchanged(made, target) and _exchange_folders(made, target):
        return
    try:
        made.rename(target / COMMITTED)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy = target / scratch_name(target)
        shutil.copytree(made, copy)
        copy.rename(target / COMMITTED)
    try:
        finish_interrupted(target)
    except OutputNotOurs:
        committed = target / COMMITTED
        if not any((committed / OLD / name).exists() for name in NAMES):
            _remove(committed, target)
        raise


def refuse_changes(folder: Path, shown: Path, *manifests: Manifest | None) -> None:
    """
    Args:
        shown: the folder's name in the message.

    Raises:
        OutputNotOurs: ``folder`` holds something under a name of an export that none of the manifests names.
    """
    valid = [manifest for manifest in manifests if manifest is not None]
    problems = [line for name in NAMES for line in foreign_entries(folder, name, *valid)]
    if problems:
        raise OutputNotOurs(shown, problems)


def finish_interrupted(target: Path) -> None:
    """Finish the replacement that a killed process began in ``target``, if there is one. The caller holds the lock.

    A folder `COMMITTED` without a valid manifest is none of an export, and stays.

    Raises:
        OutputNotOurs: the folder holds something of other origin now under a name of the export, or did until its files
            moved. They are back in their places.
    """
    committed = target / COMMITTED
    if committed.is_symlink() or not committed.is_dir():
        return
    new, old = read_manifest(committed), read_manifest(target)
    if new is None:
        return
    refuse_changes(target, target, new, old)
    replaced = new.names | (set() if old is None else old.names)
    trash = committed / OLD
    trash.mkdir(exist_ok=True)
    if old is not None and not (trash / MANIFEST).exists():
        write_manifest(trash, old)  # that of the folder is replaced before the trash is removed
    for name in NAMES:
        if name not in replaced or (name in new.names and not (committed / name).exists()):
            continue  # in its place already
        if (target / name).exists():
            shutil.rmtree(trash / name, ignore_errors=True)
            (target / name).rename(trash / name)
        if name in new.names:
            (committed / name).rename(target / name)
    try:
        refuse_changes(trash, target, new, read_manifest(trash))
    except OutputNotOurs:
        _put_back(committed, target, new)
        raise
    write_manifest(target, new)
    _remove(committed, target)


def _put_back(committed: Path, target: Path, new: Manifest) -> None:
    """Move the entries of the new export back to ``committed``, and those of the old one to their places."""
    for name in NAMES:
        if name in new.names and (target / name).exists() and not (committed / name).exists():
            (target / name).rename(committed / name)
        if (committed / OLD / name).exists() and not (target / name).exists():
            (committed / OLD / name).rename(target / name)


def _remove(committed: Path, target: Path) -> None:
    """Remove ``committed``. A kill meanwhile leaves a temporary folder, which the next export removes."""
    removed = committed.rename(target / scratch_name(target))
    shutil.rmtree(removed, ignore_errors=True)


def _may_be_exchanged(made: Path, target: Path) -> bool:
    """Whether the folder may be exchanged: it holds only files, and it is not the current folder of this process."""
    try:
        cwd = Path.cwd()
    except FileNotFoundError:  # removed
        return False
    if target.is_mount() or target in (cwd, *cwd.parents) or made.parent != target.parent:
        return False
    ours, theirs = made.stat(), target.stat()
    if (ours.st_uid, ours.st_gid) != (theirs.st_uid, theirs.st_gid):
        return False
    others = [path for path in target.iterdir() if path.name not in (*NAMES, MANIFEST)]
    return len(others) <= MOST_LINKS and all(path.is_file() and not path.is_symlink() for path in others)


def _exchange_folders(made: Path, target: Path) -> bool:
    """Exchange both folders, with the files of other origin in both; False, and nothing changed, if that fails.

    Raises:
        OutputNotOurs: the old export was changed until the exchange, which was undone.
    """
    linked: list[Path] = []
    old = read_manifest(target)
    try:
        for path in target.iterdir():
            if path.name not in (*NAMES, MANIFEST):
                os.link(path, made / path.name)
                linked.append(made / path.name)
        shutil.copystat(target, made)
        _rename_exchange(made, target)
    except OSError:
        for path in linked:
            path.unlink()
        return False
    try:
        refuse_changes(made, target, old)
    except OutputNotOurs:
        _rename_exchange(made, target)
        _move_others(made, target)
        raise
    _move_others(made, target)
    return True


def _move_others(made: Path, target: Path) -> None:
    """Move what another program wrote into the displaced folder ``made`` during the exchange."""
    for path in made.iterdir():
        if path.name not in (*NAMES, MANIFEST):
            now = target / path.name
            if not now.exists() or not os.path.samestat(now.stat(), path.stat()):
                path.replace(now)


def exchange_folders(one: Path, other: Path) -> bool:
    """Exchange the names of two folders in one step; False, and nothing changed, where the system cannot do that."""
    try:
        _rename_exchange(one, other)
    except OSError:
        return False
    return True


def _rename_exchange(one: Path, other: Path) -> None:
    """Exchange the names of two folders in one step.

    Raises:
        OSError: this system or file system cannot do that.
    """
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        raise OSError("this system has no renameat2")
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _write_to_disk(folder: Path) -> None:
    """Wait until all files of a folder are on the disk, so that a power cut leaves no empty ones."""
    for path in (*folder.rglob("*"), folder):
        with suppress(OSError):  # a file system that cannot do that, as some network disks
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
