"""rolling_attention_fp8 over a full cache, against attention libraries over the decoded cache in the compute dtype."""

import numpy as np

from ..attention import baselines
from ..libraries import torch
from ..op_benchmark import NO_ADAPTIVE_SINKS, OpBenchmark


def parts(q, k_codes, v_codes, k_mean, frame_tokens, **_):
    slots, _, heads, head_dim = k_mean.shape

    def decoded(codes):  # [S, K, H, 128 B, D], scales being 1
        values = codes.contiguous().view(torch.float8_e4m3fn).to(q.dtype)[:, :, :, :frame_tokens]
        return values.transpose(2, 3)

    keys = decoded(k_codes) + k_mean.to(q.dtype)[:, :, None]
    values = decoded(v_codes.transpose(3, 4))
    return q.view(slots, -1, heads, head_dim), *(part.flatten(1, 2) for part in (keys, values))


def values(call):
    """Codes of numbers from 0.5 to 3.75, of either sign."""
    bits = np.random.default_rng(1)
    codes = {role: bits.integers(0x30, 0x48, call.shapes[role][3:], np.uint8) for role in ("k_codes", "v_codes")}
    signed = {role: values | bits.integers(0, 2, values.shape, np.uint8) << 7 for role, values in codes.items()}
    return {**signed, "k_scale": 1.0, "v_scale": 1.0, "ring_length": call.shapes["k_codes"][1]}


BENCHMARK = OpBenchmark("rolling_attention_fp8", "dit", baselines(parts),
                        {**NO_ADAPTIVE_SINKS, "precision": "fp8_attention"}, values, (0.15, 0.15))  # fmt: skip
