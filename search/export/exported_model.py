"""The model folder of an export: written from the refits' weights, then checked against their predictions.

Imported predictions come without networks. An export that blends them in therefore has a model folder with the refits
alone and a blend of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search.export.final_model import MemberRefits, Refits
from search.export.plan import weight_files
from search.runtime.errors import SearchError
from search.runtime.home import Home
from trainer.data.image_set import ImageSet
from trainer.inference.predict import read_weights

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-5
"""Largest allowed difference between a probability of the refits and of the exported folder, on the same device."""
TOLERANCE_ACROSS_DEVICES = 1e-3
"""The same if the refits ran on another device: it adds in another order, and deep networks amplify the rounding."""
TOLERANCE_OF_BLEND = 1e-6
"""Largest allowed difference between two blends of the same predictions, one in float32 and one in float64."""
VERIFIED_IMAGES = 8
"""Number of test images, evenly spaced, that the check predicts."""


class ExportBroken(SearchError):
    """The model folder cannot be made, or its predictions differ from those of its refits. Nothing was written."""


class _StoredStates(Mapping[str, "Mapping[str, torch.Tensor]"]):
    """The networks of a member by name. Each is read from its file on access, because all may exceed the memory."""

    def __init__(self, refit: MemberRefits, home: Home) -> None:
        self._files = {
            f"{_prefix(refit)}trial{refit.member.number}-seed{record.seed}-{path.stem}": path
            for record in refit.records
            for path in weight_files(home, refit.member.study, record.work_id)
        }

    def __getitem__(self, name: str) -> Mapping[str, torch.Tensor]:
        return read_weights(self._files[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def _prefix(refit: MemberRefits) -> str:
    """Prefix of a network's name: the name of its study, if the export has trials of several studies; else empty."""
    return f"{refit.member.name.study}-" * bool(refit.member.name.study)


def write_model(refits: Refits, images: ImageSet, home: Home, folder: Path) -> None:
    """Write the networks, recipes and blend of an export into ``folder``.

    Raises:
        ModelError: the folder cannot be read back.
        ExportBroken: networks were removed after the export was planned.
    """
    from trainer.networks.backbones import preprocessing_of
    from trainer.training.write_model_folder import FolderMember, write_model_folder

    for refit in refits.members:
        if not all(weight_files(home, refit.member.study, record.work_id) for record in refit.records):
            raise ExportBroken(
                f"networks of {refit.member.name} were removed after this export was planned, because better trials "
                "have ended: export again"
            )
    write_model_folder(
        folder,
        class_names=images.class_names,
        members=[
            FolderMember(
                recipe=refit.member.recipe,
                preprocessing=preprocessing_of(refit.member.recipe.backbone),
                views=refit.views,
                state_dicts=_StoredStates(refit, home),
            )
            for refit in refits.members
        ],
        blend=refits.model.blend,
        data_fingerprint=images.fingerprint,
        value_ranges=images.value_ranges,
    )


def verify_model(model: Path, refits: Refits, images: ImageSet) -> None:
    """Predict a few test images with the folder alone, from the image files, as its users will.

    Each member is compared with its own refits. The folder's blend of all test predictions is compared with the
    export's.

    Raises:
        ExportBroken: a probability differs by more than the tolerance.
    """
    import torch

    from trainer.inference.images import resize_image
    from trainer.inference.model_folder import load_model_folder
    from trainer.inference.predict import predict_member

    blended = refits.model.test
    assert blended is not None, "there is nothing to compare with"
    loaded = load_model_folder(model)
    chosen = np.unique(np.linspace(0, len(blended) - 1, VERIFIED_IMAGES, dtype=np.int64))
    pictures = [images.test_images.read(int(i)) for i in chosen]
    for member, refit in zip(loaded.members, refits.members, strict=True):
        assert refit.test is not None, "all members have predictions of the test images, or none"
        pixels = np.stack([resize_image(picture, *member.form) for picture in pictures])
        trained_on = {str(record.machine.get("device", "cpu")) for record in refit.records}
        device = "cuda" if torch.cuda.is_available() and "cpu" not in trained_on else "cpu"
        device_name = torch.cuda.get_device_name() if device == "cuda" else device
        tolerance = TOLERANCE if trained_on == {device_name} else TOLERANCE_ACROSS_DEVICES
        _compare(predict_member(loaded, member, pixels, device=device), refit.test[chosen], tolerance)
    tests = np.stack([refit.test for refit in refits.members if refit.test is not None])
    _compare(loaded.blend.probabilities(tests), blended, TOLERANCE_OF_BLEND)


def _compare(exported: NDArray[np.floating[Any]], refitted: NDArray[np.float32], tolerance: float) -> None:
    difference = float(np.abs(exported - refitted).max())
    if not difference <= tolerance:
        raise ExportBroken(
            f"probabilities of the exported model differ by up to {difference:.2g} from those of its refits"
        )
