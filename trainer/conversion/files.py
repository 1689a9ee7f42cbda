"""Names and digests of the files of a conversion, readable without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from trainer.inference.model_folder import MAX_CONFIG_BYTES
from trainer.inference.networks.onnx_networks import INDEX, INDEX_FORMAT, ONNX_FOLDER

PROGRAM_FOLDER = "torch_export"
FOLDERS = (ONNX_FOLDER, PROGRAM_FOLDER)
"""Folders in a model folder that hold a conversion."""
SINGLE_FOLDER = "single"
"""The folder in a model folder that holds one network instead of its ensemble, itself a model folder."""
SCRATCH = ".retable-convert-"
"""Beginning of the name of a folder in the model folder, while a conversion is made in it."""


def converted_files(folder: Path) -> Mapping[str, str]:
    """SHA-256 (hex) of each file that the index of a conversion names; none if it is not valid.

    A conversion to another format names its networks, a single network all its files.
    """
    try:
        with (folder / INDEX).open("rb") as file:
            index = json.loads(file.read(MAX_CONFIG_BYTES + 1))
        if index["format"] != INDEX_FORMAT:
            return {}
        return {str(entry["file"]): str(entry["sha256"]) for entry in index["networks"]}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}
