"""Position parameters of pre-trained weights, resampled for images of another size.

timm resamples those of most transformers itself. This module does it for the others: the attention pool of CLIP's
ResNets, GC ViT, Hiera, SAM's encoder and VOLO. Position embeddings are interpolated bicubically and relative positions
along a line linearly, as is usual for fine-tuning at another resolution (Dosovitskiy et al. 2021; Li et al. 2022,
"Exploring Plain Vision Transformer Backbones for Object Detection").
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MAX_PREFIX = 1  # embeddings of tokens that precede those of the image, such as a class token


def resample_positions(
    state: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """A copy of ``state`` in which position parameters have the shapes of ``wanted``, as far as they can be resampled.

    Args:
        wanted: state dict of the network that is to take the weights; only names and shapes are read.
    """
    resize = {
        "pos_embed": _embedding,
        "rel_pos_h": _line,
        "rel_pos_w": _line,
        "relative_position_bias_table": _bias_table,
    }
    changed = {}
    for name, target in wanted.items():
        tensor, resized = state.get(name), resize.get(name.rpartition(".")[2])
        if tensor is None or resized is None or tensor.shape == target.shape or tensor.ndim != target.ndim:
            continue
        if tensor.shape[-1] == target.shape[-1]:
            changed[name] = resized(tensor, target.shape)
    return {**state, **changed}


def _embedding(tensor: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Of ``(1, h, w, C)``, ``(1, tokens, C)`` or ``(tokens, C)``, for square images."""
    from timm.layers.pos_embed import resample_abs_pos_embed, resample_abs_pos_embed_nhwc

    resized: torch.Tensor
    if tensor.ndim == 4:
        resized = resample_abs_pos_embed_nhwc(tensor, list(shape[1:3]))
        return resized
    old, new = tensor.shape[-2], shape[-2]
    for prefix in range(MAX_PREFIX + 1):
        side = math.isqrt(new - prefix)
        if side**2 == new - prefix and math.isqrt(old - prefix) ** 2 == old - prefix:
            batched = tensor.reshape(1, old, tensor.shape[-1])
            resized = resample_abs_pos_embed(batched, [side, side], num_prefix_tokens=prefix)
            return resized.reshape(shape)
    return tensor


def _bias_table(tensor: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Of ``((2 w - 1)^2, heads)`` for windows of ``w x w`` tokens."""
    from timm.layers.pos_embed_rel import resize_rel_pos_bias_table

    side = math.isqrt(shape[0])
    if tensor.ndim != 2 or side**2 != shape[0] or math.isqrt(tensor.shape[0]) ** 2 != tensor.shape[0]:
        return tensor
    window = ((side + 1) // 2,) * 2
    resized: torch.Tensor = resize_rel_pos_bias_table(tensor, window, tuple(shape))
    return resized


def _line(tensor: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Of ``(positions, C)``."""
    from torch.nn.functional import interpolate

    return interpolate(tensor.T[None].float(), size=shape[0], mode="linear")[0].T.to(tensor.dtype)
