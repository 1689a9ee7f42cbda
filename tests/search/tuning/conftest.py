"""Probes that cost less: these tests ask which of them are made, and when."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trainer.probing import linear_head


@pytest.fixture(scope="module", autouse=True)
def _few_penalties() -> Iterator[None]:
    """A third of the penalties, which take most of the time of a probe of tiny images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear_head, "PENALTIES", linear_head.PENALTIES[::3])
        yield
