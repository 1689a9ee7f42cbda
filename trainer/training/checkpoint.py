"""Checkpoints of a cross-validation: one file, replaced atomically, written in the background.

The file is that of `torch.save`, followed by `MAGIC` and the SHA-256 of all bytes before it. torch verifies no checksum
when it loads: without the digest, most damaged files would load, and the training would continue from wrong numbers.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast
from zipfile import BadZipFile

import torch

from trainer.common.files import replacing

log = logging.getLogger(__name__)

FORMAT = 2
MAGIC = b"retable checkpoint sha256 "  # between the content and its digest
_TRAILER = len(MAGIC) + hashlib.sha256().digest_size  # bytes
_CHUNK = 2**22  # bytes that are hashed at a time

SHORTEST_INTERVAL = 60.0  # seconds between two checkpoints
LONGEST_INTERVAL = 180.0  # seconds of training that a kill may lose, if an epoch is shorter
LARGEST_COST = 0.02  # share of the training time that may be spent on checkpoints


class CheckpointFile:
    """The checkpoint of one training.

    Args:
        path: the file; its folder is created with the first checkpoint.
        identity: digest of everything that determines the training; a file with another identity is not loaded.
        clock: returns seconds, monotonic.
    """

    def __init__(self, path: Path, identity: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._identity = identity
        self._clock = clock
        self._last = self._offered = clock()
        self._interval = SHORTEST_INTERVAL
        self._writing: threading.Thread | None = None

    def load(self) -> dict[str, Any] | None:
        """Read the last content that was written, with its tensors on the CPU.

        Returns:
            None without a file. Also None, with a logged warning, if the file is damaged or belongs to another
            training: then the training starts again, which costs nothing but time.
        """
        try:
            with self._path.open("rb") as file:
                _verify(file)
                payload = torch.load(file, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError, BadZipFile) as error:
            log.warning(
                "Ignoring the damaged checkpoint %s, the training starts again: %s",
                self._path,
                str(error).partition("\n")[0],
            )
            return None
        if not isinstance(payload, dict) or payload.get("format") != FORMAT:
            log.warning("Ignoring the checkpoint %s: its format is unknown.", self._path)
            return None
        if payload.get("identity") != self._identity:
            log.warning(
                "Ignoring the checkpoint %s: it belongs to another recipe, seed, split, data set, torch or timm.",
                self._path,
            )
            return None
        return dict(payload["content"])

    def offer(self, content: Callable[[], dict[str, Any]]) -> bool:
        """Write a checkpoint in the background if one is due; to be called after every epoch.

        At most one checkpoint is due in `SHORTEST_INTERVAL`. The interval grows if copying the content, for which the
        training waits, would take more than `LARGEST_COST` of the time. A kill still loses at most `LONGEST_INTERVAL`
        or one epoch, whichever is longer: a checkpoint is also due if another epoch of the same length would exceed
        `LONGEST_INTERVAL`.

        A failed write is logged as a warning, because a full disk is no reason to lose a training.

        Args:
            content: returns nested dictionaries and lists of tensors and plain values; they are copied before this
                method returns.

        Returns:
            Whether a write was begun.
        """
        begun = self._clock()
        waited, epoch = begun - self._last, begun - self._offered
        self._offered = begun
        due = waited >= self._interval or waited + epoch > LONGEST_INTERVAL
        if not due or (self._writing is not None and self._writing.is_alive()):
            return False
        copy = _copy_to_host(content())
        self._last = self._clock()
        self._interval = min(max(SHORTEST_INTERVAL, (self._last - begun) / LARGEST_COST), LONGEST_INTERVAL)
        self._writing = threading.Thread(target=self._write_or_warn, args=(copy,), name="checkpoint")
        self._writing.start()
        return True

    def save(self, content: dict[str, Any]) -> None:
        """Write a checkpoint now and return when it is on disk.

        As in `offer`, a failed write is logged as a warning. It leaves the previous file in place.
        """
        self.close()
        self._write_or_warn(content)

    def close(self) -> None:
        """Wait until the write in the background, if any, has ended."""
        if self._writing is not None:
            self._writing.join()
            self._writing = None

    def _write_or_warn(self, content: dict[str, Any]) -> None:
        try:
            self._write(content)
        except (OSError, RuntimeError) as error:
            # torch turns a failed write into a RuntimeError about file positions; its context is the actual cause.
            cause = error.__context__ if isinstance(error.__context__, OSError) else error
            log.warning("Cannot write the checkpoint %s: %s", self._path, str(cause).partition("\n")[0])

    def _write(self, content: dict[str, Any]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # When a lease is lost, two workers may train the same trial for a moment: the last complete file wins.
        with replacing(self._path) as temporary, temporary.open("wb") as file:
            digesting = _DigestingFile(file)
            torch.save({"format": FORMAT, "identity": self._identity, "content": content}, cast("IO[bytes]", digesting))
            file.write(MAGIC + digesting.digest())
            file.flush()
            os.fsync(file.fileno())


class _DigestingFile:
    """A file for `torch.save` that computes the SHA-256 of what is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.digest = self._hash.digest

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _verify(file: IO[bytes]) -> None:
    """Check the digest at the end of an open checkpoint, and go back to its beginning.

    Raises:
        ValueError: the content is damaged, or has no digest.
    """
    size = file.seek(0, os.SEEK_END) - _TRAILER
    file.seek(max(0, size))
    trailer = file.read()
    file.seek(0)
    if size < 0 or not trailer.startswith(MAGIC):
        raise ValueError("it does not end with its digest")
    digest = hashlib.sha256()
    while left := size - file.tell():
        part = file.read(min(left, _CHUNK))
        if not part:
            raise ValueError("it became shorter while it was read")
        digest.update(part)
    if digest.digest() != trailer[len(MAGIC) :]:
        raise ValueError("its content does not match its digest")
    file.seek(0)


def _copy_to_host(value: Any) -> Any:
    """The same structure with every tensor copied to the CPU, because the training goes on changing the originals."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copy_to_host(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copy_to_host(item) for item in value)
    return value
