"""rms_silu: against torch's, as in the published model."""

from ..coded_frames import coded, coded_values
from ..libraries import functional
from ..op_benchmark import OpBenchmark


def eager(x, gamma, frames, activation, y_scale=None, **_):
    x, factor = x[:frames], gamma * x.shape[-1] ** 0.5
    if activation == "none":
        return lambda: coded(functional.normalize(x, dim=-1) * factor, y_scale)
    return lambda: coded(functional.silu(functional.normalize(x, dim=-1) * factor), y_scale)


BENCHMARK = OpBenchmark("rms_silu", "coder", {"eager": eager}, values=coded_values)
