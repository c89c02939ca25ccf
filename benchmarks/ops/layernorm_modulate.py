"""layernorm_modulate: against torch's LayerNorm, then shift and scale."""

from ..libraries import functional
from ..op_benchmark import OpBenchmark


def eager(x, shift, scale, eps, **_):
    slots, d = scale.shape
    shift, scale = shift[:, None], scale[:, None]

    def run():
        normed = functional.layer_norm(x, (d,), eps=eps).view(slots, -1, d)
        return (normed * (1 + scale) + shift).view(x.shape)

    return run


BENCHMARK = OpBenchmark("layernorm_modulate", "dit", {"eager": eager})
