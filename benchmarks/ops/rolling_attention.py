"""rolling_attention over a full cache, against every attention library that there is."""

from ..attention import baselines
from ..op_benchmark import OpBenchmark


def parts(q, k_cache, v_cache, **_):
    slots, _, heads, head_dim = k_cache.shape
    return q.view(slots, -1, heads, head_dim), k_cache, v_cache


def values(call):
    return {"ring_length": call.shapes["k_cache"][1] // call.number("frame_tokens")}


BENCHMARK = OpBenchmark("rolling_attention", "dit", baselines(parts), values=values, has_cuda_form=True)
