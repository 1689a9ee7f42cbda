"""What the console, the trackers and the report are told of a written export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.statistics.estimates import Estimate
from search.statistics.member_names import MemberName
from trainer.recipe.recipe import Scalar


@dataclass(frozen=True, kw_only=True)
class MemberSummary:
    """A recipe or imported predictions in the blend of an export."""

    name: MemberName
    recipe: Mapping[str, Scalar] | None
    """Flat, as exported; None for imported predictions."""
    default: Mapping[str, Scalar]
    """The default recipe of its study, flat."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """An export that `search.export.files.write_export` has written."""

    folder: Path
    files: tuple[str, ...]
    metric: str
    members: tuple[MemberSummary, ...]
    """All members of the blend, the leader first."""
    estimate: Estimate | None
    """The leader's own, from fresh splits; None if no recipe was confirmed."""
    score: float | None
    """Of the blend, on images that its networks did not see; None if there is no such score."""
    score_error: float | None
    """Standard error of ``score``."""
    by_confirmations: bool
    """Whether the score is that of the confirmations, because the model itself was trained on all images."""
    optimistic: bool = True
    """Whether ``score`` is too high because its images chose the recipe (`search.export.expected_score`)."""
    networks: int
    """Number of averaged networks, over all recipes."""
    more_seeds_help: bool
    """Whether `search.export.files.ADVISED_SEEDS` seeds give further networks: not where every recipe has as many or is
    a linear probe, which no seed changes."""
    views: tuple[tuple[str, ...], ...]
    """Test-time views of each recipe."""
    submission_kind: str | None
    """What the submission holds; None without test images."""
    reasons: tuple[str, ...]
    """Why these members were chosen, a sentence each."""
    expected: str
    """The forecast for the test images as a sentence; empty if there is none."""
    forecast: Mapping[str, Any] | None
    """The forecast as numbers, see `search.statistics.score_forecast.Forecast`."""
    blend_method: str
    """How the members are blended: a key of `search.export.rationale.BLEND_NAMES`."""
    warnings: tuple[str, ...]
    """Facts about the final model, and whether it averages fewer networks than an earlier export."""
    doubts: tuple[str, ...] = ()
    """Reasons to trust the export less, the most important first, `warnings` among them
    (`search.export.doubts.doubts_of_export`).
    """
