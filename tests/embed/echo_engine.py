"""Writes an engine directory whose video phases give back the frames that they take: what a host gets is known exactly.

usage: echo_engine.py DIRECTORY [HEIGHT WIDTH [PRODUCTS]]

The phase denoise multiplies PRODUCTS times two matrices of 256x256, so that a chunk takes some time. prompt.safetensors
is there too, and lands in the tensor prompt_embeddings.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from penstock.runtime.build import PLAN_FILE, WEIGHTS_FILE
from penstock.runtime.plan import Plan, PlanBuilder
from penstock.runtime.prompt import PROMPT_FILE, Prompt, write_prompt
from penstock.runtime.safetensors_io import TensorInfo, write_safetensors

SIDE = 256  # of the matrices
PLAIN = {"stride": 1, "upsample": 1, "time_stride": 1, "interleave": 1, "activation": "none"}
PROMPT = np.arange(24, dtype=np.float32).reshape(3, 8)


def echo_plan(height: int, width: int, products: int) -> Plan:
    plan = PlanBuilder("echo", {})
    plan.step("seed", "u64", (1,))
    plan.step("noise_scale", "f32", (1,), (0.7,))
    prompt = plan.input("prompt_embeddings", (4, 8), "compute")
    plan.step("prompt_length", "i32", (1,))
    scale = plan.weight("scale", (8,), None)
    weight = plan.weight("weight", (SIDE, SIDE), None)
    same = plan.weight("same", (3, 1, 1, 1, 3), None)
    matrix, product = plan.state("matrix", (SIDE, SIDE)), plan.state("product", (SIDE, SIDE))
    with plan.phase("set_prompt"):
        plan.op("rms_norm", {"x": prompt, "weight": scale}, {"y": plan.output("normed", (4, 8), "compute")}, eps=1e-6)
    plan.output("x0", (1, 1))
    for suffix, count in (("_first", 5), ("", 4)):
        frames = plan.input(f"frames{suffix}", (count, height, width, 3), "u8")
        values = plan.state(f"values{suffix}", (count, height, width, 3))
        video = plan.output(f"video{suffix}", (count, height, width, 3), "u8")
        with plan.phase(f"encode{suffix}"):
            roles = {"x": frames, "weight": same}
            plan.op("causal_conv3d", roles, {"y": values}, frames=count, x_range="unit", **PLAIN)
        with plan.phase(f"denoise{suffix}"):
            for _ in range(products):
                plan.op("gemm", {"x": matrix, "weight": weight}, {"y": product}, activation="none")
        with plan.phase(f"decode{suffix}"):
            roles = {"x": values, "weight": same}
            plan.op("causal_conv3d", roles, {"y": video}, frames=count, y_range="unit", **PLAIN)
    return plan.finish()


def write_engine(directory: Path, height: int = 16, width: int = 16, products: int = 1) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    plan = echo_plan(height, width, products)
    plan.validate()
    (directory / PLAN_FILE).write_text(plan.to_json())
    weights = {"scale": np.ones(8, np.float32), "weight": np.ones((SIDE, SIDE), np.float32),
               "same": np.eye(3, dtype=np.float32).reshape(3, 1, 1, 1, 3)}  # fmt: skip
    infos = [TensorInfo.of(name, "F32", values.shape) for name, values in weights.items()]
    write_safetensors(directory / WEIGHTS_FILE, infos, lambda info: [weights[info.name].reshape(-1).view(np.uint8)])
    write_prompt(directory / PROMPT_FILE, Prompt(PROMPT, "a prompt", "test", len(PROMPT)), "F32")


if __name__ == "__main__":
    write_engine(Path(sys.argv[1]), *map(int, sys.argv[2:]))
