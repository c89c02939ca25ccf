"""quantize_cache of a chunk's frames, against the same in torch, whose codes may differ at ties."""

from ..libraries import functional, torch
from ..op_benchmark import NO_ADAPTIVE_SINKS, OpBenchmark

WRITE = 3


def eager(k_cache, v_cache, k_codes, v_codes, k_mean, k_scale, v_scale, frames, frame_tokens, **_):
    slots, _, heads, head_dim = k_mean.shape
    frame, rows = slice(WRITE, WRITE + frames), slice(WRITE * frame_tokens, (WRITE + frames) * frame_tokens)

    def encode(part):
        blocks = functional.pad(part, (0, 0, 0, -frame_tokens % 128)).unflatten(3, (-1, 128))
        scale = torch.exp2(torch.ceil(torch.log2(blocks.abs().amax((4, 5)) / 448)))
        codes = (blocks / scale[..., None, None]).to(torch.float8_e4m3fn).view(torch.uint8)
        return codes.flatten(3, 4), scale

    def run():
        keys, values = (cache[:, rows].view(slots, frames, frame_tokens, heads, head_dim).transpose(2, 3).float()
                        for cache in (k_cache, v_cache))  # fmt: skip
        k_mean[:, frame] = keys.mean(3)
        k_codes[:, frame], k_scale[:, frame] = encode(keys - k_mean[:, frame, :, None])
        codes, v_scale[:, frame] = encode(values)
        v_codes[:, frame] = codes.transpose(3, 4)
        return {"k_codes": k_codes, "v_codes": v_codes, "k_mean": k_mean, "k_scale": k_scale, "v_scale": v_scale}

    return run


BENCHMARK = OpBenchmark(
    "quantize_cache",
    "dit",
    {"eager": eager},
    {**NO_ADAPTIVE_SINKS, "precision": "fp8_attention"},
    values=lambda call: {"ring_write": WRITE, "ring_length": call.shapes["k_mean"][1]},
    tolerance=None,
)
