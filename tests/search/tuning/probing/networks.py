"""The networks of the studies that `tests.search.tuning.probing.conftest` makes."""

from __future__ import annotations

from collections.abc import Callable

from search.worker.study_context import StudyContext

NETWORKS = ("test_resnet", "test_efficientnet")
Make = Callable[..., StudyContext]
"""Makes a worker's context for a new study with a budget, and changes of its file as FIELD=VALUE."""
