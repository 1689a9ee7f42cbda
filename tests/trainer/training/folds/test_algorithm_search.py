"""cuDNN's search for the fastest algorithms: for full batches, and only where enough steps follow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from trainer.recipe.recipe import Recipe
from trainer.training.folds.algorithm_search import SEARCH_STEPS, AlgorithmSearch, Batch

GPU = torch.device("cuda")


@pytest.fixture(autouse=True)
def allowed() -> Iterator[None]:
    with torch.backends.cudnn.flags(enabled=True, benchmark=True):
        yield


def search_of(device: torch.device, *, batches: int, epochs: int) -> AlgorithmSearch:
    return AlgorithmSearch(Recipe(batch_size=8, epochs=epochs), batches, device)


def batches(*sizes: int) -> list[Batch]:
    return [(np.zeros((size, 2, 2, 3), np.uint8), np.zeros(size, np.int64)) for size in sizes]


def searches(search: AlgorithmSearch, *sizes: int, epoch: int = 1) -> list[bool]:
    """For each batch whether cuDNN may search while it is in use."""
    return [torch.backends.cudnn.benchmark for _ in search.during(epoch, batches(*sizes))]


def test_only_full_batches_are_searched() -> None:
    search = search_of(GPU, batches=3, epochs=SEARCH_STEPS)
    assert searches(search, 8, 8, 3) == [True, True, False]
    assert torch.backends.cudnn.benchmark, "predictions and other folds find what was set"
    assert searches(search, 5, 8) == [False, True]


@pytest.mark.parametrize(
    ("epochs", "first", "pays"),
    [(SEARCH_STEPS // 4, 1, True), (SEARCH_STEPS // 4 - 1, 1, False), (SEARCH_STEPS, SEARCH_STEPS - 3, False)],
)
def test_a_search_needs_enough_steps_after_it(epochs: int, first: int, pays: bool) -> None:
    search = search_of(GPU, batches=4, epochs=epochs)
    assert searches(search, 8, epoch=first) == [pays]
    assert searches(search, 8, epoch=epochs) == [pays], "what was found is used to the end"


def test_where_the_search_is_off_it_stays_off() -> None:
    torch.backends.cudnn.benchmark = False
    assert searches(search_of(GPU, batches=3, epochs=SEARCH_STEPS), 8) == [False]


def test_on_a_cpu_nothing_is_set() -> None:
    search = search_of(torch.device("cpu"), batches=3, epochs=1)
    assert searches(search, 8, 3) == [True, True]
