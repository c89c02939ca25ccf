"""advance_frames: against torch's addition to one integer."""

from ..op_benchmark import OpBenchmark


def eager(frame, count, **_):
    return lambda: {"frame": frame.add_(count)}


BENCHMARK = OpBenchmark("advance_frames", "coder", {"eager": eager}, tolerance=None)
