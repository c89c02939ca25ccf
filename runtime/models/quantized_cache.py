"""The rolling cache in 8 bits, which attention reads with ``precision`` fp8_attention.

It stands beside the caches in the compute type and is made from them, each chunk's frames once, when they are written:
what else moves the cache (sinks, the refresh of positions, a switch) works on those alone, and their rounding does not
pile up. With T tokens of a frame in B = ceil(T / 128) blocks, for every layer (``quantize_cache`` says what they hold):

    k_codes           u8  [slots, K, H, 128 B, D]
    v_codes           u8  [slots, K, H, D, 128 B]
    k_mean            f32 [slots, K, H, D]
    k_scale, v_scale  f32 [slots, K, H, B]

They take half as much again as the caches in bf16.
"""

from __future__ import annotations

from ..config import Config
from ..plan import PlanBuilder

BLOCK = 128  # keys with one scale


class QuantizedCache:
    """Declares the tensors: ``roles`` has, by role of quantize_cache, those of every layer."""

    def __init__(self, plan: PlanBuilder, config: Config, layers: int, heads: int, head_dim: int):
        blocks = -(-config.frame_tokens // BLOCK)
        shapes = {
            "k_codes": ("u8", (BLOCK * blocks, head_dim)),
            "v_codes": ("u8", (head_dim, BLOCK * blocks)),
            "k_mean": ("f32", (head_dim,)),
            "k_scale": ("f32", (blocks,)),
            "v_scale": ("f32", (blocks,)),
        }
        frame = (config.cache_slots, config.cache_frames, heads)
        self.roles = {
            role: [plan.state(f"blocks.{i}.{role}", (*frame, *shape), dtype, carry="slots") for i in range(layers)]
            for role, (dtype, shape) in shapes.items()
        }
