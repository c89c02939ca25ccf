"""noise_mix with noise that it draws, against torch's; the two draw other numbers."""

from ..libraries import torch
from ..op_benchmark import OpBenchmark


def eager(latents, noise_scale, **_):
    return lambda: (noise_scale * torch.randn_like(latents) + (1 - noise_scale) * latents)[None]


BENCHMARK = OpBenchmark("noise_mix", "dit", {"eager": eager}, values=lambda call: {"noise_scale": 0.7}, tolerance=None)
