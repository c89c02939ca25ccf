"""patchify: against torch's permutation."""

from ..op_benchmark import OpBenchmark


def eager(x, tokens, **_):
    patches = x.unflatten(4, (-1, 2)).unflatten(3, (-1, 2)).permute(0, 1, 3, 5, 2, 4, 6)
    return lambda: patches.to(tokens.dtype).reshape(tokens.shape)


BENCHMARK = OpBenchmark("patchify", "dit", {"eager": eager})
