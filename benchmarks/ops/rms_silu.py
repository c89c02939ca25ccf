"""rms_silu: against torch's, as in the published model."""

from ..libraries import functional
from ..op_benchmark import OpBenchmark


def eager(x, gamma, frames, activation, **_):
    x, factor = x[:frames], gamma * x.shape[-1] ** 0.5
    if activation == "none":
        return lambda: functional.normalize(x, dim=-1) * factor
    return lambda: functional.silu(functional.normalize(x, dim=-1) * factor)


BENCHMARK = OpBenchmark("rms_silu", "coder", {"eager": eager})
