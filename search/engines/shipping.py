"""Transfer of a data folder to other machines: packed once by the sender, unpacked once on each machine.

The archive travels in chunks. The transport is given by two functions: ``put`` stores a chunk and returns a reference,
``get`` returns the chunk of a reference.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from search.engines.interface import EngineError

CHUNK = 16 * 2**20  # bytes per chunk; no machine holds more of the archive in memory


class ShippingError(EngineError):
    """A folder cannot be packed or unpacked. No partial folder is left."""


@dataclass(frozen=True, kw_only=True)
class Shipment:
    """A packed folder."""

    digest: str
    """SHA-256 of the archive, hexadecimal. It depends on file names and contents alone, not on times or owners."""
    chunks: tuple[Any, ...]
    """References returned by ``put``, in order."""


def pack(folder: Path, put: Callable[[bytes], Any], *, leave_out: Collection[Path] = ()) -> Shipment:
    """Pack a folder. Symbolic links are replaced by their targets, so that the archive has no links.

    Args:
        put: stores a chunk of the archive and returns a reference to it.
        leave_out: files and folders to exclude.

    Raises:
        ShippingError: a file cannot be read, or changed while it was packed.
    """
    writer = _ChunkWriter(put)
    excluded = {path.resolve() for path in leave_out}
    try:
        with tarfile.open(fileobj=writer, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for path in _walk(folder, excluded, frozenset()):
                _add(archive, path, path.relative_to(folder).as_posix())
    except OSError as error:
        raise ShippingError(f"{folder} cannot be packed for other machines: {error}") from error
    return writer.finish()


def _walk(folder: Path, excluded: Collection[Path], above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    """Files and folders below ``folder``, sorted by name.

    Args:
        above: device and inode of the folders that enclose ``folder``. A link back to one of them is skipped.
    """
    status = folder.stat()
    above |= {(status.st_dev, status.st_ino)}
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.resolve() in excluded:
            continue
        if path.is_dir():
            status = path.stat()
            if (status.st_dev, status.st_ino) not in above:
                yield path
                yield from _walk(path, excluded, above)
        elif path.is_file():
            yield path


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    # Without times and owners, which differ between copies of the same data.
    entry = tarfile.TarInfo(name)
    if path.is_dir():
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(entry)
        return
    with path.open("rb") as file:
        entry.size, entry.mode = os.fstat(file.fileno()).st_size, 0o644
        archive.addfile(entry, file)


def unpack(shipment: Shipment, root: Path, get: Callable[[Any], bytes]) -> Path:
    """Unpack a shipment into ``root/DIGEST`` unless that folder exists, and return the folder.

    Several processes may call this at the same time: one unpacks, the others wait for it. The folder is complete when
    it appears.

    Args:
        get: returns the chunk of a reference.

    Raises:
        ShippingError: no space, no permission, a damaged archive, or one with paths that lead out of the folder.
    """
    folder = root / shipment.digest
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{shipment.digest}.lock"):
            if not folder.is_dir():
                _unpack(shipment, folder, get)
    except (OSError, tarfile.TarError) as error:
        raise ShippingError(f"the data cannot be unpacked to {folder}: {error}") from error
    return folder


def _unpack(shipment: Shipment, folder: Path, get: Callable[[Any], bytes]) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise tarfile.TarError("Python 3.11.4 or newer is needed, which keeps archives inside their folder")
    # This process holds the lock, so a partial folder is left from a process that was killed.
    partial = folder.with_name(f"{shipment.digest}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        reader = _ChunkReader(get(chunk) for chunk in shipment.chunks)
        with tarfile.open(fileobj=reader, mode="r|") as archive:
            # The filter "data" makes absolute names relative, and rejects "..", links out of the folder and devices.
            archive.extractall(partial, filter="data")
        if reader.finish() != shipment.digest:
            raise tarfile.TarError("the archive was damaged on the way")
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class _ChunkWriter(io.RawIOBase):
    """A writable file that passes its content on in chunks."""

    def __init__(self, put: Callable[[bytes], Any]) -> None:
        self._put = put
        self._buffer = bytearray()
        self._digest = hashlib.sha256()
        self._chunks: list[Any] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._buffer += data
        while len(self._buffer) >= CHUNK:
            self._send(CHUNK)
        return len(data)

    def _send(self, size: int) -> None:
        chunk = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._digest.update(chunk)
        self._chunks.append(self._put(chunk))

    def finish(self) -> Shipment:
        """Send the rest of the archive."""
        if self._buffer:
            self._send(len(self._buffer))
        return Shipment(digest=self._digest.hexdigest(), chunks=tuple(self._chunks))


class _ChunkReader(io.RawIOBase):
    """A readable file that fetches its content in chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = memoryview(b"")
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._digest.update(chunk)
            self._left = memoryview(chunk)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size

    def finish(self) -> str:
        """The digest of the whole archive, including what `tarfile` did not read at its end."""
        for chunk in self._chunks:
            self._digest.update(chunk)
        return self._digest.hexdigest()
