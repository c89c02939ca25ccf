"""What the names of ``precision`` cost in accuracy, on the CPU backend, which rounds as a device does.

    python -m penstock.benchmarks.precision            the tables of docs/quality.md; two minutes of one core

Attention: relative L2 of its output against float64, over a full cache of 6 frames, mean over draws. Streams: PSNR of
the frames of the packaged model against those of the same stream in float32.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from penstock.evaluation.measures import psnr, unit
from penstock.evaluation.quality import Clip, run_clip
from penstock.evaluation.styles import STYLES
from penstock.kernels import reference, reference_cache
from penstock.models import load
from penstock.runtime.config import PRECISIONS

from .cost import Call
from .op_benchmark import Arrays
from .variants import EngineVariant, Rotation, Target

QUERIES, FRAMES, TOKENS, HEADS, HEAD_DIM = 390, 6, 1560, 1, 128
DRAWS = 3
OUTLIERS = 4  # channels with a large mean
KEYS = {"no outliers": (0.0, 0.0), "outliers of 10": (10.0, 0.0), "outliers of 30": (30.0, 0.0),
        "outliers of 30 that turn": (30.0, 0.6)}  # fmt: skip
STREAMS = ({"steps": 1}, {"steps": 2}, {"steps": 4, "mode": "sequential"})
CLIPS, CLIP_FRAMES, SIZE = 2, 33, (96, 96)

Tensors = dict[str, torch.Tensor]


def draw(seed: int, offset: float, turn: float, sharpness: float) -> Tensors:
    """Queries and a full cache. Some channels of the keys have a mean of ``offset``, in pairs that ``turn`` by so many
    radians from frame to frame, as rotary positions turn them; ``sharpness`` is the deviation of the scores."""
    generator = torch.Generator().manual_seed(seed)
    q = sharpness * torch.randn(QUERIES, HEADS * HEAD_DIM, generator=generator)
    keys, values = (torch.randn(FRAMES, TOKENS, HEADS, HEAD_DIM, generator=generator) for _ in "kv")
    angles = turn * torch.arange(FRAMES)[:, None, None]
    for channel in range(0, OUTLIERS, 2):
        keys[..., channel] += offset * torch.cos(angles)
        keys[..., channel + 1] += offset * torch.sin(angles)
    caches = {"k_cache": keys.flatten(0, 1)[None], "v_cache": values.flatten(0, 1)[None]}
    # A device's caches and queries are bf16: what that loses is no part of the comparison.
    return {role: tensor.bfloat16().float() for role, tensor in {"q": q, **caches}.items()}


def quantize(inputs: Tensors, means: str) -> Tensors:
    """Codes, scales and means; ``means``: "frame" as quantize_cache makes them, "first" that of the first frame for
    all, "none"."""
    blocks = -(-TOKENS // 128)
    state = {name: torch.tensor([1]) for name in ("ring_length", "rebase")} | {"ring_write": torch.tensor([0])}
    empty = {"k_codes": torch.zeros(1, FRAMES, HEADS, 128 * blocks, HEAD_DIM, dtype=torch.uint8),
             "v_codes": torch.zeros(1, FRAMES, HEADS, HEAD_DIM, 128 * blocks, dtype=torch.uint8),
             "k_mean": torch.zeros(1, FRAMES, HEADS, HEAD_DIM), "k_scale": torch.zeros(1, FRAMES, HEADS, blocks),
             "v_scale": torch.zeros(1, FRAMES, HEADS, blocks)}  # fmt: skip
    keys, values = inputs["k_cache"], inputs["v_cache"]
    mean = keys[:, :TOKENS].mean(1, keepdim=True) * (means == "first")
    made = reference_cache.quantize_cache(keys - mean, values, **state, **empty, frames=FRAMES, frame_tokens=TOKENS,
                                          smooth=means == "frame")  # fmt: skip
    return made | {"k_mean": made["k_mean"] + mean}


def engine_attention(inputs: Tensors) -> torch.Tensor:
    """rolling_attention_fp8 on the CPU backend."""
    arrays: Arrays = {role: tensor.numpy() for role, tensor in inputs.items()}
    dtypes = {role: "u8" if array.dtype == np.uint8 else "f32" for role, array in arrays.items()}
    arrays |= {"ring_length": np.array([FRAMES], np.int32), "out": np.zeros_like(arrays["q"])}
    dtypes |= {"ring_length": "i32", "q": "compute", "out": "compute"}
    call = Call("rolling_attention_fp8", {role: array.shape for role, array in arrays.items()}, dtypes,
                {"frame_tokens": TOKENS}, frozenset({"out"}))  # fmt: skip
    return torch.from_numpy(EngineVariant(call, arrays, Target("cpu"), Rotation(1, 1)).result()["out"])


def attention_errors(offset: float, turn: float, sharpness: float) -> list[float]:
    """Relative L2 of bf16, and of 8 bits with frame means, with the first frame's, with none."""
    errors = []
    for seed in range(DRAWS):
        inputs = draw(seed, offset, turn, sharpness)
        state = {"ring_length": torch.tensor([FRAMES]), "frame_tokens": TOKENS}
        exact = reference.rolling_attention(**{role: v.double() for role, v in inputs.items()}, **state)["out"]
        plain = reference.rolling_attention(**{role: v.bfloat16() for role, v in inputs.items()}, **state)["out"]
        rounded = [engine_attention({"q": inputs["q"], **quantize(inputs, means)})
                   for means in ("frame", "first", "none")]  # fmt: skip
        errors.append([float((out.double() - exact).norm() / exact.norm()) for out in (plain, *rounded)])
    return np.mean(errors, 0).tolist()


def attention_rows() -> Iterator[str]:
    yield "| keys | deviation of scores | bf16 | fp8 | fp8, first frame's mean | fp8, not smoothed |"
    yield "|---|--:|--:|--:|--:|--:|"
    for sharpness in (1.0, 3.0):
        for name, shape in KEYS.items():
            errors = " | ".join(f"{error:.4f}" for error in attention_errors(*shape, sharpness))
            yield f"| {name} | {sharpness:.0f} | {errors} |"


def stream_rows() -> Iterator[str]:
    model, clips = load("tiny"), [Clip.procedural(index, CLIP_FRAMES, SIZE) for index in range(CLIPS)]
    heads = [f"{name}: {what}" for name in PRECISIONS for what in ("mean PSNR dB", "lowest of a frame")]
    yield "| " + " | ".join(["stream", *heads]) + " |"
    yield "|---" + "|--:" * len(heads) + "|"
    for fields in STREAMS:
        values: dict[str, list[float]] = {name: [] for name in PRECISIONS}
        for style in STYLES[::3]:
            for clip in clips:
                exact, *others = (run_clip(model, style, clip.frames, {**fields, "device": "cpu", "precision": name})
                                  for name in ("", *PRECISIONS))  # fmt: skip
                for name, frames in zip(PRECISIONS, others, strict=True):
                    values[name] += [psnr(unit(one), unit(other)) for one, other in zip(frames, exact, strict=True)]
        name = ", ".join(f"{key} {value}" for key, value in fields.items())
        cells = " | ".join(f"{np.mean(found):.1f} | {np.min(found):.1f}" for found in values.values())
        yield f"| tiny, {SIZE[0]}x{SIZE[1]}, {name} | {cells} |"


def main() -> None:
    for rows in (attention_rows, stream_rows):
        for row in rows():
            print(row, flush=True)
        print()


if __name__ == "__main__":
    main()
