"""CPUs that the workers of a Ray cluster ask for."""

from __future__ import annotations

from typing import Any

import pytest

from search.engines.ray_cluster import fitting_cpus


def node(cpus: float | None, gpus: float | None = None, *, alive: bool = True) -> dict[str, Any]:
    resources = {"CPU": cpus, "GPU": gpus, "memory": 1e9}
    return {"Alive": alive, "Resources": {name: value for name, value in resources.items() if value is not None}}


@pytest.mark.parametrize(
    ("nodes", "gpus", "cpus"),
    [
        ([node(64, 8)], 1, 8),
        ([node(64, 8), node(20, 4), node(2)], 1, 5),
        ([node(64, 8), node(2, 2, alive=False)], 1, 8),
        ([node(64, 8)], 0.5, 4),
        ([node(64, 8)], 2, 16),
        ([node(7, 2)], 1, 3),
        ([node(256, 1)], 1, 16),
        ([node(2, 8)], 1, 1),
        ([node(None, 4)], 1, 1),
        ([node(32)], 1, 1),
        ([], 1, 1),
    ],
)
def test_a_worker_asks_for_the_cpus_beside_its_gpus(nodes: list[dict[str, Any]], gpus: float, cpus: float) -> None:
    assert fitting_cpus(nodes, gpus) == cpus
