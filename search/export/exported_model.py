"""The model folder of an export: written from the refits' weights, then checked against their predictions.

Imported predictions come without networks. An export that blends them in therefore has a model folder with the refits
alone and a blend of their own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search.export.final_model import MemberRefits, Refits
from search.runtime.errors import SearchError
from search.runtime.home import Home
from search.runtime.kept_networks import kept_networks
from search.statistics.ranking import average
from storage.artifacts import digest_of
from storage.values import TrialRecord
from trainer.data.image_set import ImageSet
from trainer.data.images import Images
from trainer.formats.weights.origin import origin_of_all
from trainer.formats.weights.trained_on import TrainedOn
from trainer.inference.errors import ImageError, ModelError
from trainer.inference.model_folder import Member, ModelFolder
from trainer.inference.networks.torch_networks import read_weights
from trainer.inference.printable import cause_of

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-5
"""Largest allowed difference between a probability of the refits and of the exported folder, both on a CPU."""
TOLERANCE_ON_GPUS = 1e-3
"""The same if one of them ran on a GPU. Even on the same GPU, cuDNN and cuBLAS choose other algorithms for the few
images of the check than for a whole batch. These add in another order, and deep networks amplify the rounding.
"""
TOLERANCE_OF_BLEND = 1e-6
"""Largest allowed difference between two blends of the same predictions, one in float32 and one in float64."""
VERIFIED_IMAGES = 8
"""Number of test images, evenly spaced, that the check predicts."""
HELD_OUT_IMAGES = 2
"""Number of held-out training images that the check predicts with each network, where there are no test images."""

log = logging.getLogger(__name__)


class ExportBroken(SearchError):
    """The model folder cannot be made, or its predictions differ from those of its refits. Nothing was written."""


class _StoredStates(Mapping[str, "Mapping[str, torch.Tensor]"]):
    """The networks of a member by name. Each is read from its file on access, because all may exceed the memory."""

    def __init__(self, refit: MemberRefits, home: Home) -> None:
        self._files = {
            _network_name(refit, record, path): (path, _recorded_digest(home, record, path))
            for record in refit.records
            for path in kept_networks(home, refit.member.study.name, record)
        }

    @property
    def trained_on(self) -> tuple[TrainedOn, ...]:
        """The images that trained the networks.

        Raises:
            BackboneError: a file cannot be read, or is damaged.
        """
        return origin_of_all(path for path, _ in self._files.values())

    def __getitem__(self, name: str) -> Mapping[str, torch.Tensor]:
        from safetensors import SafetensorError

        path, digest = self._files[name]
        try:
            state = read_weights(path)
            unchanged = digest is None or digest_of(path) == digest
        except (OSError, SafetensorError) as error:
            raise ExportBroken(
                f"the network {path} cannot be read: {cause_of(error)}; export again to train it again"
            ) from error
        if not unchanged:
            raise ExportBroken(f"the network {path} was replaced while it was exported: export again")
        return state

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def _network_name(refit: MemberRefits, record: TrialRecord, path: Path) -> str:
    """Name of a network, which ends in ``-fold0``: unique in the export, and the stem of its file there."""
    split = "" if len({r.split for r in refit.records}) == 1 else f"-split{record.split}"
    return f"{_prefix(refit)}trial{refit.member.number}{split}-seed{record.seed}-{path.stem}"


def _recorded_digest(home: Home, record: TrialRecord, path: Path) -> str | None:
    networks = record.networks or {}
    return networks.get(path.relative_to(home.artifacts).as_posix())


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
        if not all(kept_networks(home, refit.member.study.name, record) for record in refit.records):
            raise ExportBroken(
                f"networks of {refit.member.name} were removed or replaced after this export was planned, perhaps "
                "because better trials have ended: export again"
            )
    stored = [_StoredStates(refit, home) for refit in refits.members]
    write_model_folder(
        folder,
        class_names=images.class_names,
        members=[
            FolderMember(
                recipe=refit.member.recipe,
                preprocessing=preprocessing_of(refit.member.recipe.backbone),
                views=refit.views,
                state_dicts=states,
                trained_on=states.trained_on,
            )
            for refit, states in zip(refits.members, stored, strict=True)
        ],
        blend=refits.model.blend,
        data_fingerprint=images.fingerprint,
        value_ranges=images.value_ranges,
    )


def verify_model(model: Path, refits: Refits, images: ImageSet, folds: Mapping[int, NDArray[np.int64]]) -> float:
    """Predict a few images with the folder alone, from the image files, as its users will.

    Each member is compared with its own refits: on test images, or without them on training images that the network did
    not train on. The blend is compared with the export's. Networks of all images without test images have nothing to be
    compared with.

    Args:
        folds: fold of each training image, ``(n,)``, by split; of all trainings with out-of-fold predictions.

    Returns:
        The tolerance: the largest difference of a probability that was allowed; 0 if nothing was compared.

    Raises:
        ExportBroken: a probability differs by more than the tolerance.
    """
    from trainer.inference.model_folder import load_model_folder

    loaded, widest = load_model_folder(model), 0.0
    predictor = _Predictor(loaded)
    for member, refit in zip(loaded.members, refits.members, strict=True):
        device, tolerance = _device_of(refit)
        if refit.test is not None or refit.oof_by_training:
            widest = max(widest, tolerance)
        if refit.test is None:
            _verify_held_out(predictor, member, refit, images, folds)
            continue
        evenly = np.unique(np.linspace(0, len(refit.test) - 1, VERIFIED_IMAGES, dtype=np.int64))
        chosen, pixels = _readable(images.test_images, evenly, member)
        _compare(predictor.predict(member, pixels, device), refit.test[chosen], tolerance)
    blended = refits.model.test
    if blended is not None:
        tests = np.stack([refit.test for refit in refits.members if refit.test is not None])
        _compare(loaded.blend.probabilities(tests), blended, TOLERANCE_OF_BLEND)
    elif refits.has_oof:
        oof = np.stack([average(refit.oof_by_training) for refit in refits.members])
        _compare(loaded.blend.probabilities(oof), refits.model.blend.probabilities(oof), TOLERANCE_OF_BLEND)
    return widest


class _Predictor:
    """Predicts with an exported model, on the CPU once the GPU has failed: full, lost, or reserved for another process.

    The check needs a GPU only to be compared with one. Without it, an export must not fail after hours of training.
    """

    def __init__(self, model: ModelFolder) -> None:
        self._model = model
        self._gpu_fails = False

    def predict(self, member: Member, pixels: NDArray[np.uint8], device: str) -> NDArray[np.float64]:
        """Probabilities of ``member``, on ``device`` if it works. The tolerance is that of GPUs in either case.

        Raises:
            ModelError: the member cannot predict on the CPU either.
        """
        from trainer.inference.networks.torch_networks import predict_member

        if device != "cpu" and not self._gpu_fails:
            try:
                return predict_member(self._model, member, pixels, device=device)
            except ModelError as error:
                if not isinstance(error.__cause__, RuntimeError):  # the base class of all that CUDA and torch raise
                    raise
                self._gpu_fails = True
                log.warning("the GPU fails, so the CPU checks the export: %s", cause_of(error.__cause__))
        return predict_member(self._model, member, pixels, device="cpu")


def _verify_held_out(
    predictor: _Predictor,
    member: Member,
    refit: MemberRefits,
    images: ImageSet,
    folds: Mapping[int, NDArray[np.int64]],
) -> None:
    """Compare each network with the out-of-fold predictions of its training."""
    device, tolerance = _device_of(refit)
    files = {path.stem: path for path in member.weights}
    for record, oof in zip(refit.records, refit.oof_by_training, strict=False):  # none, if trained on all images
        for fold in np.unique(folds[record.split]):
            first = np.flatnonzero(folds[record.split] == fold)[:HELD_OUT_IMAGES]
            network = replace(member, weights=(files[_network_name(refit, record, Path(f"fold{fold}"))],))
            chosen, pixels = _readable(images.train_images, first, member)
            _compare(predictor.predict(network, pixels, device), oof[chosen], tolerance)


def _readable(source: Images, chosen: NDArray[np.int64], member: Member) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Those of the images ``chosen`` that can still be read, and their pixels as the member needs them.

    A file may be lost or damaged since the study began. Its predictions are there, so the export does not need it.

    Returns:
        Indices, int64 ``(k,)``, and pixels, uint8 ``(k, size, size, 3)``.

    Raises:
        ExportBroken: none of them can be read.
    """
    from trainer.inference.images import resize_image

    read: dict[int, NDArray[np.uint8]] = {}
    problems = []
    for index in chosen.tolist():
        try:
            read[index] = resize_image(source.read(index), *member.form)
        except ImageError as error:
            problems.append(f"{source.name(index)}: {error}")
    if not read:
        raise ExportBroken(
            f"the images with which the exported model is checked can no longer be read: "
            f"{'; '.join(problems[:4])}. Put them back, and export again"
        )
    for problem in problems:
        log.warning("the check of the export leaves out %s", problem)
    return np.array([*read], np.int64), np.stack([*read.values()])


def _device_of(refit: MemberRefits) -> tuple[str, float]:
    """The device to predict on, and the tolerance there: smaller if the refits ran on a CPU as well."""
    import torch

    trained_on = {str(record.machine.get("device", "cpu")) for record in refit.records}
    device = "cuda" if torch.cuda.is_available() and "cpu" not in trained_on else "cpu"
    return device, TOLERANCE if trained_on == {"cpu"} else TOLERANCE_ON_GPUS


def _compare(exported: NDArray[np.floating[Any]], refitted: NDArray[np.floating[Any]], tolerance: float) -> None:
    difference = float(np.abs(exported - refitted).max())
    if not difference <= tolerance:
        raise ExportBroken(
            f"probabilities of the exported model differ by up to {difference:.2g} from those of its refits. If an "
            "image has been replaced since the study began, put the former one back: the command that began the study "
            "says whether the images are the same"
        )
