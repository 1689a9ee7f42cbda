"""Checkpoints of a cross-validation: one file, replaced as a whole, written beside the training."""

from __future__ import annotations

import logging
import os
import pickle
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch

from trainer.common.files import replacing

log = logging.getLogger(__name__)

FORMAT = 1

SHORTEST_INTERVAL = 60.0  # seconds between two checkpoints
LONGEST_INTERVAL = 180.0  # seconds: what a killed training may lose where an epoch is shorter than that
LARGEST_COST = 0.02  # share of the training's time that may go into checkpoints


class CheckpointFile:
    """The checkpoint of one training.

    Args:
        path: the file; its folder is made when the first checkpoint is written.
        identity: digest of all that the training is a function of; a file of another identity is not loaded.
        clock: seconds, monotonic.
    """

    def __init__(self, path: Path, identity: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._identity = identity
        self._clock = clock
        self._last = self._offered = clock()
        self._interval = SHORTEST_INTERVAL
        self._writing: threading.Thread | None = None

    def load(self) -> dict[str, Any] | None:
        """The content last written, with its tensors on the CPU.

        None where there is no file, and, with a logged warning, where it is damaged or of another training: then the
        training begins anew, which costs time and nothing else.
        """
        try:
            payload = torch.load(self._path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError, BadZipFile) as error:
            log.warning("Ignoring the damaged checkpoint %s: %s", self._path, str(error).partition("\n")[0])
            return None
        if not isinstance(payload, dict) or payload.get("format") != FORMAT:
            log.warning("Ignoring the checkpoint %s: its format is unknown.", self._path)
            return None
        if payload.get("identity") != self._identity:
            log.warning(
                "Ignoring the checkpoint %s: it is of another recipe, seed, split, data set, torch or timm.",
                self._path,
            )
            return None
        return dict(payload["content"])

    def offer(self, content: Callable[[], dict[str, Any]]) -> bool:
        """Write a checkpoint in the background if one is due; called after every epoch.

        Due is at most once in `SHORTEST_INTERVAL`, less often where the copying that holds the training up would cost
        more than `LARGEST_COST` of its time. But a kill at any moment loses at most `LONGEST_INTERVAL` or one epoch,
        whichever is longer: due is also where the end of another epoch as long as this one would be too late.

        Args:
            content: makes nested dictionaries and lists of tensors and plain values; copied before this returns.

        A full disk is no reason to lose a training: what cannot be written is logged as a warning.

        Returns:
            Whether one was begun.
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

        As in `offer`, what cannot be written is logged as a warning; the file before it, if any, is untouched then.
        """
        self.close()
        self._write_or_warn(content)

    def close(self) -> None:
        """Wait for the checkpoint being written, if any."""
        if self._writing is not None:
            self._writing.join()
            self._writing = None

    def _write_or_warn(self, content: dict[str, Any]) -> None:
        try:
            self._write(content)
        except (OSError, RuntimeError) as error:
            # torch turns a failed write into a RuntimeError about file positions; the cause is what it came from.
            cause = error.__context__ if isinstance(error.__context__, OSError) else error
            log.warning("Cannot write the checkpoint %s: %s", self._path, str(cause).partition("\n")[0])

    def _write(self, content: dict[str, Any]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Two workers may hold the same trial for a moment, when a lease is lost: the last whole file wins.
        with replacing(self._path) as temporary, temporary.open("wb") as file:
            torch.save({"format": FORMAT, "identity": self._identity, "content": content}, file)
            file.flush()
            os.fsync(file.fileno())


def _copy_to_host(value: Any) -> Any:
    """The same structure with every tensor copied to the CPU: what trains on goes on changing."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copy_to_host(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copy_to_host(item) for item in value)
    return value
