"""qk_norm_rope_cache: against torch's RMS norm, complex rotations as published, and copies to the cache."""

from penstock.runtime.rope import POSITIONS, rope_table

from ..libraries import functional, torch
from ..op_benchmark import OpBenchmark

POSITION, WRITE = 7, 3  # a chunk in the middle of a stream, in the first frame behind the sinks


def rotations(rope, frames, height, width, head_dim):
    """Complex [tokens, 1, D/2] of one chunk at POSITION."""
    table = torch.view_as_complex(rope.view(len(rope), -1, 2))
    spatial = head_dim // 6
    time, row, column = table.split([head_dim // 2 - 2 * spatial, spatial, spatial], dim=1)
    grid = (frames, height, width, -1)
    parts = (time[POSITION : POSITION + frames, None, None], row[None, :height, None], column[None, None, :width])
    return torch.cat([part.expand(grid) for part in parts], dim=-1).reshape(-1, 1, head_dim // 2)


def eager(qkv, norm_q, norm_k, rope, k_cache, v_cache, frames, height, width, eps, **_):
    slots, _, heads, head_dim = k_cache.shape
    rotation = rotations(rope, frames, height, width, head_dim)
    tokens = frames * height * width
    place = slice(WRITE * height * width, WRITE * height * width + tokens)

    def turned(x, weight):
        pairs = functional.rms_norm(x, weight.shape, weight, eps).float().reshape(slots, tokens, heads, -1, 2)
        return torch.view_as_real(torch.view_as_complex(pairs) * rotation).flatten(3).to(x.dtype)

    def run():
        q, k, v = qkv.chunk(3, dim=1)
        k_cache[:, place] = turned(k, norm_k)
        v_cache[:, place] = v.view(slots, tokens, heads, head_dim)
        return {"q": turned(q, norm_q).view(qkv.shape[0], -1), "k_cache": k_cache, "v_cache": v_cache}

    return run


def values(call):
    return {"rope": rope_table(call.shapes["rope"][1])[:POSITIONS], "frame_position": POSITION, "ring_write": WRITE}


BENCHMARK = OpBenchmark("qk_norm_rope_cache", "dit", {"eager": eager}, values=values)
