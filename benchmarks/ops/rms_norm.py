"""rms_norm: against torch's and flashinfer's."""

from ..libraries import find, functional
from ..op_benchmark import OpBenchmark


def eager(x, weight, eps, **_):
    return lambda: functional.rms_norm(x, weight.shape, weight, eps)


def flashinfer(x, weight, eps, **_):
    return lambda: find("flashinfer").norm.rmsnorm(x, weight, eps)


BENCHMARK = OpBenchmark("rms_norm", "dit", {"eager": eager, "flashinfer": flashinfer})
