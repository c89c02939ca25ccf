"""The Wan VAE in plain torch, for training: the parameters are those of `wan_vae_parameters`, under the same keys.

A clip of 1 + 4k frames goes through at once and comes out as the runtime's streaming passes would make it
(`runtime/models/wan_vae.py`, specification 4.6). Activations are [N, C, T, H, W] in name and lie as N*T pictures in
channels-last order: a causal convolution over 3 frames is a 2-D one over their channels, much faster on a CPU than
conv3d; for a clip of one frame only its last tap is left.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from penstock.runtime.vae_spec import Layer, WanVaeSpec, wan_vae_decoder, wan_vae_encoder, wan_vae_parameters


class WanVae(nn.Module):
    """encode: pictures [N, T, 3, H, W] in -1 … 1 to latents [N, F, z, H/8, W/8], T = 4F - 3; decode: the way back.

    compiled: the norm with its activation, half of the time on a CPU, as one kernel by torch.compile.
    """

    def __init__(self, spec: WanVaeSpec, compiled: bool = False):
        super().__init__()
        self.spec, self.compiled = spec, compiled
        for key, shape in wan_vae_parameters(spec).items():
            self.register_parameter(key.replace(".", "/"), nn.Parameter(torch.empty(shape)))
        self.encoder_layers, self.decoder_layers = wan_vae_encoder(spec), wan_vae_decoder(spec)
        self._initialise()

    def weights(self) -> dict[str, Tensor]:
        """The parameters under the keys of the original checkpoint."""
        return {key.replace("/", "."): value for key, value in self.named_parameters()}

    def _initialise(self) -> None:
        """Residual blocks begin as the identity, convolutions over time as one of the newest frames."""
        for key, value in self.weights().items():
            with torch.no_grad():
                if key.endswith("gamma"):
                    value.fill_(1.0)
                elif key.endswith("bias") or key.endswith((".residual.6.weight", ".proj.weight")):
                    value.zero_()
                else:
                    rows, columns, *kernel = value.shape
                    over_time = len(kernel) == 3 and kernel[0] == 3
                    fan_in = columns * math.prod(kernel) / (3 if over_time else 1)
                    value.normal_(0, fan_in**-0.5)
                    if key.endswith("time_conv.weight"):
                        value.zero_()
                        eye = torch.eye(columns).repeat(rows // columns, 1)
                        if rows == columns:  # down: the mean of the two newest frames
                            value[:, :, 1, 0, 0] = value[:, :, 2, 0, 0] = eye / 2
                        else:
                            value[:, :, 2, 0, 0] = eye
                    elif over_time:
                        value[:, :, :2] = 0

    def _p(self, key: str) -> Tensor:
        return getattr(self, key.replace(".", "/"))

    # ---- layers on x [N*T, C, H, W], t = T -----------------------------------------------------------------------

    def _conv(self, key: str, x: Tensor, t: int, **options: int) -> Tensor:
        """Causal convolution with the weights [O, I, kt, kh, kw] or [O, I, kh, kw] of ``key``."""
        weight, bias = self._p(f"{key}.weight"), self._p(f"{key}.bias")
        if weight.dim() == 5:
            if weight.shape[2] == 3 and t > 1:
                x = _with_history(x, t)
                weight = weight.transpose(1, 2).flatten(1, 2)
            else:
                weight = weight[:, :, -1]
        return F.conv2d(x, weight, bias, **({"padding": weight.shape[-1] // 2} | options))

    def _gamma(self, key: str) -> Tensor:
        gamma = self._p(f"{key}.gamma").view(1, -1, 1, 1)
        return gamma * gamma.shape[1] ** 0.5

    def _norm_silu(self, key: str, x: Tensor) -> Tensor:
        return (_fused_norm_silu if self.compiled else _norm_silu)(x, self._gamma(key))

    def _residual(self, layer: Layer, x: Tensor, t: int) -> Tensor:
        key = layer.key
        y = self._conv(f"{key}.residual.2", self._norm_silu(f"{key}.residual.0", x), t)
        y = self._conv(f"{key}.residual.6", self._norm_silu(f"{key}.residual.3", y), t)
        return y + (x if layer.inputs == layer.outputs else self._conv(f"{key}.shortcut", x, t))

    def _attention(self, layer: Layer, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        qkv = self._conv(f"{layer.key}.to_qkv", _norm(x, self._gamma(f"{layer.key}.norm")), 1)
        q, k, v = qkv.flatten(2).transpose(1, 2).unsqueeze(1).chunk(3, -1)
        y = F.scaled_dot_product_attention(q, k, v).squeeze(1).transpose(1, 2).reshape(n, c, h, w)
        return x + self._conv(f"{layer.key}.proj", y, 1)

    def _down(self, layer: Layer, x: Tensor, t: int) -> tuple[Tensor, int]:
        x = self._conv(f"{layer.key}.resample.1", F.pad(x, (0, 1, 0, 1)), t, stride=2, padding=0)
        if layer.kind == "down2d" or t == 1:
            return x, t
        x = _frames(x, t)
        triples = torch.cat([x[:, 0:-2:2], x[:, 1:-1:2], x[:, 2::2]], 2)
        weight = self._p(f"{layer.key}.time_conv.weight").transpose(1, 2).flatten(1, 2)
        joined = F.conv2d(_pictures(triples), weight, self._p(f"{layer.key}.time_conv.bias"))
        return _pictures(torch.cat([x[:, :1], _frames(joined, (t - 1) // 2)], 1)), (t + 1) // 2

    def _up(self, layer: Layer, x: Tensor, t: int) -> tuple[Tensor, int]:
        if layer.kind == "up3d" and t > 1:
            x = _frames(x, t)
            first, later = x[:, :1], _pictures(x[:, 1:])
            weight = self._p(f"{layer.key}.time_conv.weight").transpose(1, 2).flatten(1, 2)
            pairs = F.conv2d(_with_history(later, t - 1), weight, self._p(f"{layer.key}.time_conv.bias"))
            pairs = _frames(pairs, t - 1).unflatten(2, (2, layer.inputs)).flatten(1, 2)
            x, t = _pictures(torch.cat([first, pairs], 1)), 2 * t - 1
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return self._conv(f"{layer.key}.resample.1", x, t), t

    def _layers(self, layers: list[Layer], x: Tensor, t: int) -> tuple[Tensor, int]:
        for layer in layers:
            if layer.kind == "residual":
                x = self._residual(layer, x, t)
            elif layer.kind == "attention":
                x = self._attention(layer, x)
            else:
                x, t = (self._down if layer.kind.startswith("down") else self._up)(layer, x, t)
        return x, t

    # ---- whole networks ------------------------------------------------------------------------------------------

    def encode(self, clips: Tensor) -> Tensor:
        """Means of the latents, as the runtime's ``raw`` encoder returns them."""
        t = clips.shape[1]
        x = self._conv("encoder.conv1", _pictures(clips), t)
        x, t = self._layers(self.encoder_layers, x, t)
        x = self._conv("encoder.head.2", self._norm_silu("encoder.head.0", x), t)
        return _frames(self._conv("conv1", x, t)[:, : self.spec.z_dim], t)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures of latents that are normalised by the spec's mean and std."""
        t = latents.shape[1]
        mean, std = (latents.new_tensor(values).view(-1, 1, 1)
                     for values in (self.spec.mean, self.spec.std))  # fmt: skip
        x = self._conv("conv2", _pictures(latents * std + mean), t)
        x = self._conv("decoder.conv1", x, t)
        x, t = self._layers(self.decoder_layers, x, t)
        return _frames(self._conv("decoder.head.2", self._norm_silu("decoder.head.0", x), t), t)


def _norm(x: Tensor, gamma: Tensor) -> Tensor:
    """x / |x| over the channels, times gamma [1, C, 1, 1]."""
    return x * torch.rsqrt(x.square().sum(1, keepdim=True) + 1e-12) * gamma


def _norm_silu(x: Tensor, gamma: Tensor) -> Tensor:
    return F.silu(_norm(x, gamma))


torch._dynamo.config.recompile_limit = 64  # one kernel per shape of the network
_fused_norm_silu = torch.compile(_norm_silu, dynamic=False)


def _pictures(clips: Tensor) -> Tensor:
    """[N, T, C, H, W] -> [N*T, C, H, W], channels last."""
    return clips.flatten(0, 1).contiguous(memory_format=torch.channels_last)


def _frames(pictures: Tensor, t: int) -> Tensor:
    return pictures.unflatten(0, (-1, t))


def _with_history(x: Tensor, t: int) -> Tensor:
    """Every frame behind its two predecessors, which are zero before the first: [N*T, 3C, H, W]."""
    x = _frames(x, t)
    padded = torch.cat([torch.zeros_like(x[:, :1]), torch.zeros_like(x[:, :1]), x], 1)
    return _pictures(torch.cat([padded[:, :-2], padded[:, 1:-1], x], 2))
