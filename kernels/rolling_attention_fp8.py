"""rolling_attention_fp8: rolling_attention with both products in 8-bit floats, over the codes of quantize_cache.

q, out [S N, H D]; k_codes u8 [S, K, H, 128 B, D], v_codes u8 [S, K, H, D, 128 B], k_mean f32 [S, K, H, D], k_scale,
v_scale f32 [S, K, H, B]; ring_length i32 [S], read on the device. The formula: csrc/ops/rolling_attention_fp8.

As in rolling_attention a program has an equal share of all blocks of keys (stream_k.py), and merge_attention adds up
what the deal cuts. What differs:

- Blocks begin with a frame's first key, so that a block has one scale of keys, one of values and one mean. For the deal
  a frame has whole blocks: 13 of 128 keys for 1560 tokens, of which 6 % are idle.
- A query is rounded with a scale of its own, once for each run of blocks. q . mean is computed from the query as it
  was, at the first block of each frame, and joins the scores in the multiply-add that scales them.
- Weights are rounded with the fixed scale 256, which is 8 in the exponent and costs nothing. The products of a block
  start from zero and are added in float32: Hopper's tensor cores keep about 14 bits of a sum of 8-bit products, which
  is enough for 128 of them and not for thousands.
- Values are read as they are stored, transposed: FP8 operands of wgmma have their keys contiguous.

4 N H D L FLOPs per slot at twice the rate of bf16, 2 N H D elements and 2 L H D bytes: with D = 128, L = 6 N about
1.5 N FLOPs for a byte. Bound by the tensor cores and the exponentials alike: at 16 a cycle and multiprocessor these
take as long as the products.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .float8 import as_codes
from .quantize_cache import QUANTIZED_BLOCK, e4m3_scale
from .rolling_attention import MERGE_ROWS, merge_attention_kernel, merge_variant
from .stream_k import first_unit, part_of, store_part, units_before
from .variant import Variant

TYPES = {"q": "*bf16", "k_codes": "*fp8e4nv", "v_codes": "*fp8e4nv", "k_mean": "*fp32", "k_scale": "*fp32",
         "v_scale": "*fp32", "ring_length": "*i32", "out": "*bf16", "partial": "*fp32", "partial_stats": "*fp32",
         "slots": "i32", "queries": "i32", "capacity": "i32", "frame_tokens": "i32", "heads": "i32"}  # fmt: skip


@triton.jit
def rolling_attention_fp8_kernel(q, k_codes, v_codes, k_mean, k_scale, v_scale, ring_length, out, partial,
                                 partial_stats, slots, queries, capacity, frame_tokens, heads, HEAD_DIM: tl.constexpr,
                                 BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Grid (P). slots S, queries N, capacity K: frames of the cache in a slot."""
    query_tiles = tl.cdiv(queries, BLOCK_M)
    tiles = heads * query_tiles
    scales = tl.cdiv(frame_tokens, BLOCK)  # of a frame of a head
    padded = scales * BLOCK
    per_frame = tl.cdiv(frame_tokens, BLOCK_N)
    dealt = per_frame * BLOCK_N
    units = units_before(ring_length, slots, tiles, dealt, capacity * dealt, BLOCK_N)
    unit = first_unit(tl.program_id(0), units, tl.num_programs(0))
    end = first_unit(tl.program_id(0) + 1, units, tl.num_programs(0))
    tile_row, column, key = tl.arange(0, BLOCK_M), tl.arange(0, HEAD_DIM), tl.arange(0, BLOCK_N)
    stride = heads * HEAD_DIM
    query_tile = tile_row[:, None] * stride + column[None, :]
    key_tile = key[:, None] * HEAD_DIM + column[None, :]
    value_tile = column[:, None] * padded + key[None, :]
    to_log2: tl.constexpr = 1.4426950408889634 / (HEAD_DIM**0.5)

    while unit < end:
        slot, _, blocks, tile, first, last = part_of(
            ring_length, unit, end, slots, tiles, dealt, capacity * dealt, BLOCK_N
        )
        head = tile // query_tiles

        first_row = tile % query_tiles * BLOCK_M
        first_query = (slot.to(tl.int64) * queries + first_row) * stride + head * HEAD_DIM
        inside = tile_row[:, None] < queries - first_row
        tile_q = tl.load(q + first_query + query_tile, mask=inside, other=0.0).to(tl.float32)
        q_scale = e4m3_scale(tl.max(tl.abs(tile_q), 1))
        q_codes = (tile_q / q_scale[:, None]).to(tl.float8e4nv)
        q_scale *= to_log2

        bias = tl.zeros([BLOCK_M], tl.float32)
        maximum = tl.full([BLOCK_M], float("-inf"), tl.float32)
        total = tl.zeros([BLOCK_M], tl.float32)
        weighted = tl.zeros([BLOCK_M, HEAD_DIM], tl.float32)
        for block in tl.range(first, last):
            frame, first_key = block // per_frame, block % per_frame * BLOCK_N
            in_head = (slot * capacity + frame) * heads + head
            scale_place = in_head * scales + first_key // BLOCK
            codes = in_head.to(tl.int64) * padded * HEAD_DIM
            k = tl.load(k_codes + codes + first_key * HEAD_DIM + key_tile)
            scores = tl.dot(q_codes, tl.trans(k))
            if (first_key == 0) | (block == first):
                given = tl.load(q + first_query + query_tile, mask=inside, other=0.0).to(tl.float32)
                mean = tl.load(k_mean + in_head * HEAD_DIM + column)
                bias = tl.sum(given * mean[None, :], 1) * to_log2
            if first_key + BLOCK_N > frame_tokens:
                scores = tl.where(key[None, :] < frame_tokens - first_key, scores, float("-inf"))
            scale = q_scale * tl.load(k_scale + scale_place)
            higher = tl.maximum(maximum, tl.max(scores, 1) * scale + bias)
            weights = tl.exp2(scores * scale[:, None] + (bias - higher + 8.0)[:, None])
            v = tl.load(v_codes + codes + first_key + value_tile)
            correction = tl.exp2(maximum - higher)
            total = total * correction + tl.sum(weights, 1)
            product = tl.dot(weights.to(tl.float8e4nv), tl.trans(v))
            weighted = weighted * correction[:, None] + product * tl.load(v_scale + scale_place)
            maximum = higher
        store_part(out + first_query, query_tile, inside, partial, partial_stats, first, last - first == blocks,
                   maximum, total, weighted, HEAD_DIM, BLOCK_M)  # fmt: skip
        unit += last - first


