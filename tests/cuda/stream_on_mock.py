"""Streams a few chunks on the CUDA backend over the mock driver and prints what it saw of the driver, as JSON.

usage: stream_on_mock.py MOCK_LIBRARY CONFIG_JSON
"""

from __future__ import annotations

import ctypes
import json
import sys
from typing import Any

import numpy as np

from penstock.runtime.config import Config
from penstock.runtime.dit_spec import DitSpec
from penstock.runtime.engine import Engine, Session
from penstock.runtime.model import ModelSpec
from penstock.runtime.models.video_stream import stream_plan
from penstock.runtime.pack import PackedWeight
from penstock.runtime.plan import Plan
from penstock.runtime.vae_spec import TaehvSpec, WanVaeSpec

CALLS = ("cuMemAlloc", "cuMemHostAlloc", "cuStreamSynchronize", "cuEventSynchronize", "cuGraphLaunch",
         "cuLaunchKernel", "cublasLtMatmul", "cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync", "cuModuleLoadData")  # fmt: skip
LAUNCHES = ("launch rolling_attention_kernel", "launch rolling_attention_sm90", "launch merge_attention_kernel",
            "launch causal_conv3d_kernel", "launch causal_conv3d_sm90", "cuTensorMapEncodeTiled")  # fmt: skip
WIDTHS = {
    "1.3b": DitSpec(dim=1536, ffn_dim=8960, heads=12, layers=1),
    "14b": DitSpec(dim=5120, ffn_dim=13824, heads=40, layers=1),
    "tiny": DitSpec(dim=256, ffn_dim=1024, heads=2, layers=2, text_len=128, text_dim=256),
}


def zero_weights(plan: Plan) -> Any:
    """Weights that cost nothing to make: the mock does not compute."""
    for tensor in plan.of_kind("weight"):
        dtype = "bf16" if tensor.dtype == "compute" else tensor.dtype
        zeros = np.zeros(tensor.size * {"u8": 1, "bf16": 2}.get(dtype, 4), np.uint8)
        yield PackedWeight(tensor.name, dtype, tensor.shape, (zeros,))


def push_chunks(session: Session, chunks: int) -> int:
    frames = session.engine.tensor_info("frames").shape
    finished = 0
    for _ in range(chunks):
        session.push(np.zeros(frames, np.uint8))
        finished += len(session.pull())
    return finished


def main() -> None:
    mock = ctypes.CDLL(sys.argv[1])
    mock.mock_count.restype = ctypes.c_int64
    settings = json.loads(sys.argv[2])
    coders = {"vae": WanVaeSpec(), "taehv": TaehvSpec()}
    if (width := settings.pop("width_of", "tiny")) == "tiny" and not settings.pop("wide_coders", False):
        coders = {"vae": WanVaeSpec(base_dim=16), "taehv": TaehvSpec(16, 16, (64, 32, 16, 16))}
    config = Config(**settings)
    plan = stream_plan(ModelSpec("mock", WIDTHS[width], **coders), config)

    def counts() -> dict[str, int]:
        return {call: mock.mock_count(call.encode()) for call in (*CALLS, *LAUNCHES)}

    engine = Engine.create(plan, zero_weights(plan), device="cuda")
    session = engine.session()
    session.set_prompt(np.zeros((5, WIDTHS[width].text_dim), np.float32))
    session.push(np.zeros(engine.tensor_info("frames_first").shape, np.uint8))
    session.pull()
    push_chunks(session, 2 + config.slots)  # until the staging buffers and the stream batch are in their stride
    before = counts()
    chunks = 5
    finished = push_chunks(session, chunks)
    after = counts()
    stats = session.stats()
    del session, engine
    left = {name: mock.mock_count(name.encode()) for name in ("live handles", "live allocations", "problems")}
    steady = {call: (after[call] - before[call]) / chunks for call in CALLS}
    print(json.dumps({"steady": steady, "captured": before, "finished": finished, "stats": stats, "left": left}))


if __name__ == "__main__":
    main()
