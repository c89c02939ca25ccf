"""gate_residual_layernorm: against torch's addition, LayerNorm and modulation."""

from ..libraries import functional
from ..op_benchmark import OpBenchmark


def eager(x, update, scale, shift, eps, norm, gate=None, **_):
    d = x.shape[1]

    def rows(values):
        return values.view(len(values), -1, d)

    def run():
        gated = update if gate is None else (rows(gate) * update.view(len(gate), -1, d)).view(x.shape)
        added = x + gated
        if norm == "affine":
            return {"x": added, "y": functional.layer_norm(added, (d,), scale[0], shift[0], eps)}
        normed = functional.layer_norm(added, (d,), eps=eps).view(len(scale), -1, d)
        return {"x": added, "y": (normed * (1 + rows(scale)) + rows(shift)).view(x.shape)}

    return run


BENCHMARK = OpBenchmark("gate_residual_layernorm", "dit", {"eager": eager})
