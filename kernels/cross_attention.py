"""cross_attention: out = softmax(q k_text^T / sqrt(D)) v_text, all rows of the text from prompt_length on being equal.

q, out [M, H D]; k_text, v_text [T, H, D]; prompt_length L: i32 [1], read on the device. The T - L equal rows count as
one, row L, with log(T - L) added to its score, so that min(L + 1, T) rows are read instead of all T = 512.

As in rolling_attention, a program does BLOCK_M queries of one head. 4 M H D (L + 1) FLOPs; 2 M H D + 2 (L + 1) H D
elements: a short prompt makes it memory-bound, a full one tensor-core bound.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .flash import attend
from .variant import Variant

TYPES = {"q": "*bf16", "k_text": "*bf16", "v_text": "*bf16", "prompt_length": "*i32", "out": "*bf16",
         "queries": "i32", "text_rows": "i32", "heads": "i32"}  # fmt: skip


@triton.jit
def cross_attention_kernel(q, k_text, v_text, prompt_length, out, queries, text_rows, heads,
                           HEAD_DIM: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):  # fmt: skip
    """Grid (ceil(M / BLOCK_M), H). queries M, text_rows T."""
    head = tl.program_id(1)
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tl.arange(0, HEAD_DIM)
    stride = heads * HEAD_DIM
    place = row[:, None].to(tl.int64) * stride + head * HEAD_DIM + column[None, :]
    inside = row[:, None] < queries
    tile_q = tl.load(q + place, mask=inside, other=0.0)

    keys, values = k_text + head * HEAD_DIM, v_text + head * HEAD_DIM
    prompt = tl.load(prompt_length)
    length = tl.minimum(prompt + 1, text_rows)
    # With no padding the last row counts once: log2(1) = 0.
    padding_bias = tl.log2(tl.maximum(text_rows - prompt, 1).to(tl.float32))

    maximum = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    weighted = tl.zeros([BLOCK_M, HEAD_DIM], tl.float32)
    for start in tl.range(0, length, BLOCK_N):
        maximum, total, weighted = attend(
            tile_q, keys, values, stride, length - start, padding_bias, maximum, total, weighted, HEAD_DIM, BLOCK_N
        )
        keys += BLOCK_N * stride
        values += BLOCK_N * stride
    tl.store(out + place, weighted / total[:, None], mask=inside)


def cross_attention(q, k_text, v_text, prompt_length, out, block_m=128, block_n=64):
    """Writes ``out``; tensors of torch in the shapes above."""
    text_rows, heads, head_dim = k_text.shape
    queries = q.shape[0]
    cross_attention_kernel[(triton.cdiv(queries, block_m), heads)](
        q, k_text, v_text, prompt_length, out, queries, text_rows, heads,
        HEAD_DIM=head_dim, BLOCK_M=block_m, BLOCK_N=block_n, num_warps=8, num_stages=2,
    )  # fmt: skip


VARIANTS = (
    Variant(
        cross_attention_kernel,
        TYPES,
        {"HEAD_DIM": 128, "BLOCK_M": 128, "BLOCK_N": 64},  # few keys: small tiles waste less
        ("q", "k_text", "v_text", "out"),
        warps=8,
        stages=2,
        needs=("HGMMA",),
    ),
)
