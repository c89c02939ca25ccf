"""Two engines of one model on the CUDA backend over the mock driver: prints what the second one cost, as JSON.

usage: share_on_mock.py MOCK_LIBRARY
"""

from __future__ import annotations

import ctypes
import json
import sys
from dataclasses import replace

import numpy as np

from penstock.runtime.config import Config
from penstock.runtime.engine import Engine
from penstock.runtime.model import ModelSpec
from penstock.runtime.models.video_stream import stream_plan
from penstock.runtime.vae_spec import TaehvSpec, WanVaeSpec
from tests.cuda.stream_on_mock import WIDTHS, push_chunks, zero_weights

CALLS = ("cuMemAlloc", "cuMemcpyHtoDAsync", "cuMemcpyDtoDAsync", "cuStreamBeginCapture", "cuStreamSynchronize")


def main() -> None:
    mock = ctypes.CDLL(sys.argv[1])
    mock.mock_count.restype = ctypes.c_int64
    coders = {"vae": WanVaeSpec(base_dim=16), "taehv": TaehvSpec(16, 16, (64, 32, 16, 16))}
    model = ModelSpec("mock", WIDTHS["tiny"], **coders)
    config = Config(height=64, width=96, steps=2)

    def counts() -> dict[str, int]:
        return {call: mock.mock_count(call.encode()) for call in CALLS}

    def engine_for(config: Config, weights_from: Engine | None = None) -> Engine:
        plan = stream_plan(model, config)
        return Engine.create(plan, zero_weights(plan), "cuda", weights_from=weights_from)

    def cost(before: dict[str, int]) -> dict[str, int]:
        return {call: count - before[call] for call, count in counts().items()}

    engine = engine_for(config)
    before = counts()
    other = engine_for(replace(config, steps=4), engine)
    seen = {"equal": cost(before)}
    before = counts()
    taehv = engine_for(replace(config, decoder="taehv"), other)
    seen["another decoder"] = cost(before)
    session = engine.session()
    session.set_prompt(np.zeros((5, WIDTHS["tiny"].text_dim), np.float32))
    session.prepare(other)
    session.push(np.zeros(engine.tensor_info("frames_first").shape, np.uint8))
    push_chunks(session, 4)
    before = counts()
    session.switch(other)
    seen["switch"] = cost(before)
    push_chunks(session, 6)
    del engine, taehv, other
    session.flush()
    del session
    seen["left"] = {name: mock.mock_count(name.encode()) for name in ("live handles", "live allocations", "problems")}
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
