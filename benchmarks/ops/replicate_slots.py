"""replicate_slots: against torch's broadcasting copy."""

from ..op_benchmark import OpBenchmark


def eager(x, **_):
    def run():
        x[1:] = x[:1]
        return {"x": x}

    return run


BENCHMARK = OpBenchmark("replicate_slots", "dit", {"eager": eager})
