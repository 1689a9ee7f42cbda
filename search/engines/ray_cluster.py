"""Connection to a Ray cluster.

Ray is imported in the functions: `search.engines.ray` reports that it is missing.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from search.engines.interface import EngineError

CONNECT_TIME = 5.0  # seconds that a cluster has to accept a connection
MOST_CPUS = 16  # CPUs that a worker asks for by itself; images are augmented by one process each


def connect(address: str | None) -> None:
    """Connect this process to a cluster.

    Args:
        address: for ``ray.init``. None: the cluster of the environment or of this machine, else a new one of this
            machine alone.

    Raises:
        EngineError: the cluster cannot be reached, or its versions of Ray and Python differ from this process's.
    """
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    known = address or os.environ.get("RAY_ADDRESS")
    where = f"at {known}" if known else "of this machine"
    try:
        if known:
            _check_connection(known)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except ImportError as error:
        raise EngineError(f"a cluster {where} is reached by Ray's client: pip install 'ray[client]'") from error
    except (OSError, RuntimeError, ValueError) as error:
        raise EngineError(f"the Ray cluster {where} cannot be used: {error}") from error
    # Ray has no option to silence the thirty lines that it prints when a machine is lost; the fleet logs one line.
    with suppress(AttributeError):
        ray._private.worker._worker_logs_enabled = False


def _check_connection(address: str) -> None:
    """Open and close a connection, since Ray would retry for minutes.

    Raises:
        OSError: the address does not accept connections.
    """
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIME).close()


def is_alive(node_id: str) -> bool:
    """Whether a machine is part of the cluster; False if the cluster itself does not respond."""
    import ray
    from ray.exceptions import RayError

    try:
        return any(node["NodeID"] == node_id and node["Alive"] for node in ray.nodes())
    except (RayError, ConnectionError, RuntimeError):
        return False


def fitting_cpus(nodes: Iterable[Mapping[str, Any]], gpus: float) -> float:
    """CPUs for a worker with ``gpus`` GPUs, so that every node has room for a worker on each of its GPUs.

    Args:
        nodes: as ``ray.nodes()`` returns them.

    Returns:
        At least 1 and at most `MOST_CPUS`.
    """
    resources = [node["Resources"] for node in nodes if node["Alive"]]
    per_gpu = [node.get("CPU", 0.0) / node["GPU"] for node in resources if node.get("GPU", 0.0) > 0]
    return max(1.0, min(float(MOST_CPUS), min(per_gpu, default=0.0) * gpus) // 1)
