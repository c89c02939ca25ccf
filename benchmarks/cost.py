"""The cost model: FLOPs and bytes of every op, from the contracts in csrc/ops, summed over the phases of a plan.

FLOPs are 2 per multiply-accumulate. Bytes are what an op has to move if every tensor that it touches is read or written
once: of a cache its valid part, of a ring its new frames and its halo. The floor of an op is the longer of
FLOPs / peak and bytes / bandwidth, that of a phase the sum over its ops: no credit for overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from penstock.runtime.errors import PenstockError
from penstock.runtime.plan import Op, Plan

DTYPE_BYTES = {"f32": 4, "u8": 1, "i32": 4, "i64": 8, "u64": 8, "f16": 2, "bf16": 2}
COMPUTE_BYTES = {"cpu": 4, "cuda": 2}  # of an element of dtype compute
_PHILOX_FLOPS = 50  # per drawn normal number


@dataclass(frozen=True)
class Cost:
    """FLOPs, bytes, and how many of the FLOPs are products of matrices, which tensor cores do."""

    flops: float = 0.0
    nbytes: float = 0.0
    matrix_flops: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.nbytes + other.nbytes, self.matrix_flops + other.matrix_flops)


@dataclass(frozen=True)
class Peaks:
    """What the machine was measured to reach: matrix FLOP/s in the compute dtype, bytes/s of a large copy."""

    flops: float
    bandwidth: float

    def floor_seconds(self, cost: Cost) -> float:
        """The time that nothing can beat. FLOPs that are no matrix products hide behind the bytes."""
        return max(cost.matrix_flops / self.flops, cost.nbytes / self.bandwidth)


@dataclass(frozen=True)
class Call:
    """One call of an op: shape and dtype of every tensor by role, attributes, and what step state says.

    outputs are only written, updates read and written. cache_frames: valid frames of the rolling cache, None for all.
    prompt_rows: valid rows of the text, None for all. compute_bytes: 4 on the CPU backend, 2 on CUDA.
    """

    op: str
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    attributes: Mapping[str, int | float | str]
    outputs: frozenset[str] = frozenset()
    updates: frozenset[str] = frozenset()
    cache_frames: int | None = None
    prompt_rows: int | None = None
    compute_bytes: int = 2

    @classmethod
    def of(cls, plan: Plan, op: Op, **state: int | None) -> Call:
        """The call that ``op`` makes in ``plan``."""
        tensors = {role: plan.tensor(name) for role, name in (op.inputs | op.outputs).items()}
        return cls(op.op, {role: tensor.shape for role, tensor in tensors.items()},
                   {role: tensor.dtype for role, tensor in tensors.items()}, dict(op.attributes),
                   frozenset(op.outputs.keys() - op.inputs.keys()), frozenset(op.inputs.keys() & op.outputs.keys()),
                   **state)  # fmt: skip

    def size(self, role: str) -> int:
        """Elements; 0 where an optional role is absent."""
        return prod(self.shapes[role]) if role in self.shapes else 0

    def item(self, role: str) -> int:
        """Bytes of one element; 0 where the role is absent."""
        dtype = self.dtypes.get(role)
        return 0 if dtype is None else DTYPE_BYTES.get(dtype, self.compute_bytes)

    def nbytes(self, *roles: str) -> int:
        """Bytes of whole tensors, once each."""
        return sum(self.size(role) * self.item(role) for role in roles)

    def all_bytes(self) -> int:
        """Bytes of all tensors; those that are updated in place are read and written."""
        return self.nbytes(*self.shapes) + self.nbytes(*self.updates)

    def ring_bytes(self, role: str, frames: int) -> int:
        """Bytes of so many frames of a tensor whose first axis counts frames."""
        return frames * prod(self.shapes[role][1:]) * self.item(role) if role in self.shapes else 0

    def number(self, attribute: str) -> int:
        return int(self.attributes[attribute])


_COSTS: dict[str, Callable[[Call], Cost]] = {}


def _cost(function: Callable[[Call], Cost]) -> Callable[[Call], Cost]:
    _COSTS[function.__name__] = function
    return function


def op_cost(call: Call) -> Cost:
    """The cost of one call; PenstockError for an op that has none."""
    if call.op not in _COSTS:
        raise PenstockError(f"op {call.op!r}: no cost; known: {', '.join(sorted(_COSTS))}")
    return _COSTS[call.op](call)


def phase_costs(plan: Plan, phase: str, compute_bytes: int = 2, prompt_rows: int | None = None) -> list[Cost]:
    """The cost of every op of a phase, in order. In denoise_first the cache holds one chunk, else it is full."""
    frames = plan.config["first_latents"] if phase == "denoise_first" else None
    return [
        op_cost(Call.of(plan, op, cache_frames=frames, prompt_rows=prompt_rows, compute_bytes=compute_bytes))
        for op in plan.phases[phase]
    ]


def known_ops() -> list[str]:
    return sorted(_COSTS)


def _elementwise(call: Call, per_element: float, role: str) -> Cost:
    return Cost(per_element * call.size(role), call.all_bytes())


# ---- DiT ------------------------------------------------------------------------------------------------------------


@_cost
def gemm(call: Call) -> Cost:
    (m, k), n = call.shapes["x"], call.shapes["weight"][0]
    return Cost(2.0 * m * n * k, call.nbytes("x", "weight", "y"), 2.0 * m * n * k)


@_cost
def rolling_attention(call: Call) -> Cost:
    slots, capacity, heads, head_dim = call.shapes["k_cache"]
    tokens = capacity if call.cache_frames is None else call.cache_frames * call.number("frame_tokens")
    flops = 4.0 * call.size("q") * tokens
    cached = 2 * slots * tokens * heads * head_dim * call.item("k_cache")
    return Cost(flops, call.nbytes("q", "out") + cached, flops)


@_cost
def rolling_attention_fp8(call: Call) -> Cost:
    """Its products count half: the peak is that of the compute dtype, and 8-bit floats have twice the rate."""
    slots, capacity, heads, head_dim = call.shapes["k_mean"]
    frames = capacity if call.cache_frames is None else call.cache_frames
    tokens = frames * call.number("frame_tokens")
    flops = 4.0 * call.size("q") * tokens
    return Cost(flops, call.nbytes("q", "out") + 2 * slots * tokens * heads * head_dim, flops / 2)


@_cost
def cross_attention(call: Call) -> Cost:
    rows, heads, head_dim = call.shapes["k_text"]
    read = rows if call.prompt_rows is None else min(call.prompt_rows + 1, rows)  # one row stands for the padding
    flops = 4.0 * call.size("q") * read
    return Cost(flops, call.nbytes("q", "out") + 2 * read * heads * head_dim * call.item("k_text"), flops)


@_cost
def qk_norm_rope_cache(call: Call) -> Cost:
    written = call.size("q") * (call.item("q") + call.item("k_cache") + call.item("v_cache"))
    return Cost(14.0 * call.size("q"), call.nbytes("qkv", "norm_q", "norm_k", "rope") + written)


@_cost
def rms_norm(call: Call) -> Cost:
    return _elementwise(call, 4, "x")


@_cost
def layernorm_modulate(call: Call) -> Cost:
    return _elementwise(call, 9, "x")


@_cost
def gate_residual_layernorm(call: Call) -> Cost:
    return _elementwise(call, 11, "x")


@_cost
def time_embed(call: Call) -> Cost:
    width, frequencies = call.shapes["fc1_weight"]
    flops = 2.0 * call.size("timestep") * (frequencies * width + 7 * width * width)
    return Cost(flops, call.all_bytes(), flops)


@_cost
def patchify(call: Call) -> Cost:
    return Cost(0, call.all_bytes())


@_cost
def unpatchify(call: Call) -> Cost:
    return Cost(0, call.all_bytes())


# ---- stream and rolling cache ---------------------------------------------------------------------------------------


@_cost
def noise_mix(call: Call) -> Cost:
    return Cost((3 + _PHILOX_FLOPS) * call.size("x"), call.nbytes("latents", "x"))


@_cost
def renoise(call: Call) -> Cost:
    row = call.size("x") // call.shapes["x"][0]
    drawn = call.size("next_sigma") * row
    flops = 2 * call.size("x") + (3 + _PHILOX_FLOPS) * drawn
    return Cost(flops, call.nbytes("x", "flow", "x0") + drawn * call.item("x"))


@_cost
def motion_noise(call: Call) -> Cost:
    frames, height, width, _ = call.shapes["frames"]
    return Cost(12.0 * frames * height * width, call.nbytes("frames") + 2 * call.nbytes("previous"))


@_cost
def ring_advance(call: Call) -> Cost:
    return Cost(0, call.all_bytes())


@_cost
def advance_frames(call: Call) -> Cost:
    return Cost(0, call.all_bytes())


@_cost
def cache_write(call: Call) -> Cost:
    return Cost(0, 2 * call.nbytes("k", "v"))


@_cost
def quantize_cache(call: Call) -> Cost:
    """What nearly every chunk costs, as with rebase_keys."""
    slots, _, heads, head_dim = call.shapes["k_mean"]
    elements = slots * call.number("frames") * call.number("frame_tokens") * heads * head_dim
    return Cost(6.0 * elements, elements * (3 * call.item("k_cache") + 2))


@_cost
def replicate_slots(call: Call) -> Cost:
    return Cost(0, call.nbytes("x"))


@_cost
def rebase_keys(call: Call) -> Cost:
    """What nearly every chunk costs: the positions start again once in 45 chunks, and else nothing moves."""
    return Cost(0, call.nbytes("rebase"))


def _sinks(call: Call) -> Cost:
    read = 2 * (call.number("sinks") + 1) * call.size("k")
    return Cost(read, read * call.item("k"))


@_cost
def sink_refresh(call: Call) -> Cost:
    return _sinks(call)


@_cost
def ring_queue(call: Call) -> Cost:
    return _sinks(call)


# ---- video autoencoders ---------------------------------------------------------------------------------------------


@_cost
def causal_conv3d(call: Call) -> Cost:
    rows, *kernel, inputs = call.shapes["weight"]
    steps = call.number("frames") // call.number("time_stride")
    written = steps * call.number("interleave")
    _, height, width, _ = call.shapes["y"]
    positions = height * width // call.number("upsample") ** 2  # each makes a row of products for all its places
    flops = 2.0 * steps * positions * rows * prod(kernel) * inputs
    # A plain tensor has no frames before its first. Of pixels the earlier frames are read from past, the new written.
    frames, halo = call.number("frames"), kernel[0] - call.number("time_stride")
    in_x = frames + (halo if "x_frame" in call.shapes and "past" not in call.shapes else 0)
    nbytes = call.ring_bytes("x", in_x) + call.ring_bytes("past", frames + halo) + call.ring_bytes("y", written)
    nbytes += call.ring_bytes("residual", written) + call.ring_bytes("raw", written) + call.nbytes("weight")
    norm = 20.0 * written * prod(call.shapes["y"][1:]) if "gamma" in call.shapes else 0.0
    # Products of 8-bit floats count half, as in attention.
    return Cost(flops + norm, nbytes, flops / 2 if "sum_scale" in call.shapes else flops)


@_cost
def rms_silu(call: Call) -> Cost:
    frames = call.number("frames")
    elements = frames * prod(call.shapes["x"][1:])
    return Cost(20.0 * elements, call.ring_bytes("x", frames) + call.ring_bytes("y", frames) + call.nbytes("gamma"))


@_cost
def spatial_attention(call: Call) -> Cost:
    tokens, _ = call.shapes["out"]
    flops = 4.0 * call.size("out") * (tokens // call.number("frames"))
    return Cost(flops, call.nbytes("qkv", "out"), flops)


@_cost
def latents_to_tensor(call: Call) -> Cost:
    return Cost(2.0 * call.size("latents"), call.nbytes("latents") + call.size("latents") * call.item("y"))


@_cost
def tensor_to_latents(call: Call) -> Cost:
    return Cost(2.0 * call.size("latents"), call.nbytes("latents") + call.size("latents") * call.item("x"))
