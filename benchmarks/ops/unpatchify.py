"""unpatchify: against torch's permutation."""

from ..op_benchmark import OpBenchmark


def eager(tokens, x, **_):
    slots, frames, channels, height, width = x.shape
    patches = tokens.view(slots, frames, height // 2, width // 2, 2, 2, channels).permute(0, 1, 6, 2, 4, 3, 5)
    return lambda: patches.to(x.dtype).reshape(x.shape)


BENCHMARK = OpBenchmark("unpatchify", "dit", {"eager": eager})