def rolling_attention_fp8(q, k_codes, v_codes, k_mean, k_scale, v_scale, ring_length, out, frame_tokens, block_m=128,
                          block_n=128, programs=None):  # fmt: skip
    """Writes ``out``; tensors of torch in the shapes above. programs: one for each multiprocessor if not given."""
    import torch  # not at the top: the ahead-of-time compiler imports this module without it

    slots, capacity, heads, head_dim = k_mean.shape
    queries, dealt = q.shape[0] // slots, triton.cdiv(frame_tokens, block_n) * block_n
    programs = programs or torch.cuda.get_device_properties(q.device).multi_processor_count
    partial = q.new_full((2 * programs, block_m, head_dim), float("nan"), dtype=torch.float32)
    partial_stats = partial.new_full((2 * programs, 2, block_m), float("nan"))
    constants = {"HEAD_DIM": head_dim, "BLOCK_M": block_m, "BLOCK_N": block_n}
    rolling_attention_fp8_kernel[(programs,)](
        q, as_codes(k_codes), as_codes(v_codes), k_mean, k_scale, v_scale, ring_length,
        out, partial, partial_stats, slots, queries, capacity, frame_tokens, heads, **constants, BLOCK=QUANTIZED_BLOCK,
        num_warps=8, num_stages=2,
    )  # fmt: skip
    rows = min(MERGE_ROWS, block_m)
    merge_attention_kernel[(block_m // rows * triton.cdiv(queries, block_m), heads, slots)](
        partial, partial_stats, ring_length, out, slots, queries, capacity * dealt, dealt, heads, programs,
        **constants, ROWS=rows,
    )  # fmt: skip


def _variant(block_n: int, **options) -> Variant:
    constants = {"HEAD_DIM": 128, "BLOCK_M": 128, "BLOCK_N": block_n, "BLOCK": QUANTIZED_BLOCK}
    divisible = ("q", "k_codes", "v_codes", "k_mean", "out", "partial", "partial_stats")
    return Variant(rolling_attention_fp8_kernel, TYPES, constants, divisible, warps=8, **options)


# Tiles and stages with which registers do not spill. Partial results are merged as those of rolling_attention, by its
# kernel where the tiles are the same.
VARIANTS = (
    _variant(128, stages=2, needs=("QGMMA",), architectures=("90a",)),
    _variant(64, stages=3, architectures=("89", "120a")),
    _variant(32, stages=2, architectures=("100a",)),
    merge_variant(32, architectures=("100a",)),
)
