"""A rolling cache in 8 bits for tests, and what must hold of one."""

from __future__ import annotations

import numpy as np
import torch

from penstock.kernels import reference_cache
from tests.helpers import Arrays, i32, normal

ROLES = ("k_codes", "v_codes", "k_mean", "k_scale", "v_scale")
POISON = 0x7F  # NaN in e4m3


def draw_cache(rng: np.random.Generator, slots: int, capacity: int, tokens: int, heads: int, head_dim: int) -> Arrays:
    """k_cache, v_cache; keys have channels of a large mean, and scales differ from key to key."""
    shape = (slots, capacity * tokens, heads, head_dim)
    keys, values = (normal(rng, *shape) * np.exp(normal(rng, *shape[:2], 1, 1)) for _ in "kv")
    return {"k_cache": keys + 3 * normal(rng, 1, 1, heads, head_dim), "v_cache": values.astype(np.float32)}


def poisoned(slots: int, capacity: int, tokens: int, heads: int, head_dim: int) -> Arrays:
    """The roles that quantize_cache updates, with nothing in them yet."""
    blocks = -(-tokens // 128)
    shapes = [(heads, 128 * blocks, head_dim), (heads, head_dim, 128 * blocks), (heads, head_dim), (heads, blocks),
              (heads, blocks)]  # fmt: skip
    return {
        role: np.full((slots, capacity, *shape), *((POISON, np.uint8) if "codes" in role else (np.nan, np.float32)))
        for role, shape in zip(ROLES, shapes, strict=True)
    }


def quantized(cache: Arrays, lengths: tuple[int, ...], tokens: int) -> Arrays:
    """All valid frames of a cache in 8 bits; the others are poison."""
    slots, rows, heads, head_dim = cache["k_cache"].shape
    given = {**cache, **poisoned(slots, rows // tokens, tokens, heads, head_dim), "ring_write": i32(*[0] * slots),
             "ring_length": i32(*lengths), "rebase": i32(*[1] * slots)}  # fmt: skip
    made = reference_cache.quantize_cache(
        **{role: torch.from_numpy(values) for role, values in given.items()}, frames=1, frame_tokens=tokens
    )
    return {role: made[role].numpy() for role in ROLES}


def check_quantized(cache: Arrays, result: Arrays, before: Arrays, changed: list[set[int]], tokens: int) -> None:
    """Means to float32; scales the smallest powers of two that do; codes the nearest; other frames as they were.

    changed: by slot the frames that must be new.
    """
    for slot, frames in enumerate(changed):
        for frame in set(range(result["k_mean"].shape[1])) - frames:
            for role in ROLES:
                assert result[role][slot, frame].tobytes() == before[role][slot, frame].tobytes(), role
        for frame in frames:
            check_frame(cache, result, slot, frame, tokens)


def check_frame(cache: Arrays, result: Arrays, slot: int, frame: int, tokens: int) -> None:
    """That one frame of a slot is in 8 bits what it is in the cache."""
    rows = slice(frame * tokens, (frame + 1) * tokens)
    keys, values = (cache[role][slot, rows].transpose(1, 0, 2).astype(np.float64) for role in ("k_cache", "v_cache"))
    mean = result["k_mean"][slot, frame][:, None]
    assert np.abs(mean - keys.mean(1, keepdims=True)).max() <= 1e-6 * np.abs(keys).max()
    v_codes = result["v_codes"][slot, frame].transpose(0, 2, 1)
    check_codes(keys - mean, result["k_codes"][slot, frame], result["k_scale"][slot, frame])
    check_codes(values, v_codes, result["v_scale"][slot, frame])


def check_codes(exact: np.ndarray, codes: np.ndarray, scale: np.ndarray) -> None:
    """exact [H, T, D]; codes [H, 128 B, D]; scale [H, B]."""
    tokens = exact.shape[1]
    assert not codes[:, tokens:].any()
    rows = np.repeat(scale.astype(np.float64), 128, axis=1)[:, :tokens, None]
    mantissa, _ = np.frexp(scale)
    assert (mantissa == 0.5).all(), "a scale that is no power of two"
    starts = np.arange(0, tokens, 128)
    largest = np.maximum.reduceat(np.abs(exact).max(2), starts, axis=1)
    assert (largest <= 448 * scale * (1 + 1e-5)).all()
    assert ((largest > 224 * scale * (1 - 1e-5)) | (scale == 2.0**-100)).all()
    decoded = torch.from_numpy(codes[:, :tokens].copy()).view(torch.float8_e4m3fn).double().numpy() * rows
    # Half a step: 2^-4 of the value, or of the smallest normal number. In float32 a mean shifts the value a little.
    allowed = np.maximum(np.abs(exact) / 16, rows * 2.0**-10) * (1 + 1e-5) + 1e-6 * np.abs(exact).max()
    assert (np.abs(decoded - exact) <= allowed).all()
