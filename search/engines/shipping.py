"""A folder sent to other machines: packed once where it lies, unpacked once on each machine that lacks it."""

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

CHUNK = 16 * 2**20  # bytes of the archive that travel at a time: no machine holds more of it in memory


class ShippingError(EngineError):
    """A folder cannot be packed or unpacked; nothing half-made is left."""


@dataclass(frozen=True, kw_only=True)
class Shipment:
    """A packed folder. Its chunks are whatever the sender's ``put`` made of them."""

    digest: str
    """Of names and contents alone: the same images make the same shipment wherever and whenever they are packed."""
    chunks: tuple[Any, ...]


def pack(folder: Path, put: Callable[[bytes], Any], *, leave_out: Collection[Path] = ()) -> Shipment:
    """Pack a folder; what links lead to is packed in their place, so that nothing in the archive leads elsewhere.

    Args:
        put: takes each chunk of the archive and returns what it can be found by.
        leave_out: files and folders that stay behind.

    Raises:
        ShippingError: something in it cannot be read, or changed meanwhile.
    """
    writer = _ChunkWriter(put)
    left_out = {path.resolve() for path in leave_out}
    try:
        with tarfile.open(fileobj=writer, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for path in _walk(folder, left_out, frozenset()):
                _add(archive, path, path.relative_to(folder).as_posix())
    except OSError as error:
        raise ShippingError(f"{folder} cannot be packed for other machines: {error}") from error
    return writer.finish()


def _walk(folder: Path, left_out: Collection[Path], above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    """Files and folders below ``folder``, in the same order everywhere; a link back to a folder ``above`` is no way
    on.
    """
    status = folder.stat()
    above |= {(status.st_dev, status.st_ino)}
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.resolve() in left_out:
            continue
        if path.is_dir():
            status = path.stat()
            if (status.st_dev, status.st_ino) not in above:
                yield path
                yield from _walk(path, left_out, above)
        elif path.is_file():
            yield path


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    # Neither times nor owners: they differ from copy to copy of the same data.
    entry = tarfile.TarInfo(name)
    if path.is_dir():
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(entry)
        return
    with path.open("rb") as file:
        entry.size, entry.mode = os.fstat(file.fileno()).st_size, 0o644
        archive.addfile(entry, file)


def unpack(shipment: Shipment, root: Path, get: Callable[[Any], bytes]) -> Path:
    """Unpack a shipment at ``root/DIGEST`` unless it lies there already, and return that folder.

    Of several processes that try at once one unpacks and the others wait for it. The folder appears complete or not at
    all.

    Args:
        get: the chunk that the sender's ``put`` made an entry of ``chunks`` from.

    Raises:
        ShippingError: no room, no permission, a damaged archive, or one with names that lead out of the folder.
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
    # Under the lock, so what another process left half-made is nobody's any more.
    partial = folder.with_name(f"{shipment.digest}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        reader = _ChunkReader(get(chunk) for chunk in shipment.chunks)
        with tarfile.open(fileobj=reader, mode="r|") as archive:
            # "data" takes names for names below the folder and refuses "..", links that lead out and devices.
            archive.extractall(partial, filter="data")
        if reader.finish() != shipment.digest:
            raise tarfile.TarError("it was damaged on the way")
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class _ChunkWriter(io.RawIOBase):
    """A file to write to, cut into chunks."""

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
        if self._buffer:
            self._send(len(self._buffer))
        return Shipment(digest=self._digest.hexdigest(), chunks=tuple(self._chunks))


class _ChunkReader(io.RawIOBase):
    """A file to read from, fetched chunk by chunk."""

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
        """The digest of everything, what the archive's reader had no use for included."""
        for chunk in self._chunks:
            self._digest.update(chunk)
        return self._digest.hexdigest()
