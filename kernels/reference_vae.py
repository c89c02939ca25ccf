"""Reference of the video autoencoders' ops and of the noise controller, in pure torch (spec 2.7, 4.6, 4.7).

Frames are channels last, [frames, Y, X, C]. Where a role of an op may be a ring of frames, its counter is an argument
here too: None says that the tensor is plain. Outputs that go into a ring of ``y_frames`` frames (default: as many as
there are) are NaN where the op must not write.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

Outputs = dict[str, Tensor]


# ---- rings of frames ----------------------------------------------------------------------------------------------


def take(x: Tensor, counter: Tensor | None, frames: int, halo: int = 0) -> Tensor:
    """``halo`` earlier frames, then the ``frames`` new ones, of a ring; before a plain tensor all was zero."""
    if counter is None:
        return torch.cat([torch.zeros_like(x[:1]).repeat(halo, 1, 1, 1), x[:frames]])
    return torch.stack([x[(int(counter[0]) - halo + i) % len(x)] for i in range(halo + frames)])


def put(values: Tensor, counter: Tensor | None, frames: int | None, into: Tensor | None = None) -> Outputs:
    y = torch.full((frames or len(values), *values.shape[1:]), math.nan, dtype=values.dtype)
    if into is not None:
        y[:] = into
    for i, frame in enumerate(values):
        y[(i if counter is None else int(counter[0]) + i) % len(y)] = frame
    return {"y": y}


# ---- layers -------------------------------------------------------------------------------------------------------


def causal_conv3d(
    x: Tensor, weight: Tensor, frames: int, stride: int, upsample: int, time_stride: int, interleave: int,
    activation: str, bias: Tensor | None = None, residual: Tensor | None = None, gamma: Tensor | None = None,
    x_frame: Tensor | None = None, residual_frame: Tensor | None = None, y_frame: Tensor | None = None,
    raw_frame: Tensor | None = None, sum_scale: Tensor | None = None, y_frames: int | None = None,
    raw_frames: int | None = None, past: Tensor | None = None, x_range: str = "none", y_range: str = "none",
) -> Outputs:  # fmt: skip
    """raw = conv + bias + residual over ``frames`` new frames, only where ``raw_frames`` is given, and y = act(raw), or
    with gamma act(norm(raw) gamma); weight [u*u*g*O, kt, ky, kx, I]. With sum_scale x and weight are e4m3 codes. With
    x_range x is pixels, and past is as the op leaves it; with y_range y is what is to be rounded to pixels."""
    if sum_scale is not None:
        x, weight = (codes.view(torch.float8_e4m3fn).to(sum_scale.dtype) for codes in (x, weight))
        weight = weight * sum_scale[:, None, None, None, None]
    halo, kept = weight.shape[1] - time_stride, {}
    if x_range != "none":
        x = numbers_of(x, x_range, weight.dtype)
    if past is not None:
        clip = torch.cat([take(past, x_frame, 0, halo) if halo else x[:0], x[:frames]])
        kept = {"past": put(x[:frames], x_frame, len(past), into=past)["y"]}
    else:
        clip = take(x, x_frame, frames, halo)
    raw = convolve(clip, weight, bias, stride, upsample, time_stride, interleave)
    if residual is not None:
        raw = raw + take(residual, residual_frame, len(raw))
    y = raw if gamma is None else normalize(raw, gamma)
    y = {"relu": torch.relu, "silu": F.silu, "none": lambda y: y}[activation](y)
    if y_range != "none":
        y = to_be_rounded(y, y_range)
    return put(y, y_frame, y_frames) | kept | ({"raw": put(raw, raw_frame, raw_frames)["y"]} if raw_frames else {})


def normalize(x: Tensor, gamma: Tensor) -> Tensor:
    """x / max(|x|, 1e-12) * sqrt(C) * gamma, |x| over the channels."""
    return F.normalize(x, dim=-1, eps=1e-12) * math.sqrt(x.shape[-1]) * gamma


def convolve(clip: Tensor, weight: Tensor, bias: Tensor | None, stride: int, upsample: int, time_stride: int,
             interleave: int) -> Tensor:  # fmt: skip
    """The convolution of a whole clip [frames, Y, X, I], without padding in time -> [frames', Y', X', O]."""
    x = clip.permute(3, 0, 1, 2)[None]
    height, width = weight.shape[2:4]
    kernels = weight.permute(0, 4, 1, 2, 3).reshape(upsample, upsample, -1, weight.shape[4], *weight.shape[1:4])

    def place(a: int, b: int) -> Tensor:
        """[g*O, frames, P, Q]: the pixels at (a, b) of every block of upsample x upsample."""
        top, left = (0, 0) if stride == 2 else ((height - a) // 2, (width - b) // 2)
        bottom, right = (max(size - stride - begin, 0) for size, begin in ((height, top), (width, left)))
        padded = F.pad(x, (left, right, top, bottom))
        return F.conv3d(padded, kernels[a, b], bias, stride=(time_stride, stride, stride))[0]

    rows = [torch.stack([place(a, b) for b in range(upsample)], dim=-1) for a in range(upsample)]
    y = torch.stack(rows, dim=-3).flatten(-2).flatten(-3, -2)  # [g*O, frames, P, u, Q, u] -> [g*O, frames, Y, X]
    groups = y.reshape(interleave, -1, *y.shape[1:])  # [g, O, frames, Y, X]
    return groups.permute(2, 0, 3, 4, 1).reshape(-1, *y.shape[2:], groups.shape[1])


def rms_silu(
    x: Tensor, gamma: Tensor, frames: int, activation: str, x_frame: Tensor | None = None,
    y_frame: Tensor | None = None, y_frames: int | None = None,
) -> Outputs:  # fmt: skip
    """act(x / max(|x|, 1e-12) * sqrt(C) * gamma), |x| over the channels."""
    y = normalize(take(x, x_frame, frames), gamma)
    return put(F.silu(y) if activation == "silu" else y, y_frame, y_frames)


def spatial_attention(qkv: Tensor, frames: int) -> Outputs:
    """qkv [T*N, 3C] -> out [T*N, C]: softmax attention inside every frame, one head."""
    q, k, v = qkv.reshape(frames, -1, qkv.shape[1]).chunk(3, dim=-1)
    weights = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]), dim=-1)
    return {"out": (weights @ v).reshape(len(qkv), -1)}


