"""rolling_attention: out[s] = softmax(q[s] k_cache[s, :L]^T / sqrt(D)) v_cache[s, :L], L = ring_length[s] T.

q, out [S N, H D]; k_cache, v_cache [S, K T, H, D]; ring_length i32 [S], read on the device: one launch serves all
slots, each with its own length. Softmax does not care for the order of keys, so a ring needs no unrolling: the valid
tokens are the first L (their positions are in the keys since qk_norm_rope_cache). What lies beyond is never read.

A program holds BLOCK_M queries of one head of one slot against a run of its keys. One program for each multiprocessor,
and all get equally many blocks of keys (stream_k.py): 12 heads of 1560 queries are 156 tiles, which one by one would
keep 132 multiprocessors busy for 59 % of the time. Tiles that the deal cuts leave partial results:

    partial f32 [2 P, BLOCK_M, D], partial_stats f32 [2 P, 2, BLOCK_M]

the weighted sum of the values, not yet divided, and per query the maximum of its scores in units of log2 and the total
of its weights. merge_attention adds them up; whole tiles are not touched again.

4 N H D L FLOPs per slot; from memory 2 N H D + 2 L H D elements, as the keys of a head stay in L2 for all its tiles of
queries: at D = 128, L = 6 N about 0.9 N FLOPs for a byte. Bound by the tensor cores. Partial results: at most
2 P BLOCK_M D floats written and read, 17 MB each at P = 132, mostly within L2.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .flash import attend
from .nvcc import CudaVariant
from .stream_k import first_unit, part_of, program_of, slot_keys, store_part, units_before
from .variant import Variant

TYPES = {"q": "*bf16", "k_cache": "*bf16", "v_cache": "*bf16", "ring_length": "*i32", "out": "*bf16",
         "partial": "*fp32", "partial_stats": "*fp32", "slots": "i32", "queries": "i32", "capacity": "i32",
         "frame_tokens": "i32", "heads": "i32"}  # fmt: skip
MERGE_TYPES = {"partial": "*fp32", "partial_stats": "*fp32", "ring_length": "*i32", "out": "*bf16", "slots": "i32",
               "queries": "i32", "capacity": "i32", "frame_tokens": "i32", "heads": "i32",
               "programs": "i32"}  # fmt: skip
MERGE_ROWS = 32


@triton.jit
def rolling_attention_kernel(q, k_cache, v_cache, ring_length, out, partial, partial_stats, slots, queries, capacity,
                             frame_tokens, heads, HEAD_DIM: tl.constexpr, BLOCK_M: tl.constexpr,
                             BLOCK_N: tl.constexpr):  # fmt: skip
    """Grid (P). slots S, queries N, capacity K T: rows of q and of the cache in a slot."""
    query_tiles = tl.cdiv(queries, BLOCK_M)
    tiles = heads * query_tiles
    units = units_before(ring_length, slots, tiles, frame_tokens, capacity, BLOCK_N)
    unit = first_unit(tl.program_id(0), units, tl.num_programs(0))
    end = first_unit(tl.program_id(0) + 1, units, tl.num_programs(0))
    tile_row, column = tl.arange(0, BLOCK_M), tl.arange(0, HEAD_DIM)
    stride = heads * HEAD_DIM
    query_tile = tile_row[:, None] * stride + column[None, :]

    while unit < end:
        slot, length, blocks, tile, first, last = part_of(
            ring_length, unit, end, slots, tiles, frame_tokens, capacity, BLOCK_N
        )
        head = tile // query_tiles

        first_row = tile % query_tiles * BLOCK_M
        first_query = (slot.to(tl.int64) * queries + first_row) * stride + head * HEAD_DIM
        inside = tile_row[:, None] < queries - first_row
        tile_q = tl.load(q + first_query + query_tile, mask=inside, other=0.0)
        first_key = (slot.to(tl.int64) * capacity + first * BLOCK_N) * stride + head * HEAD_DIM
        keys, values = k_cache + first_key, v_cache + first_key

        maximum = tl.full([BLOCK_M], float("-inf"), tl.float32)
        total = tl.zeros([BLOCK_M], tl.float32)
        weighted = tl.zeros([BLOCK_M, HEAD_DIM], tl.float32)
        for start in tl.range(first * BLOCK_N, tl.minimum(last * BLOCK_N, length), BLOCK_N):
            maximum, total, weighted = attend(
                tile_q, keys, values, stride, length - start, 0.0, maximum, total, weighted, HEAD_DIM, BLOCK_N
            )
            keys += BLOCK_N * stride
            values += BLOCK_N * stride
        store_part(out + first_query, query_tile, inside, partial, partial_stats, first, last - first == blocks,
                   maximum, total, weighted, HEAD_DIM, BLOCK_M)  # fmt: skip
        unit += last - first


@triton.jit
def merge_attention_kernel(partial, partial_stats, ring_length, out, slots, queries, capacity, frame_tokens, heads,
                           programs, HEAD_DIM: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
                           ROWS: tl.constexpr):  # fmt: skip
    """Grid (BLOCK_M / ROWS ceil(N / BLOCK_M), H, S). programs P; the rest as above."""
    query_tiles = tl.cdiv(queries, BLOCK_M)
    tiles = heads * query_tiles
    query_tile, first_row = tl.program_id(0) // (BLOCK_M // ROWS), tl.program_id(0) % (BLOCK_M // ROWS) * ROWS
    head, slot = tl.program_id(1), tl.program_id(2)
    units = units_before(ring_length, slots, tiles, frame_tokens, capacity, BLOCK_N)
    blocks = tl.cdiv(slot_keys(ring_length, slot, frame_tokens, capacity), BLOCK_N)
    begin = units_before(ring_length, slot, tiles, frame_tokens, capacity, BLOCK_N)
    begin += (head * query_tiles + query_tile) * blocks
    program = program_of(begin, units, programs)
    unit = first_unit(program + 1, units, programs)
    if unit < begin + blocks:
        tile_row, column = first_row + tl.arange(0, ROWS), tl.arange(0, HEAD_DIM)
        tile = tile_row[:, None] * HEAD_DIM + column[None, :]
        part = 2 * program + 1
        maximum = tl.load(partial_stats + part * 2 * BLOCK_M + tile_row)
        total = tl.load(partial_stats + part * 2 * BLOCK_M + BLOCK_M + tile_row)
        weighted = tl.load(partial + part * BLOCK_M * HEAD_DIM + tile)
        while unit < begin + blocks:
            program = program_of(unit, units, programs)
            part = 2 * program
            other = tl.load(partial_stats + part * 2 * BLOCK_M + tile_row)
            higher = tl.maximum(maximum, other)
            own, others = tl.exp2(maximum - higher), tl.exp2(other - higher)
            total = total * own + tl.load(partial_stats + part * 2 * BLOCK_M + BLOCK_M + tile_row) * others
            weighted = weighted * own[:, None] + tl.load(partial + part * BLOCK_M * HEAD_DIM + tile) * others[:, None]
            maximum = higher
            unit = first_unit(program + 1, units, programs)
        row = query_tile * BLOCK_M + tile_row
        stride = heads * HEAD_DIM
        place = slot.to(tl.int64) * queries * stride + head * HEAD_DIM + row[:, None] * stride + column[None, :]
        tl.store(out + place, weighted / total[:, None], mask=row[:, None] < queries)


def rolling_attention(q, k_cache, v_cache, ring_length, out, frame_tokens, block_m=128, block_n=128, programs=None):
    """Writes ``out``; tensors of torch in the shapes above. programs: one for each multiprocessor if not given."""
    import torch  # not at the top: the ahead-of-time compiler imports this module without it

    slots, capacity, heads, head_dim = k_cache.shape
    queries = q.shape[0] // slots
    programs = programs or torch.cuda.get_device_properties(q.device).multi_processor_count
    partial = q.new_full((2 * programs, block_m, head_dim), float("nan"), dtype=torch.float32)
    partial_stats = partial.new_full((2 * programs, 2, block_m), float("nan"))
    sizes = (slots, queries, capacity, frame_tokens, heads)
    constants = {"HEAD_DIM": head_dim, "BLOCK_M": block_m, "BLOCK_N": block_n}
    rolling_attention_kernel[(programs,)](
        q, k_cache, v_cache, ring_length, out, partial, partial_stats, *sizes, **constants, num_warps=8, num_stages=2
    )
    rows = min(MERGE_ROWS, block_m)
    merge_attention_kernel[(block_m // rows * triton.cdiv(queries, block_m), heads, slots)](
        partial, partial_stats, ring_length, out, *sizes, programs, **constants, ROWS=rows
    )


def merge_variant(block_n: int, **options) -> Variant:
    """merge_attention for tiles of 128 queries and ``block_n`` keys."""
    constants = {"HEAD_DIM": 128, "BLOCK_M": 128, "BLOCK_N": block_n, "ROWS": MERGE_ROWS}
    return Variant(merge_attention_kernel, MERGE_TYPES, constants, ("partial", "partial_stats", "out"), **options)


def _variant(block_n: int, **options) -> Variant:
    constants = {"HEAD_DIM": 128, "BLOCK_M": 128, "BLOCK_N": block_n}
    divisible = ("q", "k_cache", "v_cache", "partial", "partial_stats", "out")
    return Variant(rolling_attention_kernel, TYPES, constants, divisible, warps=8, stages=2, **options)


def _hopper_variant(ping_pong: int) -> CudaVariant:
    return CudaVariant(
        "rolling_attention_sm90",
        "ops/rolling_attention/rolling_attention_sm90.cu",
        {**TYPES, **dict.fromkeys(("q", "k_cache", "v_cache"), "tensormap")},
        {"HEAD_DIM": 128, "BLOCK_M": 128, "BLOCK_N": 128, "PING_PONG": ping_pong},
        shared=164_992,
        divisible=("out", "partial", "partial_stats"),
        warps=12,
        needs=("HGMMA", "UTMALDG", "USETMAXREG"),
        architectures=("90a",),
    )


_OTHERS = ("80", "89", "100a", "120a")

# Two stages of 128 keys and values take 160 KiB of shared memory; sm_89 and sm_120 have 99, and on sm_80 and sm_100
# registers would spill.
VARIANTS = (
    _variant(128, needs=("HGMMA",), architectures=("90a",)),
    merge_variant(128, architectures=("90a",)),
    _variant(64, architectures=_OTHERS),
    merge_variant(64, architectures=_OTHERS),
    # The same for Hopper, with its partial results merged by the kernel above.
    *map(_hopper_variant, (0, 1)),
)
