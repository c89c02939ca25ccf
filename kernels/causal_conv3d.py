"""causal_conv3d: raw = conv(x) + bias + residual, y = act(raw) or act(norm(raw) gamma), the contract of
csrc/ops/causal_conv3d/causal_conv3d.h.

An implicit matrix product: one program makes BLOCK_M pixels of an output frame times a block of output channels, and
walks through the taps of the kernel, by blocks of input channels. Nothing is made for it in memory: cached frames are
read where they lie in the ring, the padding is a mask, a doubled picture is four convolutions of the small one whose
pixels are interleaved, and frames of y are interleaved and written into their ring as they come. Bias, residual, norm
and activation are applied to the f32 sums; a norm needs all channels of a pixel in one program.

Bytes (bf16): 2 (T + kt - d) s^2 P Q I read and 2 (T/d) g u^2 P Q O written, twice with a residual; what taps and places
read again comes from the second-level cache. FLOPs: 2 (T/d) u^2 P Q g O kt ky kx I, all but the ragged ends.

All widths of the autoencoders are a power of two or three times one. A block of columns is therefore BLOCK_N channels,
or with HALF BLOCK_N and half as many again, as two products with the same pixels: 96 = 64 + 32 and 192 = 128 + 64.
Padding 96 to 128 would cost a third more; three times 32 would read shared memory more often than the tensor cores can
wait for. Rows, columns, taps and strides are run-time values: they cost a few integer instructions per step, which
hide behind the products, and one compiled form serves all kinds of layers.

PIXELS: x or y is 8-bit pixels of a video. The numbers of new frames are also written into past, the ring where later
calls find them: by the programs that have them anyway, so that frames take no pass of their own, in or out.

CODES: with sum_scale x and weight are e4m3 codes, whose products are those of 8-bit tensor cores; with y_scale y is
codes. A form for each, since the types differ. Hopper adds products of 8 bits with about 14 bits of the sum;
EXACT_DEPTH of them are therefore summed from zero and then added in f32.

GATHER: inputs that are not a multiple of 16 channels (pictures have 3). The steps then go through (tap, channel) pairs
instead of blocks of a tap's channels, so that a 3x3x3 kernel over 3 channels takes 3 steps and not 27.

Limits: at most 31 taps in a picture, which are bits of an integer; fewer than 2^31 elements in a frame and in the
weight. The compiled forms want channels in multiples of 16, but for up to 16 outputs, and for inputs with GATHER.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .float8 import FP8_ARCHITECTURES, as_codes
from .frame_ring import first_frame, ring_arguments, ring_index
from .pixels import RANGES, keep_frame, numbers_of, pixels_of
from .variant import Variant


@triton.jit
def taps_inside(top, left, height, width, kernel_height, kernel_width):
    """Bit t of an element: whether tap t of the picture lies inside, for first taps at (top, left)."""
    inside = tl.zeros_like(top)
    for tap in range(kernel_height * kernel_width):
        y, x = top + tap // kernel_width, left + tap % kernel_width
        inside |= ((y >= 0) & (y < height) & (x >= 0) & (x < width)).to(tl.int32) << tap
    return inside


@triton.jit
def add_to(sums, residual, bias, raw, sum_scale, offset, valid, column, outputs, group, has_bias, has_residual, has_raw,
           X_CODES: tl.constexpr):  # fmt: skip
    """sums + bias + residual, zero where there is no column, also written to raw; residual, raw: their frames,
    sum_scale: its rows of this output."""
    if X_CODES:
        sums *= tl.load(sum_scale + column, mask=column < outputs, other=0.0)
    sums += tl.load(bias + group * outputs + column, mask=(column < outputs) & (has_bias != 0), other=0.0).to(
        tl.float32
    )
    sums += tl.load(residual + offset, mask=valid & (has_residual != 0), other=0.0).to(tl.float32)
    tl.store(raw + offset, sums.to(raw.dtype.element_ty), mask=valid & (has_raw != 0))
    return sums


@triton.jit
def finish(sums, scale, y, gamma, y_scale, offset, valid, column, outputs, has_gamma, activation, y_range,
           Y_CODES: tl.constexpr, Y_PIXELS: tl.constexpr):  # fmt: skip
    """y = act(sums * scale * gamma), y being its frame; scale [M, 1] is 1 without gamma."""
    sums *= scale * tl.load(gamma + column, mask=(column < outputs) & (has_gamma != 0), other=1.0).to(tl.float32)
    if activation == 1:
        sums = tl.where(sums < 0.0, 0.0, sums)  # NaN stays
    if activation == 2:
        sums = sums / (1.0 + tl.exp(-sums))
    if Y_CODES:
        sums *= 1.0 / tl.load(y_scale)
    if Y_PIXELS:
        sums = pixels_of(sums, y_range)
    tl.store(y + offset, sums.to(y.dtype.element_ty), mask=valid)


@triton.jit
def causal_conv3d_kernel(
    x, past, x_frame, weight, bias, residual, residual_frame, gamma, y, y_frame, raw, raw_frame, sum_scale,
    y_scale, x_frames, x_is_ring, residual_frames, residual_is_ring, y_frames, y_is_ring, raw_frames, raw_is_ring,
    height, width, inputs, outputs, kernel_time, kernel_height, kernel_width,
    stride, upsample, time_stride, interleave, has_bias, has_residual, has_gamma, has_raw, activation, x_range, y_range,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, UNROLL: tl.constexpr,
    HALF: tl.constexpr, GATHER: tl.constexpr, X_CODES: tl.constexpr, Y_CODES: tl.constexpr, X_PIXELS: tl.constexpr,
    Y_PIXELS: tl.constexpr,
):  # fmt: skip
    """height, width: of a frame of x; x_frames, x_is_ring: of past, where x is pixels. Grid: (blocks of positions x
    places x blocks of columns, frames of y)."""
    COLUMNS: tl.constexpr = BLOCK_N + BLOCK_N // 2 if HALF else BLOCK_N
    EXACT_DEPTH: tl.constexpr = BLOCK_K if X_CODES else 0
    positions_wide = width // stride
    positions = height // stride * positions_wide
    column_blocks = tl.cdiv(outputs, COLUMNS)
    # Blocks of columns and the places of a doubled picture are neighbours: they find the same pixels in the cache.
    first_column = tl.program_id(0) % column_blocks * COLUMNS
    place = tl.program_id(0) // column_blocks % (upsample * upsample)
    first_position = tl.program_id(0) // (column_blocks * upsample * upsample) * BLOCK_M
    down, right = place // upsample, place % upsample
    out_frame = tl.program_id(1)
    step, group = out_frame // interleave, out_frame % interleave

    first = first_frame(x_frame, x_frames, x_is_ring)
    frame_elements = tl.cast(height, tl.int64) * width * inputs
    position = first_position + tl.arange(0, BLOCK_M)[:, None]
    row, column_of = position // positions_wide, position % positions_wide
    top = row * stride + tl.where(stride == 1, (down + 1 - kernel_height) >> 1, 0)
    left = column_of * stride + tl.where(stride == 1, (right + 1 - kernel_width) >> 1, 0)
    inside = taps_inside(top, left, height, width, kernel_height, kernel_width)
    start = (top * width + left) * inputs
    known_pixel = position < positions
    pixel = ((row * upsample + down) * positions_wide + column_of) * upsample + right

    first_input = time_stride * (step + 1) - kernel_time
    picture_taps = kernel_height * kernel_width
    depth = kernel_time * picture_taps * inputs
    column = first_column + tl.arange(0, BLOCK_N)[None, :]
    weight_row = (place * interleave + group) * outputs
    weight += weight_row * depth
    sums = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    if HALF:
        half_column = first_column + BLOCK_N + tl.arange(0, BLOCK_N // 2)[None, :]
        half_sums = tl.zeros([BLOCK_M, BLOCK_N // 2], tl.float32)

    # The tap of the next step, counted along: divisions would take longer than the products.
    first_channel, tap_x, tap_y, tap_time = 0, 0, 0, 0
    for done in range(0, depth, BLOCK_K * UNROLL):
        if GATHER:
            pair = done + tl.arange(0, BLOCK_K)[None, :]
            tap, channel = pair // inputs, pair % inputs
            at_time, at_y, at_x = tap // picture_taps, tap // kernel_width % kernel_height, tap % kernel_width
            known = pair < depth
        else:
            channel = first_channel + tl.arange(0, BLOCK_K)[None, :]
            at_time, at_y, at_x = tap_time, tap_y, tap_x
            known = True
        frame = first_input + at_time
        known &= (frame >= 0) | (x_is_ring != 0)
        mask = ((inside >> (at_y * kernel_width + at_x)) & 1 != 0) & known
        source = ring_index(first, frame, x_frames).to(tl.int64) * frame_elements
        source += start + (at_y * width + at_x) * inputs + channel
        for part in tl.static_range(UNROLL):
            if X_PIXELS:  # frames of x are those from 0 on, in order
                new, old = mask & (frame >= 0), mask & (frame < 0)
                in_x = tl.cast(frame, tl.int64) * frame_elements + start + (at_y * width + at_x) * inputs + channel
                numbers = numbers_of(tl.load(x + in_x, mask=new, other=0), x_range).to(weight.dtype.element_ty)
                pixels = tl.where(new, numbers, tl.load(past + source, mask=old, other=0.0))
            else:
                pixels = tl.load(x + source + part * BLOCK_K, mask=mask, other=0.0)
            tap_row = done + part * BLOCK_K + tl.arange(0, BLOCK_K)[:, None]
            in_kernel = tap_row < depth
            weights = tl.load(weight + column * depth + tap_row, mask=(column < outputs) & in_kernel, other=0.0)
            sums = tl.dot(pixels, weights, sums, max_num_imprecise_acc=EXACT_DEPTH)
            if HALF:
                half_weights = tl.load(
                    weight + half_column * depth + tap_row, mask=(half_column < outputs) & in_kernel, other=0.0
                )
                half_sums = tl.dot(pixels, half_weights, half_sums, max_num_imprecise_acc=EXACT_DEPTH)
        if not GATHER:
            first_channel += BLOCK_K * UNROLL
            next_tap = first_channel == inputs
            first_channel = tl.where(next_tap, 0, first_channel)
            tap_x += next_tap.to(tl.int32)
            next_row = tap_x == kernel_width
            tap_x = tl.where(next_row, 0, tap_x)
            tap_y += next_row.to(tl.int32)
            next_frame = tap_y == kernel_height
            tap_y = tl.where(next_frame, 0, tap_y)
            tap_time += next_frame.to(tl.int32)

    if X_PIXELS:
        kept = known_pixel & (x_is_ring != 0) & (first_column == 0)
        slot = ring_index(first, out_frame, x_frames).to(tl.int64)
        keep_frame(x + tl.cast(out_frame, tl.int64) * frame_elements, past + slot * frame_elements, position, kept,
                   inputs, x_range)  # fmt: skip
    frame_outputs = tl.cast(positions, tl.int64) * (upsample * upsample) * outputs
    y += ring_index(first_frame(y_frame, y_frames, y_is_ring), out_frame, y_frames) * frame_outputs
    added = ring_index(first_frame(residual_frame, residual_frames, residual_is_ring), out_frame, residual_frames)
    residual += added * frame_outputs
    raw += ring_index(first_frame(raw_frame, raw_frames, raw_is_ring), out_frame, raw_frames) * frame_outputs
    sum_scale += weight_row
    offset, valid = pixel * outputs + column, known_pixel & (column < outputs)
    sums = add_to(sums, residual, bias, raw, sum_scale, offset, valid, column, outputs, group, has_bias, has_residual,
                  has_raw, X_CODES)  # fmt: skip
    squares = tl.sum(sums * sums, axis=1, keep_dims=True)
    if HALF:
        half_offset, half_valid = pixel * outputs + half_column, known_pixel & (half_column < outputs)
        half_sums = add_to(half_sums, residual, bias, raw, sum_scale, half_offset, half_valid, half_column, outputs,
                           group, has_bias, has_residual, has_raw, X_CODES)  # fmt: skip
        squares += tl.sum(half_sums * half_sums, axis=1, keep_dims=True)
    norm = tl.sqrt(squares)
    scale = tl.sqrt(tl.cast(outputs, tl.float32)) / tl.where(norm < 1e-12, 1e-12, norm)  # NaN stays
    scale = tl.where(has_gamma != 0, scale, 1.0)
    finish(sums, scale, y, gamma, y_scale, offset, valid, column, outputs, has_gamma, activation, y_range, Y_CODES,
           Y_PIXELS)  # fmt: skip
    if HALF:
        finish(half_sums, scale, y, gamma, y_scale, half_offset, half_valid, half_column, outputs, has_gamma,
               activation, y_range, Y_CODES, Y_PIXELS)  # fmt: skip


def tile(
    inputs: int,
    outputs: int,
    x_codes: bool = False,
    y_codes: bool = False,
    x_pixels: bool = False,
    y_pixels: bool = False,
) -> tuple[dict[str, int | bool], int, int]:
    """(constants, warps, stages) for numbers of input and output channels; the launcher's rule.

    BLOCK_K divides ``inputs``. Many pixels per program read the weights less often, and few registers are then left for
    columns: 256 pixels go with up to 96 columns, 128 with up to 192.
    """
    types = {"X_CODES": x_codes, "Y_CODES": y_codes, "X_PIXELS": x_pixels, "Y_PIXELS": y_pixels}
    if inputs % 16 or x_pixels:
        constants = {"BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 32, "UNROLL": 1, "HALF": True, "GATHER": True}
        return constants | types, 8, 3
    depth = 64 if inputs % 64 == 0 else 32 if inputs % 32 == 0 else 16
    if outputs % 96 == 0:
        columns, half = (128, True) if outputs % 192 == 0 else (64, True)
    else:
        columns, half = next((n for n in (16, 32, 64) if outputs <= n), 128), False
    unroll = 3 if inputs % 96 == 0 and depth == 32 else 1
    pixels = 256 if columns <= 64 else 128
    if x_codes:
        pixels //= 2  # parts of a sum take as many registers as the sum
    constants = {
        "BLOCK_M": pixels,
        "BLOCK_N": columns,
        "BLOCK_K": depth,
        "UNROLL": unroll,
        "HALF": half,
        "GATHER": False,
    }
    return constants | types, 8, 3 if unroll > 1 else 4


ACTIVATIONS = {"none": 0, "relu": 1, "silu": 2}


def causal_conv3d(
    x, weight, y, frames: int, stride: int = 1, upsample: int = 1, time_stride: int = 1, interleave: int = 1,
    activation: str = "none", x_range: str = "none", y_range: str = "none", bias=None, residual=None, gamma=None,
    raw=None, past=None, x_frame=None, residual_frame=None, y_frame=None, raw_frame=None, sum_scale=None, y_scale=None,
) -> None:  # fmt: skip
    """Writes y and raw: torch tensors in the contract's roles and layouts, and its attributes."""
    _, height, width, inputs = x.shape
    outputs = y.shape[3]
    codes = [scale is not None for scale in (sum_scale, y_scale)]
    constants, warps, stages = tile(inputs, outputs, *codes, x_range != "none", y_range != "none")
    columns = constants["BLOCK_N"] * 3 // 2 if constants["HALF"] else constants["BLOCK_N"]
    if gamma is not None and outputs > columns:
        raise ValueError(f"a norm over {outputs} channels, but a program has {columns}")
    if sum_scale is not None and inputs % 32:
        raise ValueError(f"codes of {inputs} channels, but products of 8 bits take 32 at a time")
    positions = (height // stride) * (width // stride)
    blocks = triton.cdiv(positions, constants["BLOCK_M"]) * upsample**2 * triton.cdiv(outputs, columns)
    flags = [int(tensor is not None) for tensor in (bias, residual, gamma, raw)]
    x, weight, y = as_codes(x, sum_scale), as_codes(weight, sum_scale), as_codes(y, y_scale)
    # What is absent is not read, but of the type that it would have.
    residual, raw = weight if residual is None else residual, weight if raw is None else raw
    x_frame, *x_ring = ring_arguments(x if past is None else past, x_frame)
    past = weight if past is None else past
    residual_frame, *residual_ring = ring_arguments(residual, residual_frame)
    y_frame, *y_ring = ring_arguments(y, y_frame)
    raw_frame, *raw_ring = ring_arguments(raw, raw_frame)
    causal_conv3d_kernel[(blocks, frames // time_stride * interleave)](
        x, past, x_frame, weight, weight if bias is None else bias, residual, residual_frame,
        weight if gamma is None else gamma, y, y_frame, raw, raw_frame, weight if sum_scale is None else sum_scale,
        weight if y_scale is None else y_scale, *x_ring, *residual_ring, *y_ring, *raw_ring, height, width, inputs,
        outputs, *weight.shape[1:4], stride, upsample, time_stride, interleave, *flags, ACTIVATIONS[activation],
        RANGES[x_range], RANGES[y_range], **constants, num_warps=warps, num_stages=stages,
    )  # fmt: skip


_DATA = ("x", "past", "weight", "bias", "residual", "gamma", "y", "raw")
PIXELS = ("past", "x_range", "y_range")
_COUNTERS = ("x_frame", "residual_frame", "y_frame", "raw_frame")
SCALES = ("sum_scale", "y_scale")


def parameter_types(
    x_codes: bool = False, y_codes: bool = False, x_pixels: bool = False, y_pixels: bool = False
) -> dict[str, str]:
    """Triton's spelling of the type of each run-time parameter, in order."""
    types = dict.fromkeys(causal_conv3d_kernel.arg_names, "i32") | dict.fromkeys(_DATA, "*bf16")
    types |= dict.fromkeys(_COUNTERS, "*i64") | dict.fromkeys(SCALES, "*fp32")
    if x_codes:
        types |= {"x": "*fp8e4nv", "weight": "*fp8e4nv"}
    if y_codes:
        types["y"] = "*fp8e4nv"
    types |= {name: "*u8" for name, given in (("x", x_pixels), ("y", y_pixels)) if given}
    return {name: kind for name, kind in types.items() if not name.isupper()}


def _variant(inputs: int, outputs: int, **types: bool) -> Variant:
    """types: which of x_codes, y_codes, x_pixels and y_pixels hold."""
    constants, warps, stages = tile(inputs, outputs, **types)
    # Rows of 3 or of few channels begin anywhere, those of all others at multiples of 16 bytes.
    divisible = _DATA if constants["GATHER"] else (*_DATA, "inputs")
    if constants["BLOCK_N"] > 16 and not constants["GATHER"]:
        divisible += ("outputs",)
    x_codes = constants["X_CODES"]
    architectures = FP8_ARCHITECTURES if x_codes or constants["Y_CODES"] else ()
    needs = ("QGMMA",) if x_codes else ("HGMMA",)
    return Variant(causal_conv3d_kernel, parameter_types(**types), constants, divisible, warps, stages, needs,
                   architectures=architectures)  # fmt: skip


# Input channels of a class stand for all of it; outputs 16 also for the 3 of a picture.
VARIANTS = [
    _variant(3, 64),
    _variant(3, 64, x_pixels=True),
    *(_variant(i, o) for i in (16, 32, 96, 64) for o in (16, 32, 64, 96, 128, 192)),
    *(_variant(i, 16, y_pixels=True) for i in (16, 32, 96, 64)),
    # What fp8_vae needs for the Wan VAE and for that of `tiny`; norms over 384 channels are rms_silu's.
    _variant(3, 96, x_pixels=True, y_codes=True),
    _variant(96, 16, x_codes=True, y_pixels=True),
    *(
        _variant(i, o, y_codes=True)
        for i, o in ((16, 32), (16, 64), (32, 32), (64, 32), (64, 64), (64, 96), (64, 192), (96, 96))
    ),
    *(_variant(i, o, x_codes=True) for i, o in ((32, 16), (32, 32), (64, 32), (64, 64), (64, 192), (96, 96))),
    *(
        _variant(i, o, x_codes=True, y_codes=True)
        for i, o in ((32, 32), (32, 64), (64, 32), (64, 64), (64, 192), (96, 96), (96, 192))
    ),
]
