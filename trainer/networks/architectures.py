"""Size of timm's architectures, and which of them can classify: a shipped table and its generator.

    python -m trainer.networks.architectures

writes the table for the installed timm (about twenty minutes on one core). The table exists because building a network
to count its weights takes a tenth of a second to ten seconds. If the table lacks an architecture of a newer timm, the
network is built on torch's meta device, which takes no memory and computes nothing.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
import logging
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.common.files import replacing
from trainer.networks.backbones import check_backbone

TABLE = "architectures.csv"
HEADER = ("architecture", "parameters", "classifies")
CLASSES = 1000  # classes of the classifier that the number of parameters includes


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Properties of a network that do not depend on its weights."""

    parameters: int
    """Number of trainable parameters, including a classifier of `CLASSES` classes."""
    classifies: bool
    """Whether it outputs class scores; encoders made for other purposes do not, and cannot be trained here."""


def architecture_of(name: str) -> Architecture:
    """Look up the architecture of a timm model, named with or without a tag, and build it if the table lacks it.

    Raises:
        BackboneError: timm has no such architecture.
    """
    architecture = name.partition(".")[0]
    return shipped_table().get(architecture) or _built(architecture)


@functools.cache
def shipped_table() -> Mapping[str, Architecture]:
    """The shipped table: properties by name of the architecture."""
    text = importlib.resources.files("trainer.networks").joinpath(TABLE).read_text(encoding="utf-8")
    return {
        row["architecture"]: Architecture(parameters=int(row["parameters"]), classifies=row["classifies"] == "yes")
        for row in csv.DictReader(text.splitlines())
    }


@functools.cache
def _built(architecture: str) -> Architecture:
    import timm
    import torch

    check_backbone(architecture)
    with torch.device("meta"), torch.no_grad():
        model = timm.create_model(architecture, pretrained=False, num_classes=CLASSES).eval()
        config: Any = model.pretrained_cfg
        try:
            scores = model(torch.zeros(1, *config["input_size"]))
        except Exception:  # of any type: some forward passes need real tensors, so a failure does not prove an encoder
            classifies = hasattr(model, "reset_classifier")
        else:
            classifies = isinstance(scores, torch.Tensor) and scores.shape == (1, CLASSES)
    return Architecture(parameters=sum(weight.numel() for weight in model.parameters()), classifies=classifies)


def write_table(path: Path) -> None:
    """Build every architecture of the installed timm and write the table, with progress on stderr."""
    import timm

    names = timm.list_models()
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for number, name in enumerate(names, 1):
            built = _built(name)
            writer.writerow([name, built.parameters, "yes" if built.classifies else "no"])
            print(f"\r{number}/{len(names)} {name:<60}", end="", file=sys.stderr)
    print(file=sys.stderr)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    write_table(Path(__file__).with_name(TABLE))
