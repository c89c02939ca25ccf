"""ring_advance: a few integers, which no library moves; published code does it on the host."""

from ..op_benchmark import OpBenchmark

BENCHMARK = OpBenchmark("ring_advance", "dit", {}, values=lambda call: {"chunk": 20})
