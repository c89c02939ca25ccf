"""cache_write: k_cache[s, ring_write[s] + f] = k[s, f], and v_cache likewise = v.

k, v [S, F T, H, D]; ring_write i32 [S], read on the device; k_cache, v_cache [S, K T, H, D], updated. A copy of
4 S F T H D elements. A program does BLOCK elements of a slot's k and v.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .variant import Variant

TYPES = {"k": "*bf16", "v": "*bf16", "ring_write": "*i32", "k_cache": "*bf16", "v_cache": "*bf16", "frames": "i32",
         "capacity": "i32", "frame_elements": "i32"}  # fmt: skip
BLOCK = 2048


@triton.jit
def cache_write_kernel(k, v, ring_write, k_cache, v_cache, frames, capacity, frame_elements, BLOCK: tl.constexpr):
    """Grid (ceil(frames frame_elements / BLOCK), S). frames F, capacity K, frame_elements T H D."""
    slot = tl.program_id(1)
    element = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = element < frames * frame_elements
    # A place that the cache does not have must not become a write beyond it.
    write = tl.minimum(tl.maximum(tl.load(ring_write + slot), 0), capacity - frames)
    source = (slot * frames).to(tl.int64) * frame_elements + element
    target = (slot * capacity + write).to(tl.int64) * frame_elements + element
    tl.store(k_cache + target, tl.load(k + source, mask=inside), mask=inside)
    tl.store(v_cache + target, tl.load(v + source, mask=inside), mask=inside)


def cache_write(k, v, ring_write, k_cache, v_cache, frames, frame_tokens):
    """Updates the caches; tensors of torch in the shapes above."""
    slots, heads, head_dim = len(k), *k.shape[2:]
    frame_elements = frame_tokens * heads * head_dim
    cache_write_kernel[(triton.cdiv(frames * frame_elements, BLOCK), slots)](
        k, v, ring_write, k_cache, v_cache, frames, k_cache.shape[1] // frame_tokens, frame_elements, BLOCK=BLOCK
    )


VARIANTS = (Variant(cache_write_kernel, TYPES, {"BLOCK": BLOCK}, ("k", "v", "k_cache", "v_cache", "frame_elements")),)
