"""What was measured of backbones on this machine, kept so that it is measured once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from search.runtime.home import Home, HomeNotWritable
from trainer.common.files import replacing

MAX_FILE_BYTES = 16 * 2**20
"""Some 200 bytes a measurement: what is larger is something else."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a measurement holds for."""

    architecture: str
    image_size: int
    """Side in pixels."""
    batch_size: int
    device: str
    timm: str
    torch: str


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured: training images a second, and bytes of memory at the peak."""

    images_per_second: float
    memory: int


class Measurements:
    """Measurements by setup, in a file of the home that several processes may add to."""

    def __init__(self, home: Home) -> None:
        self._path = home.measurements
        self._known = dict(_read(self._path))

    def get(self, setup: Setup) -> Measured | None:
        """What is known, if anything."""
        return self._known.get(setup)

    def add(self, setup: Setup, measured: Measured) -> None:
        """Keep a measurement, also for later calls.

        Raises:
            HomeNotWritable: it is kept for this process only.
        """
        self._known[setup] = measured
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self._path.with_suffix(".lock")):
                known = dict(_read(self._path)) | {setup: measured}
                rows = [asdict(key) | asdict(value) for key, value in known.items()]
                with replacing(self._path) as temporary:
                    temporary.write_text(json.dumps(rows, indent=0), encoding="utf-8")
        except OSError as error:
            raise HomeNotWritable(
                f"{self._path} cannot be written to ({error.strerror or error}); --home or RETABLE_HOME names another "
                "folder for what is measured"
            ) from error


def _read(path: Path) -> Iterator[tuple[Setup, Measured]]:
    """What the file holds; entries that are not ours are passed over: they are measured again."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return
    for row in rows if isinstance(rows, list) else []:
        entry = _entry(row)
        if entry is not None:
            yield entry


def _entry(row: object) -> tuple[Setup, Measured] | None:
    if not isinstance(row, dict) or set(row) != {*Setup.__dataclass_fields__, *Measured.__dataclass_fields__}:
        return None
    text = {key: row[key] for key in ("architecture", "device", "timm", "torch")}
    sizes = {key: row[key] for key in ("image_size", "batch_size")}
    speed, memory = row["images_per_second"], row["memory"]
    if not all(isinstance(value, str) for value in text.values()):
        return None
    if not all(type(value) is int and value > 0 for value in (*sizes.values(), memory)):
        return None
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 < speed < float("inf"):
        return None
    return Setup(**text, **sizes), Measured(images_per_second=float(speed), memory=memory)
