"""frames_to_tensor: against torch's conversion."""

from ..op_benchmark import OpBenchmark


def eager(frames, y, **attributes):
    if attributes["range"] == "unit":
        return lambda: frames.to(y.dtype) / 255
    return lambda: frames.to(y.dtype) / 127.5 - 1


BENCHMARK = OpBenchmark("frames_to_tensor", "coder", {"eager": eager})