# ---- frames and latents -------------------------------------------------------------------------------------------


def numbers_of(pixels: Tensor, value_range: str, dtype: torch.dtype) -> Tensor:
    """uint8 pixels to [-1, 1] or [0, 1]."""
    exact = pixels.double()
    return (exact / 127.5 - 1 if value_range == "signed" else exact / 255).to(dtype)


def to_be_rounded(numbers: Tensor, value_range: str) -> Tensor:
    """What is to be rounded to uint8 pixels, NaN being 0: values from 0 to 255."""
    numbers = (numbers.clamp(-1, 1) + 1) / 2 if value_range == "signed" else numbers.clamp(0, 1)
    return numbers.nan_to_num(0.0) * 255


def latents_to_tensor(
    latents: Tensor, clamp: str, mean: Tensor | None = None, std: Tensor | None = None,
    y_frame: Tensor | None = None, y_frames: int | None = None,
) -> Outputs:  # fmt: skip
    """latents [F, C, y, x] -> frames, latents * std + mean, then 3 tanh(v / 3) for clamp tanh3."""
    values = latents.permute(0, 2, 3, 1)
    if mean is not None:
        values = values * std + mean
    return put(3 * torch.tanh(values / 3) if clamp == "tanh3" else values, y_frame, y_frames)


def tensor_to_latents(
    x: Tensor, frames: int, mean: Tensor | None = None, std: Tensor | None = None, x_frame: Tensor | None = None
) -> Outputs:
    values = take(x, x_frame, frames)
    if mean is not None:
        values = (values - mean) / std
    return {"latents": values.permute(0, 3, 1, 2)}


# ---- noise controller ---------------------------------------------------------------------------------------------


def motion(previous: Tensor, frames: Tensor) -> float:
    """dhat of uint8 frames [T, Y, X, 3] after ``previous`` [1, Y, X, 3], in the published precision: bf16 tensors."""
    x = (torch.cat([previous, frames]).float() / 127.5 - 1).bfloat16()
    squares = (x[1:] - x[:-1]) ** 2
    means = squares.double().mean(dim=(1, 2, 3)).float().bfloat16()
    return float((torch.sqrt(means).max() / 0.2).clamp(0, 1))


def next_level(initial: float, previous: float, dhat: float) -> tuple[float, int]:
    """(s, timestep) of a chunk from s_init and the s of the chunk before."""
    level = 0.9 * (initial - 0.1 * dhat) + 0.1 * previous
    return level, math.floor(1000 * level) - 100
