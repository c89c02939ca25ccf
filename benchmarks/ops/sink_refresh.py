"""sink_refresh of full caches, against torch's means and cosines alone."""

from ..libraries import functional, torch
from ..op_benchmark import OpBenchmark


def similarities(k, v, k_cache, v_cache, sinks, **_):
    tokens = k.shape[1]

    def cosines(new, cache):
        mean = new.flatten(2).mean(dim=1, keepdim=True)
        means = cache[:, : sinks * tokens].flatten(2).unflatten(1, (sinks, tokens)).mean(dim=2)
        return functional.cosine_similarity(mean, means, dim=2)

    return lambda: torch.argmin(cosines(k, k_cache) + cosines(v, v_cache), dim=1)


BENCHMARK = OpBenchmark(
    "sink_refresh", "dit", {"eager": similarities}, settings={"sink_threshold": 0.2},
    values=lambda call: {"row_chunk": 20, "frame_position": 21}, tolerance=None,
)  # fmt: skip
