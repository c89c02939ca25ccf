"""rolling_attention_fp8 over a full cache, against attention libraries over the decoded cache in the compute dtype."""

import numpy as np

from ..attention import baselines
from ..coded_frames import decoded, random_codes
from ..op_benchmark import NO_ADAPTIVE_SINKS, OpBenchmark


def parts(q, k_codes, v_codes, k_mean, frame_tokens, **_):
    slots, _, heads, head_dim = k_mean.shape

    def frames(codes):  # [S, K, H, 128 B, D], scales being 1
        return decoded(codes.contiguous(), q.dtype)[:, :, :, :frame_tokens].transpose(2, 3)

    keys = frames(k_codes) + k_mean.to(q.dtype)[:, :, None]
    values = frames(v_codes.transpose(3, 4))
    return q.view(slots, -1, heads, head_dim), *(part.flatten(1, 2) for part in (keys, values))


def values(call):
    rng = np.random.default_rng(1)
    codes = {role: random_codes(rng, call.shapes[role][3:]) for role in ("k_codes", "v_codes")}
    return {**codes, "k_scale": 1.0, "v_scale": 1.0, "ring_length": call.shapes["k_codes"][1]}


BENCHMARK = OpBenchmark("rolling_attention_fp8", "dit", baselines(parts),
                        {**NO_ADAPTIVE_SINKS, "precision": "fp8_attention"}, values, (0.15, 0.15))  # fmt: skip
