"""gemm: against torch's linear layer, and cuBLASLt with its epilogues for bias and GELU."""

from ..libraries import functional, torch
from ..op_benchmark import OpBenchmark


def eager(x, weight, activation, bias=None, **_):
    if activation == "none":
        return lambda: functional.linear(x, weight, bias)
    return lambda: functional.gelu(functional.linear(x, weight, bias), approximate="tanh")


def cublaslt(x, weight, activation, bias=None, **_):
    columns = weight.T

    def run():
        before = torch.backends.cuda.preferred_blas_library()
        torch.backends.cuda.preferred_blas_library("cublaslt")
        try:
            if bias is None:
                return x @ columns
            if activation == "none":
                return torch.addmm(bias, x, columns)
            return torch._addmm_activation(bias, x, columns, use_gelu=True)
        finally:
            torch.backends.cuda.preferred_blas_library(before)

    return run


BENCHMARK = OpBenchmark("gemm", "dit", {"eager": eager, "cublaslt": cublaslt})
