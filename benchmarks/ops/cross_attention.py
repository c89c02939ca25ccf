"""cross_attention over all rows of the text, against every attention library that there is."""

from ..attention import baselines
from ..op_benchmark import OpBenchmark


def parts(q, k_text, v_text, **_):
    _, heads, head_dim = k_text.shape
    return q.view(1, -1, heads, head_dim), k_text[None], v_text[None]


def values(call):
    return {"prompt_length": call.shapes["k_text"][0]}


BENCHMARK = OpBenchmark("cross_attention", "dit", baselines(parts), values=values)
