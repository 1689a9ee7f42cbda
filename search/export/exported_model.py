"""The model folder of an export: written from the refits' weights, and compared with what the refits predicted. Where
imported predictions take part in the export, the folder holds the refits and their own blend, which is what it is
compared with.
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

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-5
"""Largest difference of a probability between the refits' predictions and those of the exported folder."""
TOLERANCE_ACROSS_DEVICES = 1e-3
"""The same where the refits ran on another device than this host has: sums in another order, amplified by depth."""
TOLERANCE_OF_BLEND = 1e-6
"""Largest difference where both sides blend the same predictions: float32 against float64."""
VERIFIED_IMAGES = 8


class ExportBroken(SearchError):
    """The exported model cannot be made, or does not predict what its refits predicted. Nothing was written."""


class _StoredStates(Mapping[str, "Mapping[str, torch.Tensor]"]):
    """The networks of a member by name, each read from its file when asked for: all may be larger than memory."""

    def __init__(self, refit: MemberRefits, home: Home) -> None:
        self._files = {
            f"{_prefix(refit)}trial{refit.member.number}-seed{record.seed}-{path.stem}": path
            for record in refit.records
            for path in weight_files(home, refit.member.study, record.work_id)
        }

    def __getitem__(self, name: str) -> Mapping[str, torch.Tensor]:
        from safetensors.torch import load_file

        state: Mapping[str, torch.Tensor] = load_file(self._files[name])
        return state

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def _prefix(refit: MemberRefits) -> str:
    """Before the names of a member's networks, where trials of several studies have the same numbers."""
    return f"{refit.member.name.study}-" * bool(refit.member.name.study)


def write_model(refits: Refits, images: ImageSet, home: Home, folder: Path) -> None:
    """Write the model folder.

    Raises:
        ModelError: it cannot be read back.
        ExportBroken: networks are gone that were there when the export was planned.
    """
    from trainer.networks.backbones import preprocessing_of
    from trainer.training.write_model_folder import FolderMember, write_model_folder

    for refit in refits.members:
        if not all(weight_files(home, refit.member.study, record.work_id) for record in refit.records):
            raise ExportBroken(
                f"networks of {refit.member.name} were removed meanwhile, as better trials ended: export again"
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
    )


def verify_model(model: Path, refits: Refits, images: ImageSet) -> None:
    """Predict a few test images with nothing but the folder, from the files, as its users will: each member is compared
    with its own refits, and what the blend makes of all their test predictions with what it made before.

    Raises:
        ExportBroken: the folder predicts something else.
    """
    import torch

    from trainer.inference.images import resize_image
    from trainer.inference.model_folder import load_model_folder
    from trainer.inference.predict import predict_member

    together = refits.model.test
    assert together is not None, "there is nothing to compare with"
    loaded = load_model_folder(model)
    some = np.unique(np.linspace(0, len(together) - 1, VERIFIED_IMAGES, dtype=np.int64))
    pictures = [images.test_images.read(int(i)) for i in some]
    for member, refit in zip(loaded.members, refits.members, strict=True):
        assert refit.test is not None, "all members have predictions of the test images, or none"
        pixels = np.stack([resize_image(picture, *member.form) for picture in pictures])
        trained_on = {str(record.machine.get("device", "cpu")) for record in refit.records}
        device = "cuda" if torch.cuda.is_available() and "cpu" not in trained_on else "cpu"
        here = torch.cuda.get_device_name() if device == "cuda" else device
        tolerance = TOLERANCE if trained_on == {here} else TOLERANCE_ACROSS_DEVICES
        _compare(predict_member(loaded, member, pixels, device=device), refit.test[some], tolerance)
    tests = np.stack([refit.test for refit in refits.members if refit.test is not None])
    _compare(loaded.blend.probabilities(tests), together, TOLERANCE_OF_BLEND)


def _compare(exported: NDArray[np.floating[Any]], refitted: NDArray[np.float32], tolerance: float) -> None:
    difference = float(np.abs(exported - refitted).max())
    if not difference <= tolerance:
        raise ExportBroken(
            f"the exported model predicts probabilities that differ by {difference:.2g} from its refits'"
        )
