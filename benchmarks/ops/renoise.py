"""renoise with noise that it draws, against torch's; the two draw other numbers."""

from ..libraries import torch
from ..op_benchmark import OpBenchmark


def eager(x, flow, sigma, next_sigma=None, **_):
    sigma = sigma.view(-1, 1, 1, 1, 1)

    def run():
        x0 = x - sigma * flow
        if next_sigma is None:
            return x0
        level = next_sigma.view(-1, 1, 1, 1, 1)
        moved = (1 - level) * x0[: len(level)] + level * torch.randn_like(x0[: len(level)])
        return torch.cat([x[: len(x) - len(level)], moved]), x0

    return run


BENCHMARK = OpBenchmark(
    "renoise", "dit", {"eager": eager}, values=lambda call: {"sigma": 0.7, "next_sigma": 0.5}, tolerance=None
)
