"""``search convert``: an exported model in other formats."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from search.runtime.console import note, open_console, say
from search.runtime.errors import SearchError
from trainer.inference.resources import size_text

if TYPE_CHECKING:
    from trainer.conversion.convert import Converted

log = logging.getLogger(__name__)


class NothingConverted(SearchError):
    """No format holds the model."""


def convert_model(folder: Path, images: Sequence[Path], to: Sequence[str]) -> None:
    """Convert a model folder to each format, and print what came out. A format that fails leaves the others.

    Args:
        images: for the check, see `trainer.conversion.convert.convert`.
        to: names of formats; none: all whose packages are installed.

    Raises:
        NothingConverted: no format worked.
        ModelError, ImageError: as `trainer.conversion.convert.convert`.
    """
    from trainer.conversion.convert import ConversionError, convert, missing_packages
    from trainer.conversion.formats import FORMATS

    console = open_console()
    formats = [FORMATS[name] for name in dict.fromkeys(to)] or list(FORMATS.values())
    if not to:
        for left_out in (one for one in formats if missing_packages(one)):
            packages = " ".join(missing_packages(left_out))
            note(console, f"{left_out.name} is left out, for it needs packages: pip install {packages}")
        formats = [one for one in formats if not missing_packages(one)]
    failures = []
    for one in formats:
        try:
            converted = convert(folder, one, images, on_network=partial(_progress, console, one.name))
        except ConversionError as error:
            failures.append(str(error))
            continue
        say(console, f"{one.name}: {_description(converted)}", whole=True)
    for failure in failures:
        log.warning("%s", failure)
    if len(failures) == len(formats):
        raise NothingConverted("the model was converted to no format; its folder is as before")


def _progress(console: Console, name: str, done: int, networks: int) -> None:
    if done < networks:
        say(console, f"{name}: {done} of {networks} networks")


def _description(converted: Converted) -> str:
    return (
        f"{converted.networks} network{'s' * (converted.networks != 1)} in {converted.folder} "
        f"({size_text(converted.size)}). Probabilities of {converted.images} images differ from the original by at "
        f"most {converted.difference:.1g}; {converted.converted_time:.3g} ms an image on this CPU instead of "
        f"{converted.original_time:.3g} ms."
    )
