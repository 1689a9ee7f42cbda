"""Puts the folder of a single network into the model folder of an export, in place of an earlier one."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from search.export.output.folder import OutputNotWritable
from search.export.output.lock import locked
from search.export.output.manifest import is_compiled, is_converted
from search.export.output.replacement import exchange_folders
from search.runtime.errors import SearchError
from storage.artifacts import digest_of
from trainer.common.files import put_folder
from trainer.conversion.convert import alone_in
from trainer.conversion.files import SCRATCH, SINGLE_FOLDER
from trainer.inference.networks.onnx_networks import INDEX, INDEX_FORMAT


class SingleNotWritten(SearchError):
    """The single network cannot be put into the model folder, which is as before."""


@contextmanager
def scratch_in(model: Path) -> Iterator[Path]:
    """A temporary folder in a model folder, removed at the end. Conversions of the folder wait for it.

    A killed process leaves it behind, for the next conversion, single network or export.

    Raises:
        OutputNotWritable: the model folder cannot be written to.
    """
    try:
        with alone_in(model), tempfile.TemporaryDirectory(dir=model, prefix=SCRATCH) as temporary:
            yield Path(temporary)
    except OSError as error:
        raise OutputNotWritable(f"{model} cannot be written to: {error.strerror or error}") from error


def check_place(model: Path) -> None:
    """Check that a single network would replace nothing but an earlier one.

    Raises:
        SingleNotWritten: files of other origin, or changed ones, are there.
    """
    target = model / SINGLE_FOLDER
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise SingleNotWritten(f"{target} exists and is no single network; it is left alone")
    for path in sorted(target.rglob("*")) if target.is_dir() else ():
        if path.is_symlink() or not (path.is_dir() or is_compiled(path) or is_converted(path, model)):
            raise SingleNotWritten(
                f"{path} is not of a single network, or was changed: move {target} away, and run the command again"
            )


def put_in_place(new: Path, model: Path, config_digest: str) -> Path:
    """Move a complete folder to its place, with an index of its files. A kill leaves the old folder or the new one.

    Args:
        new: in a `scratch_in` of ``model``.
        config_digest: SHA-256 of the config.json from which the network was made.

    Returns:
        The folder.

    Raises:
        SingleNotWritten: as `check_place`, or another export has replaced the model meanwhile.
        OutputBusy: another process has been writing an export into the folder for long.
        OSError: the folder cannot be written to.
    """
    target = model / SINGLE_FOLDER
    _write_index(new)
    with locked(model.parent):
        if not (model / "config.json").is_file() or digest_of(model / "config.json") != config_digest:
            raise SingleNotWritten(
                f"a new export has replaced {model} meanwhile, so its single network is not written: run the command "
                "again"
            )
        check_place(model)
        if not (target.exists() and exchange_folders(new, target)):
            put_folder(new, target, new.with_name("old"))
    return target


def _write_index(folder: Path) -> None:
    for compiled in folder.rglob("__pycache__"):
        shutil.rmtree(compiled)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    entries = [{"file": path.relative_to(folder).as_posix(), "sha256": digest_of(path)} for path in files]
    index = {"format": INDEX_FORMAT, "networks": entries}
    (folder / INDEX).write_text(json.dumps(index, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
