"""motion_noise: against the published controller in torch, without its copy to the host."""

from penstock.runtime.schedule import sigma_table

from ..libraries import torch
from ..op_benchmark import OpBenchmark


def eager(frames, previous, initial_scale, **_):
    def run():
        x = (torch.cat([previous, frames]).float() / 127.5 - 1).bfloat16()
        moved = ((x[1:] - x[:-1]) ** 2).float().mean(dim=(1, 2, 3)).sqrt().max()
        return 0.9 * (initial_scale - 0.1 * (moved / 0.2).clamp(0, 1)) + 0.1 * initial_scale

    return run


def values(call):
    sigmas, timesteps = sigma_table()
    return {"initial_scale": 0.8, "first_timestep": 700.0, "table_sigmas": sigmas, "table_timesteps": timesteps}


BENCHMARK = OpBenchmark("motion_noise", "coder", {"eager": eager}, values=values, tolerance=(1e-2, 1e-2))
