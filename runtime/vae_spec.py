"""Specifications of the video autoencoders: dimensions, layers, and every tensor of a checkpoint.

The Wan VAE (specification 4.6) and TAEHV (4.7), with the keys of their original checkpoints (4.10). Both turn 4 pixel
frames into 1 latent frame of an 8th of the height and width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .errors import PenstockError
from .spec_json import Parameters, spec_from_json, spec_to_json

SPATIAL_STRIDE = 8  # pixels per latent row or column
FRAMES_PER_LATENT = 4  # the stream's first latent frame stands for 1 pixel frame
_MAX_CHANNELS = 1 << 14  # an untrusted model.json must not ask for tensors without end

_MEAN = (-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
         0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921)  # fmt: skip
_STD = (2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
        3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160)  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """One layer of a network: the prefix of its keys, what it is, and its channels.

    The Wan VAE's kinds: residual, attention, down2d, down3d, up2d, up3d. TAEHV's: conv, memory, pool, grow. ``factor``
    is what a pool joins or a grow makes of one frame; ``bias`` tells whether a TAEHV conv has one.
    """

    key: str
    kind: str
    inputs: int
    outputs: int
    factor: int = 1
    bias: bool = True


# ---- Wan VAE ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WanVaeSpec:
    """The dimensions of a Wan 2.1 VAE; `mean` and `std` normalise its latents (specification 4.6).

    Raises PenstockError where a field is not of its type or sane size, or the fields contradict each other.
    """

    base_dim: int = 96
    z_dim: int = 16
    dim_mult: tuple[int, int, int, int] = (1, 2, 4, 4)
    mean: tuple[float, ...] = _MEAN
    std: tuple[float, ...] = _STD

    def __post_init__(self) -> None:
        _check_channels("vae.base_dim", self.base_dim)
        _check_channels("vae.z_dim", self.z_dim)
        if not isinstance(self.dim_mult, tuple) or len(self.dim_mult) != 4:
            raise PenstockError(f"vae.dim_mult: expected 4 integers, one per level, got {self.dim_mult!r:.80}")
        for factor in self.dim_mult:
            _check_channels("vae.dim_mult", factor)
        # Three levels of the decoder end with a convolution to half their channels.
        if any(width % 2 or width > _MAX_CHANNELS for width in self.widths):
            raise PenstockError(f"vae.base_dim: expected even widths up to {_MAX_CHANNELS}, got {list(self.widths)}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            numbers = isinstance(values, tuple) and all(type(v) in (int, float) and math.isfinite(v) for v in values)
            if not numbers or len(values) != self.z_dim:
                raise PenstockError(f"vae.{name}: expected {self.z_dim} numbers (z_dim), got {values!r:.80}")
        if min(self.std) <= 0:
            raise PenstockError(f"vae.std: expected positive numbers, got {min(self.std)}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the four levels, from full to an 8th of the resolution."""
        return tuple(self.base_dim * factor for factor in self.dim_mult)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return spec_to_json(self, "wan_vae")

    @classmethod
    def from_json(cls, data: Any) -> WanVaeSpec:
        """The inverse of `to_json`; `data` is untrusted, and may hold the list of weight files too."""
        return spec_from_json(cls, "wan_vae", "vae", data)


def wan_vae_encoder(spec: WanVaeSpec) -> list[Layer]:
    """The encoder's layers between `encoder.conv1` and `encoder.head`."""
    layers: list[Layer] = []
    inputs = spec.base_dim
    for level, width in enumerate(spec.widths):
        for _ in range(2):
            layers.append(Layer(f"encoder.downsamples.{len(layers)}", "residual", inputs, width))
            inputs = width
        if level < 3:
            kind = "down2d" if level == 0 else "down3d"
            layers.append(Layer(f"encoder.downsamples.{len(layers)}", kind, width, width))
    return layers + _middle("encoder", spec.widths[-1])


def wan_vae_decoder(spec: WanVaeSpec) -> list[Layer]:
    """The decoder's layers between `decoder.conv1` and `decoder.head`."""
    layers: list[Layer] = []
    inputs = spec.widths[-1]
    for level, width in enumerate(reversed(spec.widths)):
        for _ in range(3):
            layers.append(Layer(f"decoder.upsamples.{len(layers)}", "residual", inputs, width))
            inputs = width
        if level < 3:
            kind = "up2d" if level == 2 else "up3d"
            inputs = width // 2
            layers.append(Layer(f"decoder.upsamples.{len(layers)}", kind, width, inputs))
    return _middle("decoder", spec.widths[-1]) + layers


def _middle(network: str, width: int) -> list[Layer]:
    kinds = ("residual", "attention", "residual")
    return [Layer(f"{network}.middle.{i}", kind, width, width) for i, kind in enumerate(kinds)]


def wan_vae_parameters(spec: WanVaeSpec) -> Parameters:
    """Every key of the original checkpoint and its shape, in forward order."""
    shapes: Parameters = {}
    z, (bottom, *_, top) = spec.z_dim, spec.widths
    _conv(shapes, "encoder.conv1", spec.base_dim, 3, (3, 3, 3))
    for layer in wan_vae_encoder(spec):
        _wan_vae_layer(shapes, layer)
    shapes["encoder.head.0.gamma"] = (top, 1, 1, 1)
    _conv(shapes, "encoder.head.2", 2 * z, top, (3, 3, 3))
    _conv(shapes, "conv1", 2 * z, 2 * z, (1, 1, 1))
    _conv(shapes, "conv2", z, z, (1, 1, 1))
    _conv(shapes, "decoder.conv1", top, z, (3, 3, 3))
    for layer in wan_vae_decoder(spec):
        _wan_vae_layer(shapes, layer)
    shapes["decoder.head.0.gamma"] = (bottom, 1, 1, 1)
    _conv(shapes, "decoder.head.2", 3, bottom, (3, 3, 3))
    return shapes


