"""qk_norm_rope_cache: q = rope(rms(q) norm_q), and into the cache k = rope(rms(k) norm_k) and v.

qkv [S F h w, 3 H D], q, k and v side by side; norm_q, norm_k [H D]; rope f32 [P, D], cos and sin of every pair;
frame_position, ring_write i32 [S], read on the device; q [S F h w, H D]; k_cache, v_cache [S, K T, H, D], T = h w.

One kernel from the projection to the cache: RMS norm over the full width, rotation, and the write of k and v to the
places of the ring where attention reads them. Every element is read once and written once: 6 S F h w H D elements,
14 FLOPs for each token and component: memory-bound. A program does q, k or v of one token, as a tile [heads, D]: a
thread then holds the same columns of every head, and with them the same few angles. A staging tensor is a cache of
F frames with ring_write 0.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .variant import Variant

TYPES = {"qkv": "*bf16", "norm_q": "*bf16", "norm_k": "*bf16", "rope": "*fp32", "frame_position": "*i32",
         "ring_write": "*i32", "q": "*bf16", "k_cache": "*bf16", "v_cache": "*bf16", "frames": "i32", "height": "i32",
         "width": "i32", "capacity": "i32", "positions": "i32", "heads": "i32", "eps": "fp32"}  # fmt: skip


@triton.jit
def qk_norm_rope_cache_kernel(qkv, norm_q, norm_k, rope, frame_position, ring_write, q, k_cache, v_cache, frames,
                              height, width, capacity, positions, heads, eps, HEAD_DIM: tl.constexpr,
                              BLOCK_HEADS: tl.constexpr):  # fmt: skip
    """Grid (S F h w, 3): a token, and q, k or v. capacity K, positions P."""
    token, part = tl.program_id(0), tl.program_id(1)
    frame_tokens = height * width
    slot = token // (frames * frame_tokens)
    in_chunk = token % (frames * frame_tokens)
    frame, place = in_chunk // frame_tokens, in_chunk % frame_tokens
    head, column = tl.arange(0, BLOCK_HEADS), tl.arange(0, HEAD_DIM)
    tile = head[:, None] * HEAD_DIM + column[None, :]
    inside = head[:, None] < heads
    d = heads * HEAD_DIM
    source = qkv + (token.to(tl.int64) * 3 + part) * d
    # A state that the cache or the table does not have must not become an access beyond them.
    write = tl.minimum(tl.maximum(tl.load(ring_write + slot), 0), capacity - frames)
    position = tl.minimum(tl.maximum(tl.load(frame_position + slot), 0), positions - frames) + frame
    in_cache = ((slot * capacity + write).to(tl.int64) * frame_tokens + in_chunk) * d
    if part == 0:
        turned = norm_and_rotate(source, norm_q, rope, tile, inside, position, place // width, place % width, d, eps,
                                 HEAD_DIM, BLOCK_HEADS)  # fmt: skip
        tl.store(q + token.to(tl.int64) * d + tile, turned, mask=inside)
    elif part == 1:
        turned = norm_and_rotate(source, norm_k, rope, tile, inside, position, place // width, place % width, d, eps,
                                 HEAD_DIM, BLOCK_HEADS)  # fmt: skip
        tl.store(k_cache + in_cache + tile, turned, mask=inside)
    else:
        tl.store(v_cache + in_cache + tile, tl.load(source + tile, mask=inside), mask=inside)


@triton.jit
def norm_and_rotate(source, weight, rope, tile, inside, frame, row, column, d, eps, HEAD_DIM: tl.constexpr,
                    BLOCK_HEADS: tl.constexpr):  # fmt: skip
    """A token's normalised row [BLOCK_HEADS, HEAD_DIM], turned by the angles of its place (frame, row, column)."""
    x = tl.load(source + tile, mask=inside, other=0.0).to(tl.float32)
    factor = tl.load(weight + tile, mask=inside, other=0.0).to(tl.float32)
    x = x * tl.rsqrt(tl.sum(tl.sum(x * x, 1), 0) / d + eps) * factor
    # Pairs are adjacent components: temporal ones first, then HEAD_DIM / 6 for the row and as many for the column.
    spatial: tl.constexpr = HEAD_DIM // 6 * 2
    component = tl.arange(0, HEAD_DIM)
    axis_position = tl.where(component < HEAD_DIM - spatial, row, column)
    axis_position = tl.where(component < HEAD_DIM - 2 * spatial, frame, axis_position)
    angles = tl.load(rope + axis_position * HEAD_DIM + component)
    cosine, sine = tl.split(tl.reshape(angles, [1, HEAD_DIM // 2, 2]))
    real, imaginary = tl.split(tl.reshape(x, [BLOCK_HEADS, HEAD_DIM // 2, 2]))
    turned = tl.join(real * cosine - imaginary * sine, real * sine + imaginary * cosine)
    return tl.reshape(turned, [BLOCK_HEADS, HEAD_DIM])


# Warps by BLOCK_HEADS, for 2 (tiny), 12 (1.3B) and 40 heads (14B).
HEADS_WARPS = {2: 1, 16: 4, 64: 8}


def qk_norm_rope_cache(qkv, norm_q, norm_k, rope, frame_position, ring_write, q, k_cache, v_cache, frames, height,
                       width, frame_tokens, eps):  # fmt: skip
    """Writes ``q`` and the chunk's place in the caches; tensors of torch in the shapes above."""
    heads, head_dim = k_cache.shape[2:]
    block = triton.next_power_of_2(heads)
    qk_norm_rope_cache_kernel[(len(q), 3)](
        qkv, norm_q, norm_k, rope, frame_position, ring_write, q, k_cache, v_cache, frames, height, width,
        k_cache.shape[1] // frame_tokens, len(rope), heads, eps, HEAD_DIM=head_dim, BLOCK_HEADS=block,
        num_warps=HEADS_WARPS.get(block, 4),
    )  # fmt: skip


VARIANTS = tuple(
    Variant(
        qk_norm_rope_cache_kernel,
        TYPES,
        {"HEAD_DIM": 128, "BLOCK_HEADS": block},
        ("qkv", "norm_q", "norm_k", "rope", "q", "k_cache", "v_cache"),
        warps,
    )
    for block, warps in HEADS_WARPS.items()
)
