"""Names of Wan VAE weights: the original layout (specification 4.10) and that of diffusers' `AutoencoderKLWan`.

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
_DIFFUSERS_MIDDLE = re.compile(r"mid_block\.([a-z]+\.[0-9])\.(.+)")
_DIFFUSERS_DOWN = re.compile(r"down_blocks\.([0-9]{1,4})\.(.+)")
_DIFFUSERS_UP = re.compile(r"up_blocks\.([0-9]{1,4})\.(?:resnets\.([0-2])|upsamplers\.0)\.(.+)")


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


def to_wan_key(diffusers_key: str) -> str | None:
    """The original name of a diffusers Wan VAE key; None where there is none. The inverse of `to_diffusers_key`."""
    if not (match := _KEY.fullmatch(diffusers_key)):
        return None
    network, module, kind = match.groups()
    if network is None:
        renamed = _inverse(_LATENT_CONVS).get(module)
        return f"{renamed}.{kind}" if renamed else None
    renamed = _inverse(_ENDS).get(module) or _wan_layer_module(module)
    return f"{network}.{renamed}.{kind}" if renamed else None


def _wan_layer_module(module: str) -> str | None:
    if match := _DIFFUSERS_MIDDLE.fullmatch(module):
        layer, part = match.groups()
        return f"middle.{_MIDDLE.index(layer)}.{_wan_part(part)}" if layer in _MIDDLE else None
    if match := _DIFFUSERS_DOWN.fullmatch(module):
        return f"downsamples.{match[1]}.{_wan_part(match[2])}"
    if match := _DIFFUSERS_UP.fullmatch(module):
        level, resnet, part = match.groups()
        place = _DECODER_LEVEL - 1 if resnet is None else int(resnet)
        return f"upsamples.{_DECODER_LEVEL * int(level) + place}.{_wan_part(part)}"
    return None


def _wan_part(part: str) -> str:
    return _inverse(_RESIDUAL).get(part, part)


def _inverse(table: dict[str, str]) -> dict[str, str]:
    return {new: old for old, new in table.items()}
