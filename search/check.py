"""``search check``: what is in a folder, before anything is begun."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from studies.settings import DataSettings
from trainer.data import read_images
from trainer.describe import describe
from trainer.duplicates import find_duplicates


def check(folder: Path, *, settings: DataSettings, n_folds: int) -> None:
    """Read everything in ``folder``, as `search start` would, and say what was found.

    Raises:
        DataError: listing everything that is wrong with the data.
    """
    console = Console()
    with console.status(f"Reading {escape(str(folder))} …"):
        images = read_images(folder, settings.options)
        duplicates = find_duplicates(images)
    for line in describe(images, duplicates, n_folds):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
