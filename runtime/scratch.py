"""Packs scratch tensors into one arena by lifetime.

Within a phase a scratch tensor lives from the op that first writes it to the op that last touches it; phases never
overlap, so all of them share the arena. Offsets count *compute elements*, whose size the device decides (4 bytes on the
CPU backend, 2 on CUDA); a tensor of another type takes as many of them as it needs when they are 2 bytes, so that one
packing serves both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .plan import Plan, Tensor

COMPUTE_BYTES = 2  # the smallest size of a compute element
ALIGNMENT = 128  # compute elements; 256 bytes on CUDA
DTYPE_BYTES = {"compute": 2, "f32": 4, "bf16": 2, "f16": 2, "u8": 1, "i32": 4, "i64": 8, "u64": 8}


def arena_units(tensor: Tensor) -> int:
    """Aligned size of a tensor in the scratch arena, in compute elements."""
    units = -(-tensor.size * DTYPE_BYTES[tensor.dtype] // COMPUTE_BYTES)
    return -(-units // ALIGNMENT) * ALIGNMENT


def lifetimes(plan: Plan, phase: str) -> dict[str, tuple[int, int]]:
    """Scratch tensor name → (first, last) index of the ops that touch it, views counted as their base."""
    spans: dict[str, tuple[int, int]] = {}
    for index, op in enumerate(plan.phases[phase]):
        for name in (*op.inputs.values(), *op.outputs.values()):
            tensor = plan.tensor(name)
            root = plan.tensor(tensor.base) if tensor.kind == "view" else tensor
            if root.kind == "scratch":
                spans[root.name] = (spans.get(root.name, (index, index))[0], index)
    return spans


def pack_scratch(plan: Plan) -> tuple[dict[str, int], int]:
    """Offsets of all scratch tensors and the size of the arena, both in compute elements.

    Greedy by size: the largest tensor first, each at the lowest offset where no tensor alive at the same time stands.
    """
    offsets: dict[str, int] = {}
    total = 0
    for phase in plan.phases:
        spans = lifetimes(plan, phase)
        placed: list[tuple[int, int, str]] = []  # (offset, end, name), sorted by offset
        for name in sorted(spans, key=lambda n: (-arena_units(plan.tensors[n]), spans[n])):
            first, last = spans[name]
            size = arena_units(plan.tensors[name])
            offset = 0
            for start, end, other in placed:
                if spans[other][1] < first or spans[other][0] > last:
                    continue
                if start - offset >= size:
                    break
                offset = max(offset, end)
            placed.append((offset, offset + size, name))
            placed.sort()
            offsets[name] = offset
            total = max(total, offset + size)
    return offsets, total
