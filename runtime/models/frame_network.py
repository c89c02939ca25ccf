"""What the video autoencoders share: rings of frames, causal convolutions over them, and plans to run them alone.

Activations are frames with channels last. The input of a convolution over time lives in a ring, a state tensor that
keeps the frames of earlier calls in place; an i64 counter per temporal resolution says where the new ones go. A pass
runs the network once, over as few frames as it can; the last op of a pass advances the counters. Within a pass, layers
may run in steps of some of its frames, whose rings have a counter of their own: they need only hold a step's frames.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, Protocol

from ..errors import PenstockError
from ..pack import CodedKernel, ConvKernel, NormScale, Packed, SumScale, WeightSource
from ..plan import Plan, PlanBuilder, Tensor
from ..vae_spec import FRAMES_PER_LATENT, SPATIAL_STRIDE


@dataclass(frozen=True)
class Clip:
    """The new frames of a pass or step: a plain tensor [frames, Y, X, C], or a ring of frames with its counter.

    ``rate``: frames at this temporal resolution per full pass, or of a step. ``normed``: the same after the norm of the
    layer behind it, where that is there already. ``gamma``: that of the norm by which the frames are 8-bit floats.
    """

    tensor: Tensor
    rate: int
    counter: Tensor | None = None
    normed: Clip | None = None
    gamma: str | None = None

    @property
    def picture(self) -> tuple[int, int]:
        return self.tensor.shape[1], self.tensor.shape[2]

    @property
    def channels(self) -> int:
        return self.tensor.shape[3]


class Norm(NamedTuple):
    """What a convolution makes for the layer behind it: silu(norm(y) * gamma) in ``into``, and y itself if ``keep``.

    ``key`` is gamma's."""

    key: str
    into: Clip
    keep: bool


class Pixels(NamedTuple):
    """A convolution whose input or output is the frames of a video, 8-bit in the given range (see causal_conv3d.h).

    ``past``: the ring of earlier frames of x, which gets the new ones; ``floats``: where y goes before it is rounded.
    """

    x_range: str = "none"
    y_range: str = "none"
    past: Clip | None = None
    floats: Clip | None = None

    @property
    def ranges(self) -> dict[str, str]:
        return {"x_range": self.x_range, "y_range": self.y_range}


class FrameNetwork:
    """The tensors of one network that outlive a pass; weights and rings are declared at their first use.

    ``model`` prefixes all names, and the keys in a WeightSet; ``rates``: those that rings may have; ``steps``: whether
    passes have steps.
    """

    def __init__(self, plan: PlanBuilder, model: str, name: str, rates: tuple[int, ...], steps: bool = False):
        self.plan, self.model = plan, model
        self.step_counter = plan.step(f"{model}.{name}.frames_in_steps", "i64", (1,)) if steps else None
        self.counters = {rate: plan.step(f"{model}.{name}.frames_{rate}", "i64", (1,)) for rate in rates}
        self._rings: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}

    def weight(self, name: str, shape: tuple[int, ...], source: WeightSource, dtype: str = "compute") -> Tensor:
        if name not in self._weights:
            self._weights[name] = self.plan.weight(f"{self.model}.{name}", shape, source, dtype)
        return self._weights[name]

    def kernel(self, key: str, shape: tuple[int, ...], taps: tuple[int, ...] = (0,), rows: int | None = None,
               doubled: bool = False) -> Tensor:  # fmt: skip
        """A convolution's weight under its key in the checkpoint."""
        return self.weight(key, shape, ConvKernel(f"{self.model}.{key}", taps, rows, doubled))

    def packed(self, key: str, shape: tuple[int, ...], rows: int | None = None) -> Tensor:
        """Any other weight under its key in the checkpoint."""
        return self.weight(key, shape, Packed((f"{self.model}.{key}",), rows))

    def coded_kernel(self, key: str, shape: tuple[int, ...], gamma: str) -> tuple[Tensor, Tensor]:
        """A convolution's weight in 8-bit floats, and its sum_scale for frames that are 8-bit floats by ``gamma``."""
        name = f"{self.model}.{key}"
        scale = SumScale(name, f"{self.model}.{gamma}")
        return (self.weight(f"{key}.codes", shape, CodedKernel(name), "u8"),
                self.weight(f"{key}.sum_scale", shape[:1], scale, "f32"))  # fmt: skip

    def code_scale(self, gamma: str | None) -> Tensor | None:
        """The scale of frames that are 8-bit floats by a norm's gamma; None for others."""
        return gamma and self.weight(f"{gamma}.code_scale", (1,), NormScale(f"{self.model}.{gamma}"), "f32")

    def ring(self, name: str, rate: int, picture: tuple[int, int], channels: int, halo: int,
             in_steps: bool = False, gamma: str | None = None) -> Clip:  # fmt: skip
        """A ring for the new frames of a full pass, or of a step, and ``halo`` earlier ones, in 8-bit floats by
        ``gamma``."""
        if name not in self._rings:
            shape = (rate + halo, *picture, channels)
            self._rings[name] = self.plan.state(f"{self.model}.{name}.ring", shape, "u8" if gamma else "compute")
        return Clip(self._rings[name], rate, self.step_counter if in_steps else self.counters[rate], gamma=gamma)


