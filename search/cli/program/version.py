"""``search --version``: the releases that a bug report has to name."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import typer

REPORTED = ("torch", "torchvision", "timm", "optuna", "optuna-dashboard", "albumentations", "sqlalchemy", "numpy")
"""Libraries on whose release results or stored data depend."""


def version_line() -> str:
    """Releases of Retable, Python and the libraries, read from their metadata without importing them."""
    libraries = ", ".join(f"{name} {_installed(name)}" for name in REPORTED)
    return f"retable {_installed('retable')}: Python {platform.python_version()}, {libraries}"


def print_version(wanted: bool) -> None:
    """Callback of the option: print the releases and end the program."""
    if wanted:
        typer.echo(version_line())
        raise typer.Exit


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"
