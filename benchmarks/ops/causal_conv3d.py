"""causal_conv3d: against torch's convolution as published code calls it, and in NDHWC without any of its copies."""

import numpy as np

from ..coded_frames import coded, coded_values, decoded
from ..libraries import functional, torch
from ..op_benchmark import OpBenchmark


def published_kernel(weight):
    """The 3x3 kernel over a doubled picture that these four 2x2 kernels [4 O, kt, 2, 2, I] over the picture stand for
    -> [O, kt, 3, 3, I]: along a side the first kernel has the taps (t0, t1 + t2), the second (t0 + t1, t2)."""
    places = weight.unflatten(0, (2, 2, -1))  # [2, 2, O, kt, 2, 2, I]

    def taps(first, second, axis):
        (t0, t12), (_, t2) = first.unbind(axis), second.unbind(axis)
        return torch.stack([t0, t12 - t2, t2], axis)

    return taps(*(taps(left, right, 3) for left, right in (row.unbind(0) for row in places.unbind(0))), 2)


def values(call):
    """Codes and scales; random weights of a doubled picture, as a 3x3 kernel has them.

    Small integers times a power of two: sums of four of them are then exact in bf16.
    """
    if call.number("upsample") == 1:
        return coded_values(call)
    rows, time, _, _, inputs = call.shapes["weight"]
    kernel = np.random.default_rng(0).standard_normal((rows // 4, time, 3, 3, inputs), dtype=np.float32)
    kernel = np.clip(np.rint(8 * kernel), -32, 32) * np.float32(
        2.0 ** np.rint(np.log2((9 * time * inputs) ** -0.5) - 3)
    )
    sums = (np.array([[1, 0, 0], [0, 1, 1]], np.float32), np.array([[1, 1, 0], [0, 0, 1]], np.float32))
    places = [np.einsum("vy,wx,otyxi->otvwi", down, right, kernel) for down in sums for right in sums]
    return coded_values(call) | {"weight": np.concatenate(places)}


def convolution(clip, weight, bias, residual, gamma, stride, upsample, time_stride, activation, interleave, raw=None):
    """clip [1, I, frames with halo, P, Q], weight [O, I, kt, ky, kx] -> y and, if it is asked for, raw [frames, P', Q',
    O]."""
    _, _, _, height, width = weight.shape
    same = (0, height // 2, width // 2) if stride == 1 else 0

    def run(clip):
        if upsample == 2:
            clip = functional.interpolate(clip, scale_factor=(1, 2, 2), mode="nearest")
        if stride == 2:
            clip = functional.pad(clip, (0, width - 2, 0, height - 2))
        y = functional.conv3d(clip, weight, bias, (time_stride, stride, stride), same)[0]
        y = y.unflatten(0, (interleave, -1)).permute(2, 0, 3, 4, 1).flatten(0, 1)
        y = made = y if residual is None else y + residual[: len(y)]
        if gamma is not None:
            y = functional.normalize(y, dim=-1) * (y.shape[-1] ** 0.5) * gamma
        y = {"relu": torch.relu, "silu": functional.silu, "none": lambda y: y}[activation](y)
        return {"y": y} if raw is None else {"y": y, "raw": made}

    return run


def frames_with_halo(x, weight, frames, time_stride, x_frame=None, past=None):
    """Earlier frames, and the new ones; the ring's counter is 0, so that the halo is at its end."""
    halo = weight.shape[1] - time_stride
    if halo <= 0:
        return x[:0], x[:frames]
    ring = x if past is None else past
    return (torch.zeros_like(ring[:1]).expand(halo, -1, -1, -1) if x_frame is None else ring[-halo:]), x[:frames]


def decoded_inputs(x, weight, sum_scale, *others):
    """x and weight as numbers; others: tensors of the compute dtype, or None."""
    if sum_scale is None:
        return x, weight
    dtype = next(tensor.dtype for tensor in others if tensor is not None)
    weight = decoded(weight, torch.float32) * sum_scale[:, None, None, None, None]
    return decoded(x, dtype), weight.to(dtype)


def channels_first(frames):
    return frames.permute(3, 0, 1, 2)[None]


def numbers_of(pixels, x_range, dtype):
    if x_range == "none":
        return pixels
    return pixels.to(dtype) / 127.5 - 1 if x_range == "signed" else pixels.to(dtype) / 255


def to_bytes(made, y_scale, y_range):
    """y as codes or pixels, if it is."""
    made["y"] = coded(made["y"], y_scale)
    if y_range != "none":
        numbers = made["y"].float()
        numbers = (numbers + 1) * 127.5 if y_range == "signed" else 255 * numbers
        made["y"] = numbers.clamp(0, 255).round().to(torch.uint8)
    return made


def eager(x, weight, frames, stride, upsample, time_stride, interleave, activation, bias=None, residual=None,
          gamma=None, raw=None, x_frame=None, past=None, sum_scale=None, y_scale=None, x_range="none", y_range="none",
          **_):  # fmt: skip
    x, weight = decoded_inputs(x, weight, sum_scale, gamma, bias)
    cache, new = (channels_first(part).contiguous()
                  for part in frames_with_halo(x, weight, frames, time_stride, x_frame, past))  # fmt: skip
    kernel = (published_kernel(weight) if upsample == 2 else weight).permute(0, 4, 1, 2, 3).contiguous()
    run = convolution(new, kernel, bias, residual, gamma, stride, upsample, time_stride, activation,
                      interleave, raw)  # fmt: skip
    cache = cache.to(weight.dtype)
    return lambda: to_bytes(run(torch.cat([cache, numbers_of(new, x_range, weight.dtype)], dim=2)), y_scale, y_range)


def ndhwc(x, weight, frames, stride, upsample, time_stride, interleave, activation, bias=None, residual=None,
          gamma=None, raw=None, x_frame=None, past=None, sum_scale=None, y_scale=None, x_range="none", y_range="none",
          **_):  # fmt: skip
    x, weight = decoded_inputs(x, weight, sum_scale, gamma, bias)
    cache, new = frames_with_halo(x, weight, frames, time_stride, x_frame, past)
    clip = channels_first(torch.cat([cache.to(weight.dtype), numbers_of(new, x_range, weight.dtype)]))
    kernel = (published_kernel(weight) if upsample == 2 else weight).permute(0, 4, 1, 2, 3)
    run = convolution(clip, kernel, bias, residual, gamma, stride, upsample, time_stride, activation,
                      interleave, raw)  # fmt: skip
    return lambda: to_bytes(run(clip), y_scale, y_range)


BENCHMARK = OpBenchmark("causal_conv3d", "coder", {"eager": eager, "ndhwc": ndhwc}, values=values,
                        has_cuda_form=True)  # fmt: skip