class Pass:
    """One run of a network in the open phase, or a step of one, all of whose clips have as many frames.

    ``name`` prefixes scratch; ``single``: one frame at every resolution; ``in_steps``: it is a step.
    """

    def __init__(self, network: FrameNetwork, name: str, single: bool = False, in_steps: bool = False):
        self.network, self.plan, self.name, self.single = network, network.plan, name, single
        self.in_steps = in_steps

    def steps(self, rate: int, frames: int) -> list[tuple[Pass, int, int]]:
        """The pass's frames at ``rate`` in steps of ``frames``: each step, its first frame and how many it has."""
        starts, count = (range(1), 1) if self.single else (range(0, rate, frames), frames)
        return [(Pass(self.network, f"{self.name}.{at}", self.single, in_steps=True), at, count) for at in starts]

    def frames(self, clip: Clip) -> int:
        """New frames of a clip in this pass."""
        return 1 if self.single else clip.rate

    def ring(self, name: str, rate: int, picture: tuple[int, int], channels: int, halo: int,
             gamma: str | None = None) -> Clip:  # fmt: skip
        return self.network.ring(name, rate, picture, channels, halo, self.in_steps, gamma)

    def scratch(self, name: str, rate: int, picture: tuple[int, int], channels: int) -> Clip:
        frames = 1 if self.single else rate
        return Clip(self.plan.scratch(f"{self.name}.{name}", (frames, *picture, channels)), rate)

    def conv(self, key: str, x: Clip, outputs: int, kernel: tuple[int, int, int], into: Clip | None = None,
             residual: Clip | None = None, taps: tuple[int, ...] = (0,), rows: int | None = None, bias: bool = True,
             stride: int = 1, upsample: int = 1, time_stride: int = 1, interleave: int = 1,
             activation: str = "none", norm: Norm | None = None, pixels: Pixels | None = None) -> Clip:  # fmt: skip
        """activation(conv(x) + residual), into ``into`` or a new scratch clip. kernel = (kt, ky, kx), as published.

        ``upsample=2`` doubles the picture first. ``taps`` and ``rows`` say how the weight is packed (ConvKernel); the
        rest are attributes of the op. With ``norm`` the op makes both, or the norm alone, and returns that. ``pixels``:
        what is 8-bit on either side.
        """
        if into is None and (norm is None or norm.keep):
            into = self.scratch(key, x.rate // time_stride * interleave, scaled(x.picture, stride, upsample), outputs)
        time, *sides = kernel
        if upsample == 2:
            sides = [(side + 1) // 2 for side in sides]
        rows_out = interleave * outputs
        shape = (upsample**2 * rows_out, time, *sides, x.channels)
        sum_scale = None
        if x.gamma:
            weight, sum_scale = self.network.coded_kernel(f"{key}.weight", shape, x.gamma)
        else:
            weight = self.network.kernel(f"{key}.weight", shape, taps, rows, doubled=upsample == 2)
        offset = self.network.packed(f"{key}.bias", (rows_out,), rows) if bias else None
        inputs = {"x": x.tensor, "x_frame": x.counter, "weight": weight, "bias": offset, "sum_scale": sum_scale}
        if residual is not None:
            inputs |= {"residual": residual.tensor, "residual_frame": residual.counter}
        made, past, ranges = {"y": into}, None, {}
        if pixels is not None:
            ranges, past = pixels.ranges, pixels.past
            made["raw"] = pixels.floats
        if past is not None:
            inputs["x_frame"] = past.counter
        if norm is not None:
            made = {"y": norm.into, "raw": into}
            inputs |= {"gamma": self.network.packed(norm.key, (outputs,)),
                       "y_scale": self.network.code_scale(norm.into.gamma)}  # fmt: skip
            activation = "silu"
            into = replace(into, normed=norm.into) if into else norm.into
        inputs |= {f"{role}_frame": clip.counter for role, clip in made.items() if clip}
        written = {role: clip.tensor for role, clip in made.items() if clip}
        self.plan.op(
            "causal_conv3d", inputs, written, {"past": past.tensor} if past else None, frames=self.frames(x),
            stride=stride, upsample=upsample, time_stride=time_stride, interleave=interleave, activation=activation,
            **ranges,
        )  # fmt: skip
        return into

    def finish_step(self, count: int) -> None:
        """Counts the frames of a step; nothing may use its rings after it."""
        self.plan.op("advance_frames", {}, updates={"frame": self.network.step_counter}, count=count)

    def finish(self) -> None:
        """Counts the pass's frames; nothing may use a ring after it."""
        for rate, counter in self.network.counters.items():
            self.plan.op("advance_frames", {}, updates={"frame": counter}, count=1 if self.single else rate)


def scaled(picture: tuple[int, int], stride: int, upsample: int) -> tuple[int, int]:
    """The picture that a convolution makes of this one."""
    return picture[0] * upsample // stride, picture[1] * upsample // stride


def check_frames(what: str, frames: Tensor, latents: Tensor, first: bool) -> None:
    """PenstockError unless ``frames`` [T, ...] has as many frames as ``latents`` [F, ...] stand for."""
    count = FRAMES_PER_LATENT * latents.shape[0] - (FRAMES_PER_LATENT - 1 if first else 0)
    if frames.shape[0] != count:
        raise PenstockError(f"{what}: expected {count} frames for {latents.shape[0]} latents, got {frames.shape[0]}")


def frame_slice(plan: PlanBuilder, tensor: Tensor, start: int, count: int) -> Tensor:
    """``count`` entries along the first axis of a tensor."""
    row = tensor.size // tensor.shape[0]
    return plan.view(tensor, (count, *tensor.shape[1:]), start * row)


class VideoCoder(Protocol):
    """A video autoencoder that adds its ops to the open phase; see WanVae."""

    def encode(self, frames: Tensor, latents: Tensor, first: bool) -> None: ...

    def decode(self, latents: Tensor, video: Tensor, first: bool, decoded: Tensor | None = None) -> None: ...


@dataclass(frozen=True)
class CoderSize:
    """What a coder alone is built for: pixels, and latents of the first and of the later chunks."""

    height: int
    width: int
    first_latents: int = 2
    chunk_latents: int = 1

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            value = getattr(self, name)
            if value < SPATIAL_STRIDE or value % SPATIAL_STRIDE:
                raise PenstockError(f"{name}: expected a multiple of {SPATIAL_STRIDE} pixels, got {value}")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the plan."""
        return asdict(self)

    @property
    def picture(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def latent_picture(self) -> tuple[int, int]:
        return self.height // SPATIAL_STRIDE, self.width // SPATIAL_STRIDE


def coder_plan(plan: PlanBuilder, coder: VideoCoder, z_dim: int, size: CoderSize, floats: bool = False) -> Plan:
    """Phases encode_first, encode, decode_first, decode around a coder.

    Inputs frames_first and frames, u8 [T, height, width, 3]; states latents_first and latents, f32 [F, z, h, w], which
    encode writes, decode reads, and the host may do either; outputs video_first and video, u8; with ``floats`` also
    decoded_first and decoded, the decoder's frames before they become 8-bit.
    """
    for suffix, first, count in (("_first", True, size.first_latents), ("", False, size.chunk_latents)):
        frames = FRAMES_PER_LATENT * count - (FRAMES_PER_LATENT - 1 if first else 0)
        shape = (frames, *size.picture, 3)
        latents = plan.state(f"latents{suffix}", (count, z_dim, *size.latent_picture), "f32")
        with plan.phase(f"encode{suffix}"):
            coder.encode(plan.input(f"frames{suffix}", shape, "u8"), latents, first)
        with plan.phase(f"decode{suffix}"):
            decoded = None
            if floats:
                decoded = plan.output(f"decoded{suffix}", shape, "compute")
            coder.decode(latents, plan.output(f"video{suffix}", shape, "u8"), first, decoded)
    return plan.finish()
