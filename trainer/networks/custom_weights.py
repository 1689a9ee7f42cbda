"""Custom initial weights: ``init = "NAME"`` loads NAME.safetensors or NAME.pth from the weights folder.

The files may come from an exported model folder (``weights/fold0-seed0.safetensors``), from the training scripts of
timm or torch, or from ``search pretrain``, which registers them: a description stands beside such a file
(`trainer.formats.weights.description`). What is recorded of the images that trained a start is read here as well,
also of published weights. All files are untrusted: only tensors are loaded, and the content of registered
weights has to be the one that their description names.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.common.errors import BackboneError, suggest
from trainer.formats.weights.description import WeightsDescription, description_path, read_description
from trainer.formats.weights.header import read_header
from trainer.formats.weights.origin import read_origin
from trainer.formats.weights.trained_on import UNKNOWN_IMAGES, TrainedOn
from trainer.networks.backbones import full_name
from trainer.networks.pretrained.find_weights import check_readable, find_pretrained_weights
from trainer.networks.pretrained.folder_networks import SUFFIXES, check_exists
from trainer.networks.pretrained.load_weights import read_shapes, read_state_dict

if TYPE_CHECKING:
    import torch

BUILT_IN = ("pretrained", "scratch")
"""Values of ``recipe.init`` that name no file."""

WRAPPERS = ("model.", "net.", "network.", "backbone.")
"""Prefixes that training loops add to all names (Lightning: ``self.model = …``); timm removes those of torch itself."""

DIGEST_LENGTH = 16  # hexadecimal digits of a sha256: enough to tell files apart


def custom_weights_file(init: str, weights_dir: Path | None) -> Path:
    """The weights file that ``init`` names.

    Raises:
        BackboneError: there is no weights folder, the folder has no such file (the message suggests similar names),
            this user may not read it, or the file is a link that leads out of the folder.
    """
    wanted = " or ".join(f"{init}{suffix}" for suffix in SUFFIXES)
    if weights_dir is None:
        hint = suggest(init, BUILT_IN) if len(init) > 1 else ""
        raise BackboneError(
            f"init = {init!r} is a checkpoint in the weights folder, and no such folder was given: "
            f"--weights FOLDER, with {wanted} in it{hint}"
        )
    check_exists(weights_dir)
    check_readable(weights_dir)
    folder = weights_dir.resolve()
    for suffix in SUFFIXES:
        file = weights_dir / f"{init}{suffix}"
        if not file.is_file():
            continue
        # The name may come from another person's study, so it must not open a file outside this folder.
        if file.resolve().parent != folder:
            raise BackboneError(f"{file} is a link out of the weights folder, to {file.resolve()}: put a copy there")
        check_readable(file)
        return file
    there = sorted({file.stem for file in weights_dir.iterdir() if file.suffix in SUFFIXES})
    registered = ", ".join(f"{known.name} ({known.backbone})" for known in registered_weights(weights_dir))
    raise BackboneError(
        f"init = {init!r} is neither {' nor '.join(BUILT_IN)}, and the weights folder {weights_dir} "
        f"has no {wanted}{suggest(init, [*BUILT_IN, *there])}" + f"; registered there: {registered}" * bool(registered)
    )


def missing_custom_weights_message(inits: Iterable[str], weights_dir: Path | None) -> str:
    """Error message with a line for each of ``inits`` whose file cannot be used; empty if all can."""
    lines = []
    for init in dict.fromkeys(inits):
        if init in BUILT_IN:
            continue
        try:
            custom_weights_file(init, weights_dir)
        except BackboneError as error:
            lines.append(str(error))
    return "\n".join(lines)


def load_custom_weights(init: str, backbone: str, weights_dir: Path | None) -> dict[str, torch.Tensor]:
    """Read the state dict that ``init`` names onto the CPU, with the prefixes of `WRAPPERS` removed from its names.

    Args:
        backbone: of the network that the weights are for.

    Raises:
        BackboneError: as `custom_weights_file`; the file is damaged or holds more than tensors; or it is not what the
            description beside it says, or that of another backbone.
    """
    import torch

    file = custom_weights_file(init, weights_dir)
    check_description(init, backbone, weights_dir)
    state = read_state_dict(file)
    strange = [name for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if strange:
        raise BackboneError(f"the weights {file} are not a state dict (tensors by name): {strange[0]!r} is no tensor")
    for wrapper in WRAPPERS:
        if all(name.startswith(wrapper) for name in state):
            return {name.removeprefix(wrapper): value for name, value in state.items()}
    return state


def custom_weights_digest(init: str, weights_dir: Path | None) -> str:
    """First `DIGEST_LENGTH` digits of the sha256 of the file that ``init`` names, to record which content was used.

    Raises:
        BackboneError: as `custom_weights_file`.
    """
    return _sha256(custom_weights_file(init, weights_dir))[:DIGEST_LENGTH]


def custom_weights_facts(init: str, weights_dir: Path | None) -> dict[str, str]:
    """What a training records about the checkpoint from which it begins; nothing if ``init`` names none.

    Returns:
        "init_sha256", see `custom_weights_digest`, and "init_about", the origin of the weights for people if known.

    Raises:
        BackboneError: as `weights_description`.
    """
    if init in BUILT_IN:
        return {}
    known, sets = weights_description(init, weights_dir), learned_from(init, "", weights_dir) or ()
    about = known.words if known is not None else "; then on ".join(trained.words for trained in sets)
    facts = {"init_sha256": custom_weights_digest(init, weights_dir)}
    return facts | ({"init_about": about} if about else {})


def weights_description(init: str, weights_dir: Path | None) -> WeightsDescription | None:
    """The description of the weights that ``init`` names; None if they are not registered, or built in.

    Raises:
        BackboneError: as `custom_weights_file`, or the description is damaged.
    """
    if init in BUILT_IN:
        return None
    return read_description(description_path(custom_weights_file(init, weights_dir), init))


def learned_from(init: str, backbone: str, weights_dir: Path | None) -> tuple[TrainedOn, ...] | None:
    """The images that trained the weights from which a training of ``backbone`` begins.

    They stand in the description of the weights or in their own file. None if nothing says which they are. Random and
    published weights have learned from none of them. A file with the name of published weights counts as published
    unless it names images, or has another number of classes than the published network.

    Raises:
        BackboneError: as `weights_description`, or the entry of the file is damaged.
    """
    if init == "scratch":
        return ()
    if init == "pretrained":
        return _published_images(backbone, weights_dir)
    known = weights_description(init, weights_dir)
    return known.trained_on if known is not None else read_origin(custom_weights_file(init, weights_dir))


def images_before(init: str, backbone: str, weights_dir: Path | None) -> tuple[TrainedOn, ...]:
    """As `learned_from`, but `UNKNOWN_IMAGES` if nothing says which they are: so a network records its start.

    Raises:
        BackboneError: as `learned_from`.
    """
    known = learned_from(init, backbone, weights_dir)
    return (UNKNOWN_IMAGES,) if known is None else known


def _published_images(backbone: str, weights_dir: Path | None) -> tuple[TrainedOn, ...] | None:
    """`learned_from` for ``init = "pretrained"``."""
    if weights_dir is None:
        return ()
    from timm.models import get_pretrained_cfg

    found, config = find_pretrained_weights(backbone, weights_dir, ask_hub=False), get_pretrained_cfg(backbone)
    if found is None or found.where != "folder" or found.file is None:
        return ()
    if (named := read_origin(found.file)) is not None:
        return named
    if config is None or not isinstance(config.classifier, str):
        return ()
    classes = _classes_in(found.file, f"{config.classifier}.weight")
    return () if classes in (None, config.num_classes) else None


def _classes_in(file: Path, classifier: str) -> int | None:
    """Number of classes of a network by its file; None: it holds no tensor ``classifier``, or cannot be read.

    What is wrong with a damaged file is said where its weights are loaded.
    """
    header = read_header(file)
    if header is not None:
        tensor = header.tensors.get(classifier)
        shape = tensor.get("shape") if isinstance(tensor, dict) else None
        return shape[0] if isinstance(shape, list) and shape else None
    try:
        shapes = read_shapes(file)
    except BackboneError:
        return None
    return shapes[classifier][0] if shapes.get(classifier) else None


def check_description(init: str, backbone: str, weights_dir: Path | None) -> None:
    """Check that registered weights are those of ``backbone``, and that the file has the content that was registered.

    Weights without a description pass.

    Raises:
        BackboneError: they are not; names the registered weights of this backbone. Or as `weights_description`.
    """
    file = custom_weights_file(init, weights_dir)
    known = weights_description(init, weights_dir)
    if known is None:
        return
    if not is_of(known, backbone):
        fitting = [other.name for other in registered_weights(weights_dir) if is_of(other, backbone)]
        raise BackboneError(
            f"init = {init!r} was pre-trained with {known.backbone}, not with {backbone}; registered for {backbone}: "
            f"{', '.join(fitting) or 'nothing'}"
        )
    if _sha256(file) != known.sha256:
        raise BackboneError(
            f"the weights {file} are not those that {init}.json describes: they are damaged or were replaced. Copy "
            f"both files again, or train them again: search pretrain --name {init} --replace"
        )


def is_of(known: WeightsDescription, backbone: str) -> bool:
    """Whether registered weights are those of ``backbone``, a name of timm."""
    return full_name(known.backbone) == full_name(backbone)


def registered_weights(weights_dir: Path | None) -> list[WeightsDescription]:
    """The registered weights of a folder, by name; damaged descriptions are left out.

    Raises:
        BackboneError: this user may not read the folder.
    """
    if weights_dir is None or not weights_dir.is_dir():
        return []
    check_readable(weights_dir)
    found: list[WeightsDescription] = []
    for file in sorted(weights_dir.glob("*.safetensors")):
        try:
            known = weights_description(file.stem, weights_dir)
        except BackboneError:
            continue
        found += [known] if known is not None else []
    return found


def _sha256(file: Path) -> str:
    status = file.stat()
    return _sha256_of(file, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=16)
def _sha256_of(file: Path, changed: int, size: int) -> str:
    """SHA-256 of a file; ``changed`` and ``size`` make a replaced file a new key of the cache."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
