"""Backbones: names, families and preprocessing of timm's image classifiers.

Importing this module is cheap, and so is `family_of`; all other functions import timm when called.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from trainer.common.errors import BackboneError

if TYPE_CHECKING:
    import torch
    from timm.models import PretrainedCfg

Family = Literal["cnn", "transformer", "hybrid", "mlp"]
FAMILIES: tuple[Family, ...] = ("cnn", "transformer", "hybrid", "mlp")


@dataclass(frozen=True, kw_only=True)
class BackboneRule:
    """Properties shared by all backbones whose names begin alike."""

    family: Family
    """Operation that mixes the pixels: "cnn" convolution, "transformer" attention, "hybrid" both (attention in a
    convolutional trunk, or a transformer on top of one), "mlp" neither (MLPs and recurrent networks over tokens)."""


CNN = BackboneRule(family="cnn")
TRANSFORMER = BackboneRule(family="transformer")
HYBRID = BackboneRule(family="hybrid")
MLP = BackboneRule(family="mlp")

# fmt: off
BACKBONES: dict[str, BackboneRule] = {
    "bat_resnext": CNN, "convformer_": CNN, "convmixer_": CNN, "convnext": CNN, "cs3": CNN, "csp": CNN,
    "darknet": CNN, "densenet": CNN, "dla": CNN, "dm_nfnet": CNN, "dpn": CNN, "eca_nfnet": CNN, "eca_res": CNN,
    "eca_vovnet": CNN, "ecares": CNN, "efficientnet": CNN, "ese_vovnet": CNN, "fasternet": CNN, "fbnet": CNN,
    "focalnet": CNN, "gc_efficientnet": CNN, "gcres": CNN, "gernet": CNN, "ghostnet": CNN, "hardcorenas": CNN,
    "hgnet": CNN, "hrnet": CNN, "inception_": CNN, "lcnet": CNN, "legacy_": CNN, "mambaout": CNN, "mixnet": CNN,
    "mnasnet": CNN, "mobilenet": CNN, "mobileone": CNN, "nasnet": CNN, "nf_": CNN, "nfnet": CNN, "pnasnet": CNN,
    "poolformer": CNN, "rdnet": CNN, "regnet": CNN, "repghost": CNN, "repvgg": CNN, "repvit": CNN, "res2ne": CNN,
    "resnest": CNN, "resnet": CNN, "resnext": CNN, "rexnet": CNN, "sedarknet": CNN, "selecsls": CNN, "semnasnet": CNN,
    "senet": CNN, "seres": CNN, "skres": CNN, "spnasnet": CNN, "starnet": CNN, "test_byobnet": CNN,
    "test_convnext": CNN, "test_efficientnet": CNN, "test_mambaout": CNN, "test_nfnet": CNN, "test_resnet": CNN,
    "tf_efficientnet": CNN, "tf_mixnet": CNN, "tf_mobilenet": CNN, "tinynet": CNN, "tresnet": CNN, "vgg": CNN,
    "vovnet": CNN, "wide_resnet": CNN, "xception": CNN,
    "aimv2": TRANSFORMER, "beit": TRANSFORMER, "cait_": TRANSFORMER, "coat_": TRANSFORMER, "convit_": TRANSFORMER,
    "crossvit_": TRANSFORMER, "davit_": TRANSFORMER, "deepseek_vit": TRANSFORMER, "deit": TRANSFORMER,
    "eva": TRANSFORMER, "flexivit": TRANSFORMER, "gcvit": TRANSFORMER, "gemma4_vit": TRANSFORMER,
    "hiera": TRANSFORMER, "mvitv2": TRANSFORMER, "naflexvit": TRANSFORMER, "nest_": TRANSFORMER, "pit_": TRANSFORMER,
    "pvt_v2": TRANSFORMER, "qwen3_vit": TRANSFORMER, "sam2_hiera": TRANSFORMER, "samvit": TRANSFORMER,
    "swin_": TRANSFORMER, "swinv2": TRANSFORMER, "test_vit": TRANSFORMER, "tnt_": TRANSFORMER, "twins_": TRANSFORMER,
    "vit_": TRANSFORMER, "volo_": TRANSFORMER, "xcit": TRANSFORMER,
    "botnet": HYBRID, "caformer_": HYBRID, "coatnet": HYBRID, "coatnext": HYBRID, "cpubone": HYBRID, "csatv2": HYBRID,
    "eca_botnext": HYBRID, "eca_halonext": HYBRID, "edgenext": HYBRID, "efficientformer": HYBRID,
    "efficientvim": HYBRID, "efficientvit": HYBRID, "fastvit": HYBRID, "halo2botnet": HYBRID, "halonet": HYBRID,
    "haloregnet": HYBRID, "iformer": HYBRID, "lambda_": HYBRID, "lamhalobotnet": HYBRID, "levit": HYBRID,
    "lowformer": HYBRID, "maxvit": HYBRID, "maxxvit": HYBRID, "mobilenetv4_hybrid": HYBRID, "mobilenetv5": HYBRID,
    "mobilevit": HYBRID, "nextvit": HYBRID, "sebotnet": HYBRID, "sehalonet": HYBRID, "shvit": HYBRID,
    "swiftformer": HYBRID, "test_coatnet": HYBRID, "test_maxvit": HYBRID, "tiny_vit": HYBRID, "visformer": HYBRID,
    "vit_base_mci": HYBRID, "vit_base_r26": HYBRID, "vit_base_r50": HYBRID, "vit_base_resnet": HYBRID,
    "vit_large_r50": HYBRID, "vit_small_r26": HYBRID, "vit_small_resnet": HYBRID, "vit_tiny_r_": HYBRID,
    "vitamin": HYBRID,
    "gmixer": MLP, "gmlp": MLP, "mixer_": MLP, "resmlp": MLP, "sequencer2d": MLP,
}
# fmt: on
"""Rule by prefix of timm's name; the longest matching prefix applies. Every architecture of timm has one."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Preprocessing of a backbone's input: resize by ``interpolation``, then ``(x / 255 - mean) / std`` per channel."""

    mean: tuple[float, float, float]
    """Of red, green and blue."""
    std: tuple[float, float, float]
    """Of red, green and blue."""
    interpolation: str
    """One of `trainer.inference.images.INTERPOLATIONS`."""


def family_of(name: str) -> Family:
    """The family of ``name``, which may have a tag after a dot. Does not import timm.

    Raises:
        BackboneError: no rule covers the name.
    """
    architecture = name.partition(".")[0]
    fitting = [prefix for prefix in BACKBONES if architecture.startswith(prefix)]
    if not fitting:
        raise BackboneError(f"no rule of trainer.networks.backbones.BACKBONES says of which family {name!r} is")
    return BACKBONES[max(fitting, key=len)].family


def check_backbone(name: str) -> None:
    """Check that the installed timm has the backbone ``name``: an architecture, or ``architecture.tag``.

    Raises:
        BackboneError: timm does not have it (the message suggests similar names), or ``name`` is not a plain name. Hub
            repositories and local folders are refused, because a recipe would then depend on the machine.
    """
    import timm

    if not re.fullmatch(r"\w+(\.\w+)?", name):
        raise BackboneError(
            f"the backbone {name!r} is not a plain timm name such as 'resnet18' or 'resnet18.a1_in1k'; "
            "hub repositories and paths are not accepted (put weights into a weights folder instead)"
        )
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        names = timm.list_models()
        near = difflib.get_close_matches(architecture, names, n=3, cutoff=0.6)
        near = near or [known for known in names if architecture in known][:3]
        hint = f"; did you mean {' or '.join(near)}?" if near else "; `search backbones` lists all"
        raise BackboneError(f"timm {timm.__version__} has no backbone {architecture!r}{hint}")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        valid = ", ".join(f"{architecture}.{known}" for known in tags) or f"{architecture} alone (it has no weights)"
        raise BackboneError(f"the backbone {architecture!r} has no weights called {tag!r}; valid: {valid}")


def preprocessing_of(backbone: str | torch.nn.Module) -> Preprocessing:
    """Preprocessing of a backbone by timm's configuration.

    Args:
        backbone: name, or a model from `trainer.networks.build.create_backbone`.

    Raises:
        BackboneError: as `check_backbone`.
    """
    if isinstance(backbone, str):
        config = pretrained_config(backbone)
        mean, std, interpolation = config.mean, config.std, config.interpolation
    else:
        of_model: Any = backbone.pretrained_cfg
        mean, std, interpolation = of_model["mean"], of_model["std"], of_model["interpolation"]
    return Preprocessing(mean=_rgb(mean), std=_rgb(std), interpolation=str(interpolation))


def _rgb(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)


def size_arguments(name: str, image_size: int) -> dict[str, int]:
    """Keyword arguments of `timm.create_model` for square images of this side: ``img_size``, or none.

    Transformers with position embeddings or windows are built for one size; convolutional networks take any.

    Raises:
        BackboneError: as `check_backbone`.
    """
    return {"img_size": image_size} if pretrained_config(name).fixed_input_size else {}


def full_name(name: str) -> str:
    """The name of a backbone with the tag of its weights: timm's default where ``name`` is an architecture alone."""
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    return f"{config.architecture}.{config.tag}" if config and config.tag else name


PERMISSIVE = ("apache-2.0", "bsd-3-clause", "cc-by-4.0", "mit")
"""Licences of weights that allow any use, also commercial, if the authors are named."""
UNKNOWN_LICENSE = "unknown"


def license_of(name: str) -> str:
    """The licence of a backbone's pre-trained weights, as timm states it, such as ``apache-2.0``.

    Returns:
        `UNKNOWN_LICENSE` if timm states none, or if there are no weights.
    """
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    return (config and config.license) or UNKNOWN_LICENSE


def native_size(name: str) -> int:
    """Side, in pixels, of the images for which a backbone or its weights were made.

    Raises:
        BackboneError: as `pretrained_config`.
    """
    return int(pretrained_config(name).input_size[-1])


def pretrained_config(name: str) -> PretrainedCfg:
    """timm's configuration of a backbone.

    Raises:
        BackboneError: as `check_backbone`, or timm has no configuration for it.
    """
    from timm.models import get_pretrained_cfg

    check_backbone(name)
    config = get_pretrained_cfg(name)
    if config is None:
        raise BackboneError(f"timm has no configuration for {name}")
    return config
