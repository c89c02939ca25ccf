"""8-bit pixels of a video inside kernels, as csrc/engine/cpu/pixels.h defines them: v / 127.5 - 1, or v / 255."""

from __future__ import annotations

import triton
import triton.language as tl

RANGES = {"none": 0, "signed": 1, "unit": 2}


@triton.jit
def range_scale(value_range):
    """(scale, offset) of pixels: they stand for v / scale - offset."""
    return tl.where(value_range == 1, 127.5, 255.0), tl.where(value_range == 1, 1.0, 0.0)


@triton.jit
def numbers_of(pixels, value_range):
    scale, offset = range_scale(value_range)
    return tl.div_rn(pixels.to(tl.float32), scale) - offset


@triton.jit
def pixels_of(numbers, value_range):
    """Clamped and rounded to even; NaN gives 0."""
    WHOLE: tl.constexpr = 12582912.0  # 1.5 * 2^23: from here on floats are integers, so adding it rounds, to even
    scale, offset = range_scale(value_range)
    numbers = (numbers + offset) * scale
    numbers = tl.where(numbers > 0.0, numbers, 0.0)  # false for NaN
    numbers = tl.where(numbers < 255.0, numbers, 255.0)
    return ((numbers + WHOLE) - WHOLE).to(tl.int32)


@triton.jit
def keep_frame(x, past, pixel, valid, inputs, x_range):
    """Numbers of a block of pixels: x and past are the frame's. One channel after the other: there are few."""
    for channel in range(inputs):
        numbers = numbers_of(tl.load(x + pixel * inputs + channel, mask=valid, other=0), x_range)
        tl.store(past + pixel * inputs + channel, numbers.to(past.dtype.element_ty), mask=valid)
