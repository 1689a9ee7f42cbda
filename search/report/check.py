"""``search check``: what is in a folder, before anything is begun."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from search.runtime.console import open_console, say
from search.study_setup.data_folder import inspect_aloud
from studies.settings import DataSettings
from trainer.data.description import describe


@dataclass(frozen=True, kw_only=True)
class ShiftRequest:
    """How training and test images are to be compared."""

    backbone: str | None = None
    """Whose frozen features; None: what is at hand."""
    weights: Path | None = None
    """Folder of pre-trained weights."""


def check(folder: Path, *, settings: DataSettings, n_folds: int, shift: ShiftRequest | None) -> None:
    """Read everything in ``folder``, as `search start` would, and say what was found.

    Args:
        shift: None: training and test images are not compared.

    Raises:
        DataError: listing everything that is wrong with the data.
        BackboneError: a backbone to compare by that cannot be used.
    """
    console = open_console()
    if shift is not None and shift.backbone is not None:
        from trainer.networks.backbones import check_backbone

        check_backbone(shift.backbone)
    competition = inspect_aloud(folder, settings.options, console)
    for line in describe(competition.images, competition.duplicates, n_folds):
        say(console, line)
    if shift is not None and len(competition.images.test_ids):
        from search.report.shift_report import shift_lines
        from search.study_setup.shift_features import aloud

        with aloud(console) as progress:
            lines = shift_lines(competition, backbone=shift.backbone, weights=shift.weights, say=progress)
        for line in lines:
            say(console, line)
