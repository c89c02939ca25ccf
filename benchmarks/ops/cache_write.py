"""cache_write: against torch's copies."""

from ..op_benchmark import OpBenchmark

WRITE = 3


def eager(k, v, k_cache, v_cache, frame_tokens, **_):
    place = slice(WRITE * frame_tokens, WRITE * frame_tokens + k.shape[1])

    def run():
        k_cache[:, place] = k
        v_cache[:, place] = v
        return {"k_cache": k_cache, "v_cache": v_cache}

    return run


BENCHMARK = OpBenchmark(
    "cache_write", "dit", {"eager": eager}, {"sink_threshold": 0.2}, values=lambda call: {"ring_write": WRITE}
)
