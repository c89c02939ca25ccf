"""rolling_attention: out[s] = softmax(q[s] k_cache[s, :L]^T / sqrt(D)) v_cache[s, :L], L = ring_length[s] T.

q, out [S N, H D]; k_cache, v_cache [S, K T, H, D]; ring_length i32 [S], read on the device: one launch serves all
slots, each with its own length. Softmax does not care for the order of keys, so a ring needs no unrolling: the valid
tokens are the first L (their positions are in the keys since qk_norm_rope_cache). What lies beyond is never read.

A program does BLOCK_M queries of one head of one slot against all its keys. 4 N H D L FLOPs per slot; from memory
2 N H D + 2 L H D elements, as the keys of a head stay in L2 for all its tiles of queries: at D = 128, L = 6 N about
0.9 N FLOPs for a byte. Bound by the tensor cores.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .flash import attend
from .variant import Variant

TYPES = {"q": "*bf16", "k_cache": "*bf16", "v_cache": "*bf16", "ring_length": "*i32", "out": "*bf16",
         "queries": "i32", "capacity": "i32", "frame_tokens": "i32", "heads": "i32"}  # fmt: skip


@triton.jit
def rolling_attention_kernel(q, k_cache, v_cache, ring_length, out, queries, capacity, frame_tokens, heads,
                             HEAD_DIM: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):  # fmt: skip
    """Grid (ceil(N / BLOCK_M), H, S). queries N, capacity K T: rows of q and of the cache in a slot."""
    head, slot = tl.program_id(1), tl.program_id(2)
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tl.arange(0, HEAD_DIM)
    stride = heads * HEAD_DIM
    first_query = slot.to(tl.int64) * queries * stride + head * HEAD_DIM
    place = row[:, None] * stride + column[None, :]
    inside = row[:, None] < queries
    tile_q = tl.load(q + first_query + place, mask=inside, other=0.0)

    first_key = slot.to(tl.int64) * capacity * stride + head * HEAD_DIM
    tile = tl.arange(0, BLOCK_N)[:, None] * stride + column[None, :]
    keys, values = k_cache + first_key + tile, v_cache + first_key + tile
    # A length that the cache does not have must not become a read beyond it.
    length = tl.minimum(tl.load(ring_length + slot) * frame_tokens, capacity)

    maximum = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    weighted = tl.zeros([BLOCK_M, HEAD_DIM], tl.float32)
    for start in tl.range(0, length, BLOCK_N):
        maximum, total, weighted = attend(
            tile_q, keys, values, length - start, 0.0, maximum, total, weighted, HEAD_DIM, BLOCK_N
        )
        keys += BLOCK_N * stride
        values += BLOCK_N * stride
    tl.store(out + first_query + place, weighted / total[:, None], mask=inside)


def rolling_attention(q, k_cache, v_cache, ring_length, out, frame_tokens, block_m=128, block_n=128):
    """Writes ``out``; tensors of torch in the shapes above."""
    slots, capacity, heads, head_dim = k_cache.shape
    queries = q.shape[0] // slots
    rolling_attention_kernel[(triton.cdiv(queries, block_m), heads, slots)](
        q, k_cache, v_cache, ring_length, out, queries, capacity, frame_tokens, heads,
        HEAD_DIM=head_dim, BLOCK_M=block_m, BLOCK_N=block_n, num_warps=8, num_stages=2,
    )  # fmt: skip


def _variant(block_n: int, **options) -> Variant:
    constants = {"HEAD_DIM": 128, "BLOCK_M": 128, "BLOCK_N": block_n}
    pointers = ("q", "k_cache", "v_cache", "out")
    return Variant(rolling_attention_kernel, TYPES, constants, pointers, warps=8, stages=2, **options)


# Two stages of 128 keys and values take 160 KiB of shared memory; sm_89 and sm_120 have 99.
VARIANTS = (
    _variant(128, needs=("HGMMA",), architectures=("80", "90a", "100a")),
    _variant(64, architectures=("89", "120a")),
)