def _wan_vae_layer(shapes: Parameters, layer: Layer) -> None:
    key, inputs, outputs = layer.key, layer.inputs, layer.outputs
    if layer.kind == "residual":
        shapes[f"{key}.residual.0.gamma"] = (inputs, 1, 1, 1)
        _conv(shapes, f"{key}.residual.2", outputs, inputs, (3, 3, 3))
        shapes[f"{key}.residual.3.gamma"] = (outputs, 1, 1, 1)
        _conv(shapes, f"{key}.residual.6", outputs, outputs, (3, 3, 3))
        if inputs != outputs:
            _conv(shapes, f"{key}.shortcut", outputs, inputs, (1, 1, 1))
    elif layer.kind == "attention":
        shapes[f"{key}.norm.gamma"] = (inputs, 1, 1)
        _conv(shapes, f"{key}.to_qkv", 3 * inputs, inputs, (1, 1))
        _conv(shapes, f"{key}.proj", inputs, inputs, (1, 1))
    else:
        _conv(shapes, f"{key}.resample.1", outputs, inputs, (3, 3))
        if layer.kind in ("down3d", "up3d"):
            _conv(shapes, f"{key}.time_conv", (2 if layer.kind == "up3d" else 1) * inputs, inputs, (3, 1, 1))


# ---- TAEHV --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TaehvSpec:
    """The dimensions of a TAEHV for Wan latents (taew2_1): channels of the encoder and of the decoder's four levels.

    Raises PenstockError where a field is not a positive integer of sane size.
    """

    z_dim: int = 16
    encoder_dim: int = 64
    decoder_dims: tuple[int, int, int, int] = (256, 128, 64, 64)

    def __post_init__(self) -> None:
        _check_channels("taehv.z_dim", self.z_dim)
        _check_channels("taehv.encoder_dim", self.encoder_dim)
        if not isinstance(self.decoder_dims, tuple) or len(self.decoder_dims) != 4:
            raise PenstockError(f"taehv.decoder_dims: expected 4 integers, got {self.decoder_dims!r:.80}")
        for width in self.decoder_dims:
            _check_channels("taehv.decoder_dims", width)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return spec_to_json(self, "taehv")

    @classmethod
    def from_json(cls, data: Any) -> TaehvSpec:
        """The inverse of `to_json`; `data` is untrusted, and may hold the list of weight files too."""
        return spec_from_json(cls, "taehv", "taehv", data)


def taehv_encoder(spec: TaehvSpec) -> list[Layer]:
    """The encoder's layers; the conv after each pool has stride 2."""
    width = spec.encoder_dim
    layers = [Layer("encoder.0", "conv", 3, width)]
    for first, factor in ((2, 2), (7, 2), (12, 1)):
        layers.append(Layer(f"encoder.{first}", "pool", width, width, factor))
        layers.append(Layer(f"encoder.{first + 1}", "conv", width, width, bias=False))
        layers += [Layer(f"encoder.{first + 2 + i}", "memory", width, width) for i in range(3)]
    return [*layers, Layer("encoder.17", "conv", width, spec.z_dim)]


def taehv_decoder(spec: TaehvSpec) -> list[Layer]:
    """The decoder's layers; the picture is doubled before each grow."""
    widths = spec.decoder_dims
    layers = [Layer("decoder.1", "conv", spec.z_dim, widths[0])]
    for level, (first, factor) in enumerate(((3, 1), (9, 2), (15, 2))):
        width = widths[level]
        layers += [Layer(f"decoder.{first + i}", "memory", width, width) for i in range(3)]
        layers.append(Layer(f"decoder.{first + 4}", "grow", width, width, factor))
        layers.append(Layer(f"decoder.{first + 5}", "conv", width, widths[level + 1], bias=False))
    return [*layers, Layer("decoder.22", "conv", widths[3], 3)]


def taehv_parameters(spec: TaehvSpec) -> Parameters:
    """Every key of the original checkpoint and its shape, in forward order."""
    shapes: Parameters = {}
    for layer in (*taehv_encoder(spec), *taehv_decoder(spec)):
        key, inputs, outputs, factor = layer.key, layer.inputs, layer.outputs, layer.factor
        if layer.kind == "conv":
            _conv(shapes, key, outputs, inputs, (3, 3), layer.bias)
        elif layer.kind == "memory":
            for part, width in ((0, 2 * inputs), (2, outputs), (4, outputs)):
                _conv(shapes, f"{key}.conv.{part}", outputs, width, (3, 3))
        elif layer.kind == "pool":
            _conv(shapes, f"{key}.conv", outputs, factor * inputs, (1, 1), bias=False)
        else:
            _conv(shapes, f"{key}.conv", factor * outputs, inputs, (1, 1), bias=False)
    return shapes


# ---- both ---------------------------------------------------------------------------------------------------------


def _conv(shapes: Parameters, key: str, outputs: int, inputs: int, kernel: tuple[int, ...], bias: bool = True) -> None:
    shapes[f"{key}.weight"] = (outputs, inputs, *kernel)
    if bias:
        shapes[f"{key}.bias"] = (outputs,)


def _check_channels(name: str, value: Any) -> None:
    if type(value) is not int or not 1 <= value <= _MAX_CHANNELS:
        raise PenstockError(f"{name}: expected an integer from 1 to {_MAX_CHANNELS}, got {value!r:.80}")
