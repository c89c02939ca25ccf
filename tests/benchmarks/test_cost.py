"""The cost model against an independent count: published formulas, and torch's FLOP counter on the diffusers models."""

from __future__ import annotations

from collections import defaultdict
from math import prod

import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from torch.utils.flop_counter import FlopCounterMode

from penstock.benchmarks.cost import Call, Cost, known_ops, op_cost, phase_costs
from penstock.benchmarks.op_benchmark import known_ops as measured_ops
from penstock.runtime.config import Config
from penstock.runtime.errors import PenstockError
from penstock.runtime.model import preset
from penstock.runtime.models.video_stream import stream_plan
from penstock.runtime.plan import Plan


def plan_of(model: str, height: int, width: int, steps: int, **fields: object) -> Plan:
    return stream_plan(preset(model), Config(height, width, steps=steps, sink_threshold=-1.0, **fields))


def costs_by_op(plan: Plan, phase: str) -> dict[str, Cost]:
    found: dict[str, Cost] = defaultdict(Cost)
    for op, cost in zip(plan.phases[phase], phase_costs(plan, phase), strict=True):
        found[op.op] += cost
    return found


def matrix_flops(plan: Plan, *phases: str) -> float:
    return sum(cost.matrix_flops for phase in phases for cost in phase_costs(plan, phase))


def dit_by_hand(d: int, ffn: int, layers: int, tokens: int, slots: int) -> tuple[int, int]:
    """FLOPs and bytes of the products and attentions of one forward with a full cache and 512 rows of text.

    2 M K N and 2 (M K + K N + M N) for a product, 4 M L d and 2 (2 M d + 2 L d) for an attention of M tokens over L
    keys in each slot; per layer qkv, o, q, o of width d, FFN up and down; patch embedding and head with 64 features.
    """
    m, keys, text = tokens * slots, 6 * tokens, 512
    products = [(d, 3 * d), (d, d), (d, d), (d, d), (d, ffn), (ffn, d)]
    flops = layers * sum(2 * m * k * n for k, n in products) + 2 * 2 * m * 64 * d
    flops += layers * 4 * m * d * (keys + text)
    elements = layers * sum(m * k + k * n + m * n for k, n in products) + 2 * (m * 64 + 64 * d + m * d)
    elements += layers * (2 * m * d + 2 * slots * keys * d + 2 * m * d + 2 * text * d)
    return flops, 2 * elements


DIMENSIONS = {"wan2.1-t2v-1.3b": (1536, 8960, 30), "wan2.1-t2v-14b": (5120, 13824, 40)}
MATRIX_OPS = ("gemm", "rolling_attention", "cross_attention")


