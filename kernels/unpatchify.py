"""unpatchify: x[s, f, c, 2 y + ph, 2 x + pw] = tokens[(s, f, y, x), (ph, pw, c)].

tokens [S F h w, 4 C]; x f32 [S, F, C, 2h, 2w]. A copy in the order of x, with the conversion from the compute type:
8 S F C h w bytes read and twice as many written, no FLOPs. A program does BLOCK elements of x.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .variant import Variant

TYPES = {"tokens": "*bf16", "x": "*fp32", "elements": "i32", "channels": "i32", "height": "i32", "width": "i32"}
BLOCK = 512


@triton.jit
def unpatchify_kernel(tokens, x, elements, channels, height, width, BLOCK: tl.constexpr):
    """Grid (ceil(elements / BLOCK)). elements S F C 2h 2w; height h and width w in tokens."""
    element = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = element < elements
    column, line = element % (2 * width), element // (2 * width)
    row, plane = line % (2 * height), line // (2 * height)
    frame, channel = plane // channels, plane % channels
    token = (frame * height + row // 2) * width + column // 2
    values = tl.load(tokens + (token * 4 + row % 2 * 2 + column % 2) * channels + channel, mask=inside)
    tl.store(x + element, values, mask=inside)


def unpatchify(tokens, x):
    """Writes ``x``; tensors of torch in the shapes above."""
    channels, height, width = x.shape[2], x.shape[3] // 2, x.shape[4] // 2
    unpatchify_kernel[(triton.cdiv(x.numel(), BLOCK),)](tokens, x, x.numel(), channels, height, width, BLOCK=BLOCK)


VARIANTS = (Variant(unpatchify_kernel, TYPES, {"BLOCK": BLOCK}, ("tokens", "x", "elements")),)
