"""Streams on the CUDA backend over the mock driver until it fails, then tries every call, and prints what they said.

usage: fail_on_mock.py MOCK_LIBRARY SCHEDULE FAILURE

FAILURE: "cuGraphLaunch 5", the fifth such call after the engines were made, and everything after it.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from penstock.runtime.config import Config
from penstock.runtime.engine import Engine, Session
from penstock.runtime.errors import PenstockError
from penstock.runtime.model import ModelSpec
from penstock.runtime.models.video_stream import stream_plan
from penstock.runtime.vae_spec import TaehvSpec
from tests.cuda.stream_on_mock import WIDTHS, push_chunks, zero_weights

CONFIG = Config(height=64, width=96, steps=2, encoder="taehv", decoder="taehv", latent_norm="normalized")

PROMPT = np.zeros((5, WIDTHS["tiny"].text_dim), np.float32)


def message_of(call: Callable[[], Any]) -> str:
    try:
        call()
    except PenstockError as error:
        return str(error)
    return "no error"


def stream(engine: Engine, other: Engine, later: dict[str, str]) -> str:
    """The first failure; what the session says after it goes to `later`."""
    session: Session | None = None
    try:
        session = engine.session()
        session.set_prompt(PROMPT)
        session.push(np.zeros(engine.tensor_info("frames_first").shape, np.uint8))
        push_chunks(session, 30)
    except PenstockError as error:
        frames = np.zeros(engine.tensor_info("frames").shape, np.uint8)
        if session is not None:
            calls = {"push": lambda: session.push(frames), "flush": session.flush, "reset": session.reset,
                     "again": lambda: session.push(frames), "write": lambda: session.write("seed", [1]),
                     "read": lambda: session.read("seed"), "run": lambda: session.run("denoise"),
                     "switch": lambda: session.switch(other), "prepare": lambda: session.prepare(other),
                     "prompt": lambda: session.set_prompt(PROMPT)}  # fmt: skip
            later |= {name: message_of(call) for name, call in calls.items()}
            session.pull()  # what was finished before can still be had
        return str(error)
    return "no error"


def main() -> None:
    mock = ctypes.CDLL(sys.argv[1])
    mock.mock_count.restype = ctypes.c_int64
    model = ModelSpec("mock", WIDTHS["tiny"], taehv=TaehvSpec(16, 16, (64, 32, 16, 16)))
    plan, other_plan = stream_plan(model, CONFIG), stream_plan(model, replace(CONFIG, steps=1))
    engine = Engine.create(plan, zero_weights(plan), "cuda", schedule=sys.argv[2])
    other = Engine.create(other_plan, zero_weights(other_plan), "cuda", weights_from=engine, schedule=sys.argv[2])
    call, number = sys.argv[3].split()
    os.environ["MOCK_FAIL"] = f"{call} {mock.mock_count(call.encode()) + int(number)}"
    later: dict[str, str] = {}
    first = stream(engine, other, later)
    later["session"] = message_of(engine.session)
    del engine, other
    left = {name: mock.mock_count(name.encode()) for name in ("live handles", "live allocations")}
    print(json.dumps({"first": first, "later": later, "left": left}))


if __name__ == "__main__":
    main()
