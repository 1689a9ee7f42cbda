"""``search check``: what is in a folder, before anything is begun."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from search.competition import inspect_aloud
from studies.settings import DataSettings
from trainer.describe import describe


def check(folder: Path, *, settings: DataSettings, n_folds: int) -> None:
    """Read everything in ``folder``, as `search start` would, and say what was found.

    Raises:
        DataError: listing everything that is wrong with the data.
    """
    console = Console()
    competition = inspect_aloud(folder, settings.options, console)
    for line in describe(competition.images, competition.duplicates, n_folds):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
