"""Transfer of the data folder through Ray's object store.

Ray is imported in the functions: `search.engines.ray` reports that it is missing.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

from search.engines.shipping import Shipment, ShippingError, pack


class DataPacker:
    """Packs one folder into Ray's object store, in a background thread, at the first request."""

    def __init__(self, folder: Path, *, leave_out: Collection[Path]) -> None:
        """
        Args:
            leave_out: files and folders to exclude.
        """
        self._folder = folder
        self._leave_out = leave_out
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="packing")
        self._packing: Future[Shipment] | None = None
        self._cancelled = Event()

    def shipment(self) -> Shipment | None:
        """The packed folder, the same for all machines; None while it is being packed.

        Raises:
            ShippingError: the folder cannot be packed.
        """
        if self._packing is None:
            self._packing = self._executor.submit(pack, self._folder, self._put, leave_out=self._leave_out)
        return self._packing.result() if self._packing.done() else None

    def cancel(self) -> None:
        """Stop packing at the next chunk."""
        self._cancelled.set()

    def close(self) -> None:
        """Wait for the thread to end, and let the cluster free the packed data."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._packing = None

    def _put(self, chunk: bytes) -> Any:
        import ray
        from ray.exceptions import RayError

        if self._cancelled.is_set():
            raise ShippingError("the workers were ended while the data was being packed")
        try:
            return ray.put(chunk)
        except RayError as error:
            raise ShippingError(f"the cluster has no room for the data: {error}") from error
