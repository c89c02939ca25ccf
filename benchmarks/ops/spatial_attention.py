"""spatial_attention: one head of 384 channels, which few libraries take."""

from ..attention import baselines
from ..op_benchmark import OpBenchmark


def parts(qkv, frames, **_):
    return tuple(part[:, :, None] for part in qkv.view(frames, -1, qkv.shape[1]).chunk(3, dim=-1))


BENCHMARK = OpBenchmark("spatial_attention", "coder", baselines(parts, ("eager", "sdpa")))
