"""The formats that a network can be converted to. Each writes one file and opens it again."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.conversion.files import PROGRAM_FOLDER
from trainer.conversion.portable import PortableNetwork
from trainer.inference.networks.onnx_networks import INPUT, ONNX_FOLDER, OUTPUT, open_onnx

BATCH = 2
"""Images in the example from which a program is traced. One image would be taken as a fixed batch size."""


class Format(ABC):
    """A format of networks."""

    name: ClassVar[str]
    """For people, and in `FORMATS`."""
    folder: ClassVar[str]
    """In the model folder."""
    suffix: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    """What has to be installed, beside torch."""

    @abstractmethod
    def write(self, network: PortableNetwork, size: int, path: Path) -> None:
        """Write a network for images of ``size`` pixels and batches of any length; raises whatever the library does."""

    @abstractmethod
    def open(self, path: Path) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
        """The written network on the CPU, from a batch of resized images to probabilities ``(n, classes)``."""


class Onnx(Format):
    """ONNX by torch.onnx (dynamo), run by ONNX Runtime."""

    name = "onnx"
    folder = ONNX_FOLDER
    suffix = ".onnx"
    packages = ("onnx", "onnxscript", "onnxruntime")

    def write(self, network: PortableNetwork, size: int, path: Path) -> None:
        with _quiet():
            torch.onnx.export(
                network,
                (_example(size),),
                path,
                dynamo=True,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("n")},),
                external_data=False,
            )

    def open(self, path: Path) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
        return open_onnx(path)


class Program(Format):
    """A program of torch.export, which needs torch alone."""

    name = "torch-export"
    folder = PROGRAM_FOLDER
    suffix = ".pt2"
    packages = ()

    def write(self, network: PortableNetwork, size: int, path: Path) -> None:
        with _quiet(), torch.no_grad():
            program = torch.export.export(network, (_example(size),), dynamic_shapes=({0: torch.export.Dim("n")},))
            content = io.BytesIO()  # on a full disk, torch's own writer of files ends the process
            torch.export.save(program, content)
        with path.open("wb") as file:
            file.write(content.getbuffer())

    def open(self, path: Path) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
        program = torch.export.load(path).module()

        def network(images: NDArray[np.uint8]) -> NDArray[np.float32]:
            with torch.no_grad():
                found: NDArray[np.float32] = program(torch.from_numpy(images)).numpy()
            return found

        return network


FORMATS: dict[str, Format] = {one.name: one for one in (Onnx(), Program())}
"""All formats by name."""


def _example(size: int) -> torch.Tensor:
    return torch.zeros((BATCH, size, size, 3), dtype=torch.uint8)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress lines and deprecation warnings of the exporters, which are no concern of users."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
