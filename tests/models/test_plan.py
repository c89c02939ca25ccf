"""Plans of the presets: text form, scratch packing, and acceptance by the engine."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest

from penstock.runtime.config import MODES, Config
from penstock.runtime.errors import PenstockError
from penstock.runtime.model import PRESETS, preset
from penstock.runtime.models.stream import denoising_plan
from penstock.runtime.plan import Plan, Tensor

BYTES = {"compute": 2, "f32": 4, "i32": 4}  # of a scratch element, in the 2-byte units that scratch is packed in
ALIGNMENT = 128

PUBLISHED: dict[str, dict] = {
    "batch": {"steps": 4},
    "fixed_sinks": {"sink_threshold": -1.0},
    "shared": {"mode": "sequential"},
    "per_step": {"mode": "sequential", "history": "per_step"},
    "text_to_video": {"chunk_latents": 3, "first_latents": 3, "cache_frames": 21, "sink_frames": 0},
}
CONFIGS = {
    **{f"fixed_sinks_{mode}": Config(mode=mode, history="per_step", sink_threshold=-1.0) for mode in MODES},
    **{f"batch_of_{steps}": Config(steps=steps) for steps in (1, 2, 4)},
    **{f"{history}_{steps}": Config(steps=steps, mode="sequential", history=history)
       for history in ("shared", "per_step") for steps in (1, 2, 4)},
    "fast": Config(cache_frames=5, sink_frames=2),
    "square": Config(height=512, width=512),
    "ragged": Config(height=16, width=1040, steps=3),
    "text_to_video": Config(steps=4, timesteps=(1000, 750, 500, 250), chunk_latents=3, first_latents=3,
                            cache_frames=21, sink_frames=0),
    **{f"published_{name}": Config(cache_policy="streamdiffusionv2", **fields) for name, fields in PUBLISHED.items()},
}  # fmt: skip


def plan_of(model: str, config: str) -> Plan:
    return denoising_plan(preset(model), CONFIGS[config])


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("model", PRESETS)
def test_the_engine_accepts_every_preset_in_every_mode(model: str, config: str) -> None:
    plan = plan_of(model, config)
    plan.validate()
    assert {"set_prompt", "denoise_first", "denoise"} <= plan.phases.keys()


@pytest.mark.parametrize("config", CONFIGS)
def test_json_round_trip(config: str) -> None:
    plan = plan_of("tiny", config)
    again = Plan.from_json(plan.to_json())
    assert again == plan
    assert again.to_json() == plan.to_json()


@pytest.mark.parametrize(
    ("config", "writer", "rows"),  # rows: of a ring field, by layer
    [
        ("batch_of_4", "cache_write", 4),
        ("shared_2", "cache_write", 1),
        ("per_step_2", "cache_write", 2),
        ("fixed_sinks_stream_batch", "qk_norm_rope_cache", 2),
        ("fixed_sinks_sequential", "qk_norm_rope_cache", 1),
        ("published_per_step", "cache_write", 2),
        ("published_fixed_sinks", "qk_norm_rope_cache", 2),
    ],
)
def test_every_layer_has_caches_and_ring_fields_of_its_own(config: str, writer: str, rows: int) -> None:
    """As long as nothing refreshes a sink, the rings of all layers move alike: results do not show a mix-up."""
    plan = plan_of("tiny", config)
    slots, layers = CONFIGS[config].slots, preset("tiny").dit.layers
    for op_name, ring in ((writer, "ring_write"), ("rolling_attention", "ring_length")):
        ops = [op for op in plan.phases["denoise"] if op.op == op_name]
        for index, op in enumerate(ops):
            step, layer = divmod(index, layers)
            field, cache = plan.tensor(op.inputs[ring]), plan.tensor(op.inputs["k_cache"])
            row = step if rows > slots else 0
            assert (field.base, field.offset, field.shape) == (ring, layer * rows + row, (slots,))
            assert (cache.base or cache.name) == f"blocks.{layer}.k_cache"


def units(tensor: Tensor) -> int:
    return -(-tensor.size * BYTES[tensor.dtype] // (2 * ALIGNMENT)) * ALIGNMENT


def live_spans(plan: Plan, phase: str) -> dict[str, tuple[int, int]]:
    """Scratch tensor -> first and last op that touch it, itself or through a view."""
    touched: dict[str, list[int]] = {}
    for index, op in enumerate(plan.phases[phase]):
        for name in {*op.inputs.values(), *op.outputs.values()}:
            tensor = plan.tensor(name)
            root = plan.tensor(tensor.base) if tensor.base else tensor
            if root.kind == "scratch":
                touched.setdefault(root.name, []).append(index)
    return {name: (min(indices), max(indices)) for name, indices in touched.items()}


@pytest.mark.parametrize("config", ["batch_of_2", "shared_2", "text_to_video"])
@pytest.mark.parametrize("model", ["tiny", "wan2.1-t2v-1.3b"])
def test_scratch_is_packed_tightly_and_without_overlap(model: str, config: str) -> None:
    plan = plan_of(model, config)
    lower_bound = 0
    for phase, ops in plan.phases.items():
        spans = live_spans(plan, phase)
        for index in range(len(ops)):
            alive = [plan.tensor(name) for name, (first, last) in spans.items() if first <= index <= last]
            lower_bound = max(lower_bound, sum(units(tensor) for tensor in alive))
            for one, other in combinations(alive, 2):
                apart = one.offset + units(one) <= other.offset or other.offset + units(other) <= one.offset
                assert apart, f"{phase}[{index}]: {one.name} and {other.name}"
            assert all(tensor.offset + units(tensor) <= plan.scratch_size for tensor in alive)
    print(f"{model}, {config}: {plan.scratch_size} units, lower bound {lower_bound}")
    assert plan.scratch_size <= 1.3 * lower_bound


def test_the_engine_refuses_scratch_that_overlaps() -> None:
    """The check above and the engine's own are two independent ones: each must see what the other sees."""
    plan = plan_of("tiny", "batch_of_2")
    first_op = next(op for op in plan.phases["denoise"] if op.op == "layernorm_modulate")
    tensors = [plan.tensor(name) for name in (*first_op.inputs.values(), *first_op.outputs.values())]
    one, other = [tensor for tensor in tensors if tensor.kind == "scratch"][:2]
    plan.tensors[other.name] = replace(other, offset=one.offset)
    with pytest.raises(PenstockError, match="alive at the same time"):
        plan.validate()
