"""time_embed: against torch's linear layers and additions."""

from ..libraries import functional, torch
from ..op_benchmark import OpBenchmark


def eager(timestep, fc1_weight, fc1_bias, fc2_weight, fc2_bias, proj_weight, proj_bias, block_tables, head_table, **_):
    half = fc1_weight.shape[1] // 2
    frequencies = 10000.0 ** (-torch.arange(half, dtype=torch.float64, device=timestep.device) / half)

    def run():
        angles = timestep.double()[:, None] * frequencies
        sinusoid = torch.cat([angles.cos(), angles.sin()], dim=1).to(fc1_weight.dtype)
        e = functional.linear(sinusoid, fc1_weight, fc1_bias)
        e = functional.linear(functional.silu(e), fc2_weight, fc2_bias)
        blocks = functional.linear(functional.silu(e), proj_weight, proj_bias).view(len(timestep), 6, -1)
        return {"block_modulation": block_tables[:, :, None] + blocks.transpose(0, 1),
                "head_modulation": head_table[:, None] + e}  # fmt: skip

    return run


BENCHMARK = OpBenchmark("time_embed", "dit", {"eager": eager}, values=lambda call: {"timestep": 700.0})
