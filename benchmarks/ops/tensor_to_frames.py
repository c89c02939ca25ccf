"""tensor_to_frames: against torch's clamp, rounding and conversion."""

from ..libraries import torch
from ..op_benchmark import OpBenchmark


def eager(x, frames, skip=0, **attributes):
    x = x[skip : skip + len(frames)]
    if attributes["range"] == "unit":
        return lambda: (x.float() * 255).clamp(0, 255).round().to(torch.uint8)
    return lambda: ((x.float() + 1) * 127.5).clamp(0, 255).round().to(torch.uint8)


BENCHMARK = OpBenchmark("tensor_to_frames", "coder", {"eager": eager})
