"""8-bit floats, e4m3 as tensor cores read it: what csrc/engine/cpu/float8.h does, on arrays, for weights.

Sign, 4 bits of exponent, 3 of mantissa, without infinities: 2^-9 to 448. Scales are powers of two: scaling is exact.
"""

from __future__ import annotations

import numpy as np

LARGEST = 448.0
_SMALLEST_SCALE = 2.0**-60


def e4m3_scale(largest: np.ndarray) -> np.ndarray:
    """The smallest powers of two, from 2^-60 on, with which ``largest`` is at most 448 times as large; float32."""
    mantissa, exponent = np.frexp(np.asarray(largest, np.float32))
    scale = np.ldexp(np.float32(1), exponent - 9 + (mantissa > LARGEST / 512))
    return np.where(mantissa > 0, np.maximum(scale, _SMALLEST_SCALE), _SMALLEST_SCALE).astype(np.float32)


def e4m3_codes(values: np.ndarray) -> np.ndarray:
    """uint8 codes of the nearest e4m3 floats, ties to even, for finite values of up to 448; same shape."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    magnitude = bits & 0x7FFFFFFF
    # Above the smallest normal number a code is a float's upper bits less its bias; below it counts steps of 2^-9.
    normal = ((magnitude + 0x7FFFF + (magnitude >> 20 & 1)) >> 20) - (120 << 3)
    steps = np.rint(np.minimum(magnitude.view(np.float32), 1) * 512).astype(np.uint32)
    codes = np.where(magnitude < 0x3C800000, steps, normal)
    return (codes | bits >> 24 & 0x80).astype(np.uint8)
