"""Names of Wan VAE weights: from the original layout (specification 4.10) to that of diffusers' `AutoencoderKLWan`.

Shapes are the same in both, so renaming is all there is to do.
"""

from __future__ import annotations

import re

# Whole modules outside the layers, in the encoder or the decoder.
_ENDS = {"conv1": "conv_in", "head.0": "norm_out", "head.2": "conv_out"}
_MIDDLE = ("resnets.0", "attentions.0", "resnets.1")
_RESIDUAL = {"residual.0": "norm1", "residual.2": "conv1", "residual.3": "norm2", "residual.6": "conv2",
             "shortcut": "conv_shortcut"}  # fmt: skip
_LATENT_CONVS = {"conv1": "quant_conv", "conv2": "post_quant_conv"}
_DECODER_LEVEL = 4  # layers of a level of the decoder: three residual blocks, and an upsampler but in the last level

_KEY = re.compile(r"(?:(encoder|decoder)\.)?(.+)\.(weight|bias|gamma)")
_LAYER = re.compile(r"(middle|downsamples|upsamples)\.([0-9]+)\.(.+)")


def to_diffusers_key(wan_key: str) -> str | None:
    """The diffusers name of an original Wan VAE key; None where diffusers has no such key."""
    if not (match := _KEY.fullmatch(wan_key)):
        return None
    network, module, kind = match.groups()
    if network is None:
        return f"{_LATENT_CONVS[module]}.{kind}" if module in _LATENT_CONVS else None
    renamed = _ENDS.get(module) or _layer_module(module)
    return f"{network}.{renamed}.{kind}" if renamed else None


def _layer_module(module: str) -> str | None:
    if not (match := _LAYER.fullmatch(module)):
        return None
    group, index, part = match[1], int(match[2]), match[3]
    part = _RESIDUAL.get(part, part)
    if group == "downsamples":
        return f"down_blocks.{index}.{part}"
    if group == "middle":
        return f"mid_block.{_MIDDLE[index]}.{part}" if index < len(_MIDDLE) else None
    level, place = divmod(index, _DECODER_LEVEL)
    block = "upsamplers.0" if place == _DECODER_LEVEL - 1 else f"resnets.{place}"
    return f"up_blocks.{level}.{block}.{part}"
