"""replicate_slots: x[s] = x[0] for every slot s.

x [S, L, H, D], updated. A copy, once per stream: S L H D elements, as slot 0 is read once and written S - 1 times. A
program does BLOCK elements of a slot.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .variant import Variant

TYPES = {"x": "*bf16", "slot_elements": "i32", "slots": "i32"}
BLOCK = 2048


@triton.jit
def replicate_slots_kernel(x, slot_elements, slots, BLOCK: tl.constexpr):
    """Grid (ceil(slot_elements / BLOCK)). slot_elements L H D, slots S."""
    element = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = element < slot_elements
    values = tl.load(x + element, mask=inside)
    for slot in range(1, slots):
        tl.store(x + tl.cast(slot, tl.int64) * slot_elements + element, values, mask=inside)


def replicate_slots(x):
    """Updates ``x``, a tensor of torch in the shape above."""
    slot_elements = x[0].numel()
    replicate_slots_kernel[(triton.cdiv(slot_elements, BLOCK),)](x, slot_elements, len(x), BLOCK=BLOCK)


VARIANTS = (Variant(replicate_slots_kernel, TYPES, {"BLOCK": BLOCK}, ("x", "slot_elements")),)
