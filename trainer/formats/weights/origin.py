"""The images that trained a network, in an entry of its own safetensors file.

A network may be copied without what stands beside it: without the folder of its export, or without its description. The
entry stays with it, so that a later study does not take a network for its start that knows the labels on which the
study scores its trials. The format allows text entries beside the tensors, under the name ``__metadata__``:
https://huggingface.co/docs/safetensors. Files come from other people, so the entry is checked like any other input.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from trainer.common.errors import BackboneError
from trainer.formats.weights.header import read_header
from trainer.formats.weights.trained_on import TrainedOn, read_sets, written_sets

ENTRY = "retable_trained_on"
"""Name of the entry: a JSON list of image sets, as in a description."""


def origin_entry(trained_on: Sequence[TrainedOn]) -> dict[str, str]:
    """The entry of a network that these images trained, as ``safetensors`` takes it; no entry without images."""
    return {ENTRY: json.dumps(written_sets(trained_on))} if trained_on else {}


def read_origin(file: Path) -> tuple[TrainedOn, ...] | None:
    """The images that trained the network in a file, as its entry says; None: it has no entry.

    Raises:
        BackboneError: the file cannot be read, or the entry is damaged.
    """
    try:
        header = read_header(file)
    except OSError as error:
        raise BackboneError(f"the weights {file} cannot be read: {error.strerror or error}") from error
    entries = None if header is None else header.tensors.get("__metadata__")
    text = entries.get(ENTRY) if isinstance(entries, dict) else None
    if text is None:
        return None
    try:
        sets = read_sets(json.loads(text))
    except (ValueError, TypeError, RecursionError):
        sets = None
    if sets is None:
        raise BackboneError(f"the weights {file} are damaged: their entry {ENTRY} is no list of image sets")
    return sets


def origin_of_all(files: Iterable[Path]) -> tuple[TrainedOn, ...]:
    """The images that trained any of several networks, each set once; empty if a network has no entry.

    Raises:
        BackboneError: as `read_origin`.
    """
    found = [read_origin(file) for file in files]
    return () if None in found else tuple(dict.fromkeys(one for sets in found for one in sets or ()))
