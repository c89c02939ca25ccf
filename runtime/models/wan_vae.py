"""The Wan 2.1 VAE as a plan: streaming encoder and decoder (spec 4.6).

A pass takes 4 frames to 1 latent or back; the stream's first pass takes 1 frame to 1 latent or back. The published
feature cache falls out of the rings: before the first frames they hold zeros, the causal padding. Two rules are special
to the first pass: down3d only remembers its frame, without its time convolution, and up3d does neither.

Exact savings taken: the encoder computes only the rows of its last convolution that are the mean; the decoder's doubled
pictures are never made, and their 3x3 convolutions are 2x2 ones over the pictures before doubling; norm and SiLU are
part of the convolution in front of them, which does not write what nothing else reads. The layers at the full frame
rate, whose pictures are the largest, run frame by frame, so that their rings hold 3 frames and not 6.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..config import LATENT_NORMS
from ..errors import PenstockError
from ..pack import Constant
from ..plan import Plan, PlanBuilder, Tensor
from ..vae_spec import FRAMES_PER_LATENT, Layer, WanVaeSpec, wan_vae_decoder, wan_vae_encoder
from .frame_network import (
    Clip,
    CoderSize,
    FrameNetwork,
    Norm,
    Pass,
    Pixels,
    check_frames,
    coder_plan,
    frame_slice,
    scaled,
)

_CUBE, _SQUARE, _TIME, _POINT = (3, 3, 3), (1, 3, 3), (3, 1, 1), (1, 1, 1)
_HALO = 2  # earlier frames that a kernel of 3 frames reads
_DOWN_HALO = 1  # the same with a stride of 2 frames
FP8_CHANNELS = 32  # which products of 8-bit floats take at a time


class NextNorm(NamedTuple):
    """The norm that the layer behind begins with: its key, and whether anything else reads what goes into it."""

    key: str
    keep: bool


def _norm_in(layer: Layer) -> NextNorm | None:
    """Attention begins with a norm without an activation, and in scratch; it does that itself."""
    return NextNorm(f"{layer.key}.residual.0", True) if layer.kind == "residual" else None


def fits_one_tile(channels: int) -> bool:
    """Whether the kernels of causal_conv3d have so many channels of a pixel in one tile, and so can normalise it."""
    return channels <= 128 or channels == 192


class WanVae:
    """Declares the network's weights and rings once; :meth:`encode` and :meth:`decode` add ops to a phase.

    latent_norm: ``raw`` encodes the mean as it is, as published; ``normalized`` takes (mean - m) / std. Decoding starts
    with z * std + m in both. step_frames: 1, 2 or 4 frames of a step at the full frame rate. fp8: the convolutions
    behind a norm multiply 8-bit floats, where they have enough channels.
    """

    def __init__(
        self, plan: PlanBuilder, spec: WanVaeSpec, latent_norm: str = "raw", step_frames: int = 1, fp8: bool = False
    ):
        if latent_norm not in LATENT_NORMS:
            raise PenstockError(f"latent_norm: expected one of {', '.join(LATENT_NORMS)}, got {latent_norm!r:.80}")
        self.plan, self.spec, self.latent_norm, self.step_frames = plan, spec, latent_norm, step_frames
        self.fp8 = fp8
        self.encoder = FrameNetwork(plan, "vae", "encoder", rates=(4, 2, 1), steps=True)
        self.decoder = FrameNetwork(plan, "vae", "decoder", rates=(1, 2), steps=True)
        self.statistics = {
            name: plan.weight(f"vae.{name}", (spec.z_dim,), Constant(np.array(values, np.float32)), "f32")
            for name, values in (("mean", spec.mean), ("std", spec.std))
        }

    def encode(self, frames: Tensor, latents: Tensor, first: bool) -> None:
        """frames u8 [T, Y, X, 3] -> latents f32 [F, z, Y/8, X/8]; T = 4F, or 4F - 3 with the stream's ``first``."""
        check_frames("vae encode", frames, latents, first)
        start = 0
        for index in range(latents.shape[0]):
            single = first and index == 0
            count = 1 if single else FRAMES_PER_LATENT
            self._encode_pass(
                Pass(self.encoder, f"encode{index}", single),
                frame_slice(self.plan, frames, start, count),
                frame_slice(self.plan, latents, index, 1),
            )
            start += count

    def decode(self, latents: Tensor, video: Tensor, first: bool, decoded: Tensor | None = None) -> None:
        """latents f32 [F, z, Y/8, X/8] -> video u8 [T, Y, X, 3], and before rounding to ``decoded`` (compute)."""
        check_frames("vae decode", video, latents, first)
        start = 0
        for index in range(latents.shape[0]):
            single = first and index == 0
            count = 1 if single else FRAMES_PER_LATENT
            floats = None if decoded is None else frame_slice(self.plan, decoded, start, count)
            self._decode_pass(
                Pass(self.decoder, f"decode{index}", single),
                frame_slice(self.plan, latents, index, 1),
                frame_slice(self.plan, video, start, count),
                floats,
            )
            start += count

    # ---- passes -------------------------------------------------------------------------------------------------

    def _encode_pass(self, run: Pass, frames: Tensor, latents: Tensor) -> None:
        spec, z = self.spec, self.spec.z_dim
        layers = wan_vae_encoder(spec)
        split = next(index for index, layer in enumerate(layers) if layer.kind == "down3d")
        for step, start, count in run.steps(FRAMES_PER_LATENT, self.step_frames):
            x = self._encode_step(step, frame_slice(self.plan, frames, start, count), layers[:split])
            halved = self._halve(step, layers[split], x)
            step.finish_step(count)
        x = self._join(run, layers[split], halved, _norm_in(layers[split + 1]))
        x = self._layers(run, layers[split + 1 :], x, NextNorm("encoder.head.0", False))
        x = run.conv("encoder.head.2", x, 2 * z, _CUBE)
        mean = run.conv("conv1", x, z, _POINT, rows=z)
        normalize = self.statistics if self.latent_norm == "normalized" else {}
        self.plan.op("tensor_to_latents", {"x": mean.tensor, **normalize}, {"latents": latents})
        run.finish()

    def _encode_step(self, run: Pass, frames: Tensor, layers: list[Layer]) -> Clip:
        """What comes before the frame rate is halved."""
        past = run.ring("encoder.conv1", self.step_frames, frames.shape[1:3], 3, _HALO)
        x = Clip(frames, self.step_frames)
        x = self._conv(run, "encoder.conv1", x, self.spec.base_dim, _CUBE, _norm_in(layers[0]),
                       pixels=Pixels(x_range="signed", past=past))  # fmt: skip
        return self._layers(run, layers, x, None)

    def _decode_pass(self, run: Pass, latents: Tensor, video: Tensor, decoded: Tensor | None) -> None:
        spec, z = self.spec, self.spec.z_dim
        picture = latents.shape[2:4]
        x = run.scratch("latents", 1, picture, z)
        self.plan.op("latents_to_tensor", {"latents": latents, **self.statistics}, {"y": x.tensor}, clamp="none")
        x = run.conv("conv2", x, z, _POINT, into=run.ring("decoder.conv1", 1, picture, z, _HALO))
        layers = wan_vae_decoder(spec)
        x = self._conv(run, "decoder.conv1", x, spec.widths[-1], _CUBE, _norm_in(layers[0]))
        split = max(index for index, layer in enumerate(layers) if layer.kind == "up3d")
        for layer, following in pairwise(layers[: split + 1]):
            into = None
            if following.kind == "up3d" and not run.single:
                into = run.ring(following.key, x.rate, x.picture, following.inputs, _HALO)
            x = self._layer(run, layer, x, into, _norm_in(following))
        x = self._double_rate(run, layers[split], x)
        for step, start, count in run.steps(FRAMES_PER_LATENT, self.step_frames):
            given = Clip(frame_slice(self.plan, x.tensor, start, count), self.step_frames)
            floats = None if decoded is None else Clip(frame_slice(self.plan, decoded, start, count), self.step_frames)
            self._decode_step(step, given, layers[split:], frame_slice(self.plan, video, start, count), floats)
            step.finish_step(count)
        run.finish()

    def _decode_step(self, run: Pass, x: Clip, layers: list[Layer], video: Tensor, decoded: Clip | None) -> None:
        """What comes after the frame rate was doubled for the last time, by the first of the layers."""
        x = self._double_picture(run, layers[0], x, _norm_in(layers[1]))
        x = self._layers(run, layers[1:], x, NextNorm("decoder.head.0", False))
        run.conv("decoder.head.2", x, 3, _CUBE, into=Clip(video, self.step_frames),
                 pixels=Pixels(y_range="signed", floats=decoded))  # fmt: skip

    # ---- layers -------------------------------------------------------------------------------------------------

    def _layers(self, run: Pass, layers: list[Layer], x: Clip, last: NextNorm | None) -> Clip:
        """One layer after the other; ``last``: the norm behind them."""
        for layer, following in zip(layers, [*layers[1:], None], strict=True):
            x = self._layer(run, layer, x, None, _norm_in(following) if following else last)
        return x

    def _layer(self, run: Pass, layer: Layer, x: Clip, into: Clip | None, norm: NextNorm | None) -> Clip:
        """One layer's output with the norm behind it, in ``into`` if it is given: a residual block can write into the
        next layer's ring."""
        if layer.kind == "residual":
            return self._residual(run, layer, x, into, norm)
        if layer.kind == "attention":
            return self._attention(run, layer, x, norm)
        if layer.kind == "down2d":
            return self._conv(run, f"{layer.key}.resample.1", x, layer.outputs, _SQUARE, norm, stride=2)
        if layer.kind == "down3d":
            return self._join(run, layer, self._halve(run, layer, x), norm)
        if layer.kind == "up3d":
            x = self._double_rate(run, layer, x)
        return self._double_picture(run, layer, x, norm)

    def _conv(self, run: Pass, key: str, x: Clip, outputs: int, kernel: tuple[int, int, int], norm: NextNorm | None,
              stride: int = 1, upsample: int = 1, **options: Any) -> Clip:  # fmt: skip
        """Pass.conv and the norm behind it, as one op where the kernels can."""
        options |= {"stride": stride, "upsample": upsample}
        if norm is None or not fits_one_tile(outputs):
            return self._with_norm(run, run.conv(key, x, outputs, kernel, **options), norm)
        rate = x.rate // options.get("time_stride", 1)
        y = self._normed(run, norm, rate, scaled(x.picture, stride, upsample), outputs)
        return run.conv(key, x, outputs, kernel, norm=Norm(f"{norm.key}.gamma", y, norm.keep), **options)

    def _normed(self, run: Pass, norm: NextNorm, rate: int, picture: tuple[int, int], channels: int) -> Clip:
        """Where a norm's output goes: the ring of the convolution behind it."""
        gamma = f"{norm.key}.gamma" if self.fp8 and channels % FP8_CHANNELS == 0 else None
        return run.ring(norm.key, rate, picture, channels, _HALO, gamma)

    def _with_norm(self, run: Pass, x: Clip, norm: NextNorm | None) -> Clip:
        """x with its norm as Clip.normed, or the norm alone if nothing else is needed."""
        if norm is None:
            return x
        normed = self._normed(run, norm, x.rate, x.picture, x.channels)
        self._norm(run, norm.key, x, normed, "silu")
        return replace(x, normed=normed) if norm.keep else normed

    def _norm(self, run: Pass, key: str, x: Clip, y: Clip, activation: str) -> None:
        gamma = run.network.packed(f"{key}.gamma", (x.channels,))
        roles = {"x": x.tensor, "x_frame": x.counter, "gamma": gamma, "y_frame": y.counter,
                 "y_scale": run.network.code_scale(y.gamma)}  # fmt: skip
        self.plan.op("rms_silu", roles, {"y": y.tensor}, frames=run.frames(x), activation=activation)

    def _residual(self, run: Pass, layer: Layer, x: Clip, into: Clip | None, norm: NextNorm | None) -> Clip:
        key, width = layer.key, layer.outputs
        y = self._conv(run, f"{key}.residual.2", x.normed, width, _CUBE, NextNorm(f"{key}.residual.3", False))
        shortcut = x if layer.inputs == width else run.conv(f"{key}.shortcut", x, width, _POINT)
        return self._conv(run, f"{key}.residual.6", y, width, _CUBE, norm, into=into, residual=shortcut)

    def _attention(self, run: Pass, layer: Layer, x: Clip, norm: NextNorm | None) -> Clip:
        """Softmax attention inside every frame, with one head."""
        plan, key, width = self.plan, layer.key, layer.inputs
        tokens = run.frames(x) * x.picture[0] * x.picture[1]
        normed = run.scratch(f"{key}.norm", x.rate, x.picture, width)
        self._norm(run, f"{key}.norm", x, normed, "none")
        qkv = plan.scratch(f"{run.name}.{key}.to_qkv", (tokens, 3 * width))
        roles = {"x": plan.view(normed.tensor, (tokens, width)),
                 "weight": run.network.packed(f"{key}.to_qkv.weight", (3 * width, width)),
                 "bias": run.network.packed(f"{key}.to_qkv.bias", (3 * width,))}  # fmt: skip
        plan.op("gemm", roles, {"y": qkv}, activation="none")
        attended = run.scratch(f"{key}.attended", x.rate, x.picture, width)
        out = plan.view(attended.tensor, (tokens, width))
        plan.op("spatial_attention", {"qkv": qkv}, {"out": out}, frames=run.frames(x))
        return self._conv(run, f"{key}.proj", attended, width, _POINT, norm, residual=x)

    def _halve(self, run: Pass, layer: Layer, x: Clip) -> Clip:
        """Half the picture, in the ring of :meth:`_join`, which takes all frames of a pass, also from steps."""
        rate = FRAMES_PER_LATENT if run.in_steps else x.rate
        halved = run.network.ring(layer.key, rate, scaled(x.picture, 2, 1), layer.outputs, _DOWN_HALO)
        into = Clip(halved.tensor, x.rate, run.network.step_counter) if run.in_steps else halved
        run.conv(f"{layer.key}.resample.1", x, layer.outputs, _SQUARE, into=into, stride=2)
        return halved

    def _join(self, run: Pass, layer: Layer, halved: Clip, norm: NextNorm | None) -> Clip:
        """Frames joined by two, with the last one of the pass before."""
        if run.single:
            return self._with_norm(run, Clip(halved.tensor, halved.rate // 2, halved.counter), norm)
        return self._conv(run, f"{layer.key}.time_conv", halved, layer.outputs, _TIME, norm, time_stride=2)

    def _double_rate(self, run: Pass, layer: Layer, x: Clip) -> Clip:
        """Two frames of every one."""
        if run.single:
            return Clip(x.tensor, 2 * x.rate, x.counter)
        return run.conv(f"{layer.key}.time_conv", x, layer.inputs, _TIME, interleave=2)

    def _double_picture(self, run: Pass, layer: Layer, x: Clip, norm: NextNorm | None) -> Clip:
        return self._conv(run, f"{layer.key}.resample.1", x, layer.outputs, _SQUARE, norm, upsample=2)


def wan_vae_plan(
    spec: WanVaeSpec, size: CoderSize, latent_norm: str = "raw", floats: bool = False, step_frames: int = 1,
    fp8: bool = False,
) -> Plan:  # fmt: skip
    """The plan of a Wan VAE alone; its phases, inputs and outputs are those of ``coder_plan``."""
    plan = PlanBuilder(f"wan vae {size.height}x{size.width}", size.to_dict() | {"latent_norm": latent_norm})
    return coder_plan(plan, WanVae(plan, spec, latent_norm, step_frames, fp8), spec.z_dim, size, floats)
