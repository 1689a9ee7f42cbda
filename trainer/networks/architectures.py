"""Size of timm's architectures, which of them classify, and for which images: a shipped table and its generator.

    python -m trainer.networks.architectures

writes the table for the installed timm (about an hour on one core). The table exists because building a network to
count its weights takes a tenth of a second to ten seconds. If the table lacks an architecture of a newer timm, the
network is built on torch's meta device, which takes no memory and computes nothing.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
import logging
import sys
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainer.common.files import replacing
from trainer.networks.backbones import check_backbone, native_size, size_arguments

TABLE = "architectures.csv"
HEADER = ("architecture", "parameters", "classifies", "sizes")
CLASSES = 1000  # classes of the classifier that the number of parameters includes

TRIED_SIZES = (64, 128, 224, 256, 384)
"""Sides, in pixels, for which the table says whether an architecture takes them."""
MAX_TRIED = 120_000_000
"""Parameters up to which the table says so. Building a larger network takes too long; it is taken to accept what most
smaller ones with the same first word in their names accept."""
STEP = 32
"""An architecture that takes all of `TRIED_SIZES` is taken to accept every larger multiple: networks reduce an image 32
times at most, and fit their windows to the result."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Properties of a network that do not depend on its weights."""

    parameters: int
    """Number of trainable parameters, including a classifier of `CLASSES` classes."""
    classifies: bool
    """Whether it outputs class scores; encoders made for other purposes do not, and cannot be trained here."""
    sizes: frozenset[int] | None = None
    """Those of `TRIED_SIZES` for which it can be built from its pre-trained weights; None: unknown."""


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
        row["architecture"]: Architecture(
            parameters=int(row["parameters"]), classifies=row["classifies"] == "yes", sizes=_read_sizes(row["sizes"])
        )
        for row in csv.DictReader(text.splitlines())
    }


def _read_sizes(text: str) -> frozenset[int] | None:
    if text in ("", "all"):
        return frozenset(TRIED_SIZES) if text else None
    return frozenset() if text == "none" else frozenset(map(int, text.split()))


def _write_sizes(sizes: frozenset[int] | None) -> str:
    if sizes is None or sizes == frozenset(TRIED_SIZES):
        return "" if sizes is None else "all"
    return " ".join(map(str, sorted(sizes))) or "none"


def takes_size(name: str, size: int) -> bool:
    """Whether a timm model can be built from its pre-trained weights for square images of ``size`` pixels.

    Transformers are built for a size, and their position embeddings are resampled. Most convolutional networks take any
    size. At the size for which the weights were made, every model can.

    Raises:
        BackboneError: timm has no such architecture.
    """
    if size == native_size(name):
        return True
    architecture = architecture_of(name)
    known = architecture.sizes
    if known is None and architecture.parameters > MAX_TRIED:
        known = _sizes_of_smaller(name.partition("_")[0])
    if known is not None and size in TRIED_SIZES:
        return size in known
    if known == frozenset(TRIED_SIZES) and size >= TRIED_SIZES[0] and size % STEP == 0:
        return True
    return size in _taken(name.partition(".")[0], (size,))


def _sizes_of_smaller(first_word: str) -> frozenset[int]:
    """The sizes that most architectures of the table take whose names begin with this word; all if there are none."""
    smaller = [row.sizes for name, row in shipped_table().items() if name.partition("_")[0] == first_word]
    known = Counter(sizes for sizes in smaller if sizes is not None)
    return known.most_common(1)[0][0] if known else frozenset(TRIED_SIZES)


@functools.cache
def _taken(architecture: str, sizes: tuple[int, ...]) -> frozenset[int]:
    """Those of ``sizes`` for which the architecture can be built from weights of its own size; on the meta device."""
    import timm
    import torch

    from trainer.networks.pretrained.create import create_pretrained

    with torch.device("meta"), torch.no_grad():
        native = timm.create_model(architecture, pretrained=False, num_classes=CLASSES).eval()
        state = native.state_dict()

        def takes(size: int) -> bool:
            arguments = size_arguments(architecture, size)
            try:
                model = create_pretrained(architecture, state, CLASSES, arguments).eval() if arguments else native
                scores = model(torch.zeros(1, 3, size, size))
            except Exception:  # models raise exceptions of any type when a size does not fit
                return False
            return isinstance(scores, torch.Tensor) and scores.shape == (1, CLASSES)

        return frozenset(filter(takes, sizes))


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


def _with_sizes(name: str) -> Architecture:
    built = _built(name)
    if not built.classifies or built.parameters > MAX_TRIED:
        return built
    return replace(built, sizes=_taken(name, TRIED_SIZES))


def write_table(path: Path) -> None:
    """Build every architecture of the installed timm and write the table, with progress on stderr."""
    import timm

    names = timm.list_models()
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for number, name in enumerate(names, 1):
            built = _with_sizes(name)
            row = [name, built.parameters, "yes" if built.classifies else "no", _write_sizes(built.sizes)]
            writer.writerow(row)
            print(f"\r{number}/{len(names)} {name:<60}", end="", file=sys.stderr)
    print(file=sys.stderr)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    write_table(Path(__file__).with_name(TABLE))