@pytest.mark.parametrize(
    ("model", "height", "width", "slots", "flops", "nbytes"),
    [
        ("wan2.1-t2v-1.3b", 480, 832, 2, 13481064529920, 14021308416),
        ("wan2.1-t2v-14b", 480, 832, 2, 99827476070400, 67076567040),
        ("wan2.1-t2v-1.3b", 720, 1280, 4, None, None),
    ],
)
def test_dit_equals_the_published_count(
    model: str, height: int, width: int, slots: int, flops: int | None, nbytes: int | None
) -> None:
    by_hand = dit_by_hand(*DIMENSIONS[model], height // 16 * (width // 16), slots)
    assert flops is None or by_hand == (flops, nbytes)  # the constants, from another program of the same formulas
    costs = costs_by_op(plan_of(model, height, width, slots), "denoise")
    total = sum((costs[op] for op in MATRIX_OPS), Cost())
    assert (total.flops, total.nbytes) == by_hand
    # Everything else of a forward: 19 d-vectors of traffic per token and layer if it were fused to the last, and the
    # norm of the cross attention's queries (2), which it is not; the modulation tables and one norm are below 3 %.
    vectors = 2 * height // 16 * (width // 16) * slots * DIMENSIONS[model][0] * DIMENSIONS[model][2]
    rest = sum(cost.nbytes for op, cost in costs.items() if op not in (*MATRIX_OPS, "time_embed"))
    assert 20 * vectors <= rest <= 20.6 * vectors


# Wan VAE at 480x832, one chunk of 4 frames: FLOPs of its convolutions (2 per tap, channel in, channel out and pixel),
# and 2 n 384 1536 + 4 n^2 384 for the middle attention with its projections, n = 60 * 104. Not in them: the 1x1x1
# convolutions on the latents, of 32 to 16 (the mean's rows only) and of 16 to 16 channels.
VAE = {"encode": (8051557662720, 2 * 32 * 16), "decode": (13549997260800, 2 * 16 * 16)}


@pytest.mark.parametrize("phase", VAE)
def test_vae_equals_the_published_count(phase: str) -> None:
    published, per_latent = VAE[phase]
    expected = published + per_latent * 60 * 104 - (saved_by_doubling(2, 4, 4) if phase == "decode" else 0)
    assert matrix_flops(plan_of("wan2.1-t2v-1.3b", 480, 832, 2), phase) == expected


def saved_by_doubling(*frames: int) -> int:
    """FLOPs of the decoder's three doublings that 16 products for every 36 save; frames: that each of them makes."""
    layers = ((60, 104, 384, 192), (120, 208, 384, 192), (240, 416, 192, 96))
    return sum(2 * count * prod(layer) * (36 - 16) for count, layer in zip(frames, layers, strict=True))


def counted_flops(run: object) -> int:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        run()
    return counter.get_total_flops()


def test_dit_equals_the_flop_counter_on_diffusers() -> None:
    """The first chunk with one step is plain attention over its two frames; the text is embedded in set_prompt.

    On the device meta: real sizes, no computing.
    """
    with torch.device("meta"):
        model = WanTransformer3DModel(
            num_attention_heads=12, attention_head_dim=128, ffn_dim=8960, num_layers=30, text_dim=4096, freq_dim=256
        )
        x, text = torch.empty(1, 16, 2, 60, 104), torch.empty(1, 512, 4096)
        counted = counted_flops(lambda: model(x, torch.empty(1), text))
    plan = plan_of("wan2.1-t2v-1.3b", 480, 832, 1)
    assert matrix_flops(plan, "set_prompt", "denoise_first") == counted


def test_vae_equals_the_flop_counter_on_diffusers() -> None:
    with torch.device("meta"):
        vae = AutoencoderKLWan()
        video, latents = torch.empty(1, 3, 5, 480, 832), torch.empty(1, 16, 2, 60, 104)
        encoded, decoded = counted_flops(lambda: vae.encode(video)), counted_flops(lambda: vae.decode(latents))
    plan = plan_of("wan2.1-t2v-1.3b", 480, 832, 1)
    # diffusers computes the variance, too: 32 rows of the last 1x1x1 convolution instead of 16, for two latents.
    assert matrix_flops(plan, "encode_first") == encoded - 2 * 60 * 104 * 2 * 32 * 16
    assert matrix_flops(plan, "decode_first") == decoded - saved_by_doubling(1 + 2, 1 + 4, 1 + 4)


def test_state_decides_the_cost_of_attention() -> None:
    op = next(op for op in plan_of("tiny", 64, 96, 2).phases["denoise"] if op.op == "rolling_attention")
    plan = plan_of("tiny", 64, 96, 2)
    full, half = (op_cost(Call.of(plan, op, cache_frames=frames)) for frames in (None, 3))
    assert full.flops == 2 * half.flops == 4 * 48 * 256 * 144
    assert full.nbytes - half.nbytes == 2 * 2 * 72 * 256 * 2
    cross = next(op for op in plan.phases["denoise"] if op.op == "cross_attention")
    assert op_cost(Call.of(plan, cross, prompt_rows=9)).flops == 4 * 48 * 256 * 10
    assert op_cost(Call.of(plan, cross, prompt_rows=128)).flops == 4 * 48 * 256 * 128


def test_rings_cost_their_new_frames_and_halo() -> None:
    shapes = {"x": (9, 8, 6, 32), "x_frame": (1,), "weight": (48, 3, 3, 3, 32), "bias": (48,), "y": (5, 8, 6, 48)}
    attributes = {"frames": 4, "stride": 1, "upsample": 1, "time_stride": 1, "interleave": 1, "activation": "none"}
    call = Call("causal_conv3d", shapes, dict.fromkeys(shapes, "compute"), attributes, frozenset({"y"}))
    assert op_cost(call).nbytes == 2 * (6 * 48 * 32 + 4 * 48 * 48 + 48 * 27 * 32)
    assert op_cost(call).flops == 2 * 4 * 48 * 48 * 27 * 32


def test_every_op_has_a_cost_and_a_benchmark(all_ops: list[str]) -> None:
    assert known_ops() == all_ops == list(measured_ops())


def test_unknown_op() -> None:
    with pytest.raises(PenstockError, match="op 'fft': no cost; known: advance_frames, "):
        op_cost(Call("fft", {}, {}, {}))
