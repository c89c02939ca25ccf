"""patchify: tokens[(s, f, y, x), (c, ph, pw)] = x[s, f, c, 2 y + ph, 2 x + pw].

x f32 [S, F, C, 2h, 2w]; tokens [S F h w, 4 C]. A copy in the order of tokens, with the conversion to the compute type:
16 S F C h w bytes read and half as many written, no FLOPs. A program does BLOCK elements of tokens.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .variant import Variant

TYPES = {"x": "*fp32", "tokens": "*bf16", "elements": "i32", "channels": "i32", "height": "i32", "width": "i32"}
BLOCK = 512


@triton.jit
def patchify_kernel(x, tokens, elements, channels, height, width, BLOCK: tl.constexpr):
    """Grid (ceil(elements / BLOCK)). elements S F h w 4 C; height h and width w in tokens."""
    element = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = element < elements
    token, place = element // (4 * channels), element % (4 * channels)
    frame, row, column = token // (height * width), token // width % height, token % width
    channel, patch_row, patch_column = place // 4, place // 2 % 2, place % 2
    line = (frame * channels + channel) * 2 * height + 2 * row + patch_row
    values = tl.load(x + line * 2 * width + 2 * column + patch_column, mask=inside)
    tl.store(tokens + element, values, mask=inside)


def patchify(x, tokens):
    """Writes ``tokens``; tensors of torch in the shapes above."""
    channels, height, width = x.shape[2], x.shape[3] // 2, x.shape[4] // 2
    patchify_kernel[(triton.cdiv(x.numel(), BLOCK),)](x, tokens, x.numel(), channels, height, width, BLOCK=BLOCK)


VARIANTS = (Variant(patchify_kernel, TYPES, {"BLOCK": BLOCK}, ("x", "tokens", "elements")),)
