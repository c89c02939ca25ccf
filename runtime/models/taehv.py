"""TAEHV for Wan latents (taew2_1) as a plan: streaming encoder and decoder (spec 4.7).

A pass takes 4 frames to 1 latent or back. The memory of a MemBlock, its input of the timestep before, is the last frame
of a ring, so the stream has no borders: decoding chunk by chunk equals decoding the whole clip at once. The decoder
drops the 3 frames that it makes before the stream's first one.

The specification is silent on the encoder's first chunk; its first frame is repeated before itself, so that the latents
stand for the same frames as the decoder's.
"""

from __future__ import annotations

import numpy as np

from ..pack import Constant
from ..plan import Plan, PlanBuilder, Tensor
from ..vae_spec import FRAMES_PER_LATENT, Layer, TaehvSpec, taehv_decoder, taehv_encoder
from .frame_network import Clip, CoderSize, FrameNetwork, Pass, Pixels, check_frames, coder_plan, frame_slice

_SQUARE, _POINT = (1, 3, 3), (1, 1, 1)
_HALO = 1  # a MemBlock remembers one frame
_DROPPED = FRAMES_PER_LATENT - 1  # frames that the decoder makes of the first latent, before the first frame


class Taehv:
    """Declares the network's weights and rings once; :meth:`encode` and :meth:`decode` add ops to a phase.

    Latents are normalised ones, in both directions.
    """

    def __init__(self, plan: PlanBuilder, spec: TaehvSpec):
        self.plan, self.spec = plan, spec
        self.encoder = FrameNetwork(plan, "taehv", "encoder", rates=(2, 1))
        self.decoder = FrameNetwork(plan, "taehv", "decoder", rates=(1, 2))

    def encode(self, frames: Tensor, latents: Tensor, first: bool) -> None:
        """frames u8 [T, Y, X, 3] -> latents f32 [F, z, Y/8, X/8]; T = 4F, or 4F - 3 with the stream's ``first``."""
        check_frames("taehv encode", frames, latents, first)
        missing = _DROPPED if first else 0
        for index in range(latents.shape[0]):
            run = Pass(self.encoder, f"encode{index}")
            start = FRAMES_PER_LATENT * index - missing
            count = FRAMES_PER_LATENT if start >= 0 else 1
            given = Clip(frame_slice(self.plan, frames, max(start, 0), count), count)
            self._encode_pass(run, given, frame_slice(self.plan, latents, index, 1))

    def decode(self, latents: Tensor, video: Tensor, first: bool, decoded: Tensor | None = None) -> None:
        """latents f32 [F, z, Y/8, X/8] -> video u8 [T, Y, X, 3], and before rounding to ``decoded`` (compute)."""
        check_frames("taehv decode", video, latents, first)
        start = 0
        for index in range(latents.shape[0]):
            skip = _DROPPED if first and index == 0 else 0
            count = FRAMES_PER_LATENT - skip
            floats = None if decoded is None else Clip(frame_slice(self.plan, decoded, start, count), count)
            self._decode_pass(
                Pass(self.decoder, f"decode{index}"),
                frame_slice(self.plan, latents, index, 1),
                Clip(frame_slice(self.plan, video, start, count), count),
                floats,
            )
            start += count

    # ---- passes -------------------------------------------------------------------------------------------------

    def _encode_pass(self, run: Pass, frames: Clip, latents: Tensor) -> None:
        """One frame stands for itself and for those that are missing before it."""
        first, *layers, last = taehv_encoder(self.spec)
        x = run.scratch(first.key, FRAMES_PER_LATENT, frames.picture, first.outputs)
        for start in range(0, FRAMES_PER_LATENT, frames.rate):
            into = Clip(frame_slice(self.plan, x.tensor, start, frames.rate), frames.rate)
            run.conv(first.key, frames, first.outputs, _SQUARE, into, activation="relu", pixels=Pixels(x_range="unit"))
        for layer, following in zip(layers, [*layers[1:], last], strict=True):
            if layer.kind == "pool":
                taps = tuple(range(layer.factor))
                x = run.conv(f"{layer.key}.conv", x, layer.outputs, (layer.factor, 1, 1), taps=taps, bias=False,
                             time_stride=layer.factor)  # fmt: skip
            elif layer.kind == "memory":
                x = self._memory(run, layer, x, self._memory_ring(run, following, x.rate, x.picture))
            else:
                x = self._halve(run, layer, following, x)
        x = run.conv(last.key, x, last.outputs, _SQUARE)
        self.plan.op("tensor_to_latents", {"x": x.tensor}, {"latents": latents})
        run.finish()

    def _decode_pass(self, run: Pass, latents: Tensor, video: Clip, decoded: Clip | None) -> None:
        """The last frames of the latent, as many as ``video`` has."""
        first, *layers, last = taehv_decoder(self.spec)
        x = run.scratch("latents", 1, latents.shape[2:4], self.spec.z_dim)
        self.plan.op("latents_to_tensor", {"latents": latents}, {"y": x.tensor}, clamp="tanh3")
        ring = self._memory_ring(run, layers[0], 1, x.picture)
        x = run.conv(first.key, x, first.outputs, _SQUARE, into=ring, activation="relu")
        for layer, following in zip(layers, [*layers[1:], last], strict=True):
            if layer.kind == "memory":
                x = self._memory(run, layer, x, self._memory_ring(run, following, x.rate, x.picture))
            elif layer.kind == "grow":
                # A 1x1 convolution gives the same before the picture is doubled; the doubling goes into the next one.
                x = run.conv(f"{layer.key}.conv", x, layer.outputs, _POINT, bias=False, interleave=layer.factor)
            else:
                picture = 2 * x.picture[0], 2 * x.picture[1]
                ring = self._memory_ring(run, following, x.rate, picture)
                activation = "none" if ring else "relu"
                x = run.conv(layer.key, x, layer.outputs, _SQUARE, into=ring, bias=layer.bias, upsample=2,
                             activation=activation)  # fmt: skip
        kept = Clip(frame_slice(self.plan, x.tensor, x.rate - video.rate, video.rate), video.rate)
        run.conv(last.key, kept, last.outputs, _SQUARE, video, pixels=Pixels(y_range="unit", floats=decoded))
        run.finish()

    # ---- layers -------------------------------------------------------------------------------------------------

    def _memory_ring(self, run: Pass, layer: Layer, rate: int, picture: tuple[int, int]) -> Clip | None:
        """The ring that a MemBlock reads its input from; None for another layer, which reads scratch."""
        if layer.kind != "memory":
            return None
        return run.network.ring(layer.key, rate, picture, layer.inputs, _HALO)

    def _memory(self, run: Pass, layer: Layer, x: Clip, into: Clip | None) -> Clip:
        """relu(x + conv(relu(conv(relu(conv([x, past])))))): the first convolution is one over two frames."""
        key, width = f"{layer.key}.conv", layer.outputs
        # The weight's first input channels belong to x, the others to its past.
        y = run.conv(f"{key}.0", x, width, (2, 3, 3), taps=(1, 0), activation="relu")
        y = run.conv(f"{key}.2", y, width, _SQUARE, activation="relu")
        return run.conv(f"{key}.4", y, width, _SQUARE, into=into, residual=x, activation="relu")

    def _halve(self, run: Pass, layer: Layer, following: Layer, x: Clip) -> Clip:
        """A 3x3 convolution of stride 2 with padding on all sides, into the ring of the layer behind it.

        causal_conv3d's stride 2 pads at the right and the bottom only, as the Wan VAE does; so this is the convolution
        of stride 1, of which a 1x1 convolution with the identity keeps every second row and column.
        """
        width = layer.outputs
        full = run.conv(layer.key, x, width, _SQUARE, bias=layer.bias)
        ring = self._memory_ring(run, following, x.rate, (x.picture[0] // 2, x.picture[1] // 2))
        identity = Constant(np.eye(width, dtype=np.float32))
        keep = run.network.weight("encoder.identity", (width, 1, 1, 1, width), identity)
        roles = {"x": full.tensor, "weight": keep, "y_frame": ring.counter}
        self.plan.op("causal_conv3d", roles, {"y": ring.tensor}, frames=run.frames(x), stride=2, upsample=1,
                     time_stride=1, interleave=1, activation="none")  # fmt: skip
        return ring


def taehv_plan(spec: TaehvSpec, size: CoderSize, floats: bool = False) -> Plan:
    """The plan of a TAEHV alone; its phases, inputs and outputs are those of ``coder_plan``."""
    plan = PlanBuilder(f"taehv {size.height}x{size.width}", size.to_dict())
    return coder_plan(plan, Taehv(plan, spec), spec.z_dim, size, floats)
