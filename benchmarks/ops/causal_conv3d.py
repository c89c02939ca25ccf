"""causal_conv3d: against torch's convolution as published code calls it, and in NDHWC without any of its copies."""

from ..libraries import functional, torch
from ..op_benchmark import OpBenchmark


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


def frames_with_halo(x, weight, frames, time_stride, x_frame=None):
    """Earlier frames, and the new ones; the ring's counter is 0, so that the halo is at its end."""
    halo = weight.shape[1] - time_stride
    if halo <= 0:
        return x[:0], x[:frames]
    return (torch.zeros_like(x[:1]).expand(halo, -1, -1, -1) if x_frame is None else x[-halo:]), x[:frames]


def eager(x, weight, frames, stride, upsample, time_stride, interleave, activation, bias=None, residual=None,
          gamma=None, raw=None, x_frame=None, **_):  # fmt: skip
    cache, new = (part.permute(3, 0, 1, 2)[None].contiguous()
                  for part in frames_with_halo(x, weight, frames, time_stride, x_frame))  # fmt: skip
    kernel = weight.permute(0, 4, 1, 2, 3).contiguous()
    run = convolution(new, kernel, bias, residual, gamma, stride, upsample, time_stride, activation,
                      interleave, raw)  # fmt: skip
    return lambda: run(torch.cat([cache, new], dim=2))


def ndhwc(x, weight, frames, stride, upsample, time_stride, interleave, activation, bias=None, residual=None,
          gamma=None, raw=None, x_frame=None, **_):  # fmt: skip
    clip = torch.cat(frames_with_halo(x, weight, frames, time_stride, x_frame)).permute(3, 0, 1, 2)[None]
    kernel = weight.permute(0, 4, 1, 2, 3)
    run = convolution(clip, kernel, bias, residual, gamma, stride, upsample, time_stride, activation,
                      interleave, raw)  # fmt: skip
    return lambda: run(clip)


BENCHMARK = OpBenchmark("causal_conv3d", "coder", {"eager": eager, "ndhwc": ndhwc}, has_cuda_form=True)
