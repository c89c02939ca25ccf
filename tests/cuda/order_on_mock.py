"""Streams on the CUDA backend over the mock driver under the schedule throughput, and prints what it saw, as JSON:

    tensors   name -> [address, bytes] of every tensor that a host can read
    weights   [address, bytes] of what was uploaded before there was a session
    access    phase -> {tensor: "r" or "w"}, from the plan's ops
    graphs    ["graph", handle, addresses that its kernels are given], in the order of the plan's phases
    log       the driver's calls, from the weights' upload on

usage: order_on_mock.py MOCK_LIBRARY CONFIG_JSON
"""

from __future__ import annotations

import ctypes
import json
import sys
from typing import Any

import numpy as np

from penstock.runtime.config import Config
from penstock.runtime.engine import Engine, Session
from penstock.runtime.model import ModelSpec
from penstock.runtime.models.video_stream import stream_plan
from penstock.runtime.plan import Plan
from penstock.runtime.vae_spec import TaehvSpec, WanVaeSpec
from tests.cuda.stream_on_mock import WIDTHS, push_chunks, zero_weights

CHUNKS = 6


def access_of(plan: Plan) -> dict[str, dict[str, str]]:
    """What every phase reads or writes of the tensors that outlive it."""
    phases: dict[str, dict[str, str]] = {}
    for phase, ops in plan.phases.items():
        seen = phases[phase] = {}
        for op in ops:
            for names, how in ((op.inputs, "r"), (op.outputs, "w")):
                for name in names.values():
                    tensor = plan.tensor(name)
                    root = plan.tensor(tensor.base) if tensor.base else tensor
                    if root.kind not in ("weight", "scratch"):
                        seen[root.name] = max(seen.get(root.name, "r"), how)
    return phases


def taken_log(mock: ctypes.CDLL) -> list[list[Any]]:
    return [json.loads(line) for line in mock.mock_log().decode().splitlines()]


def addresses(session: Session, plan: Plan, mock: ctypes.CDLL) -> dict[str, tuple[int, int]]:
    """Where a tensor is shows when it is read."""
    found = {}
    for tensor in [*plan.tensors.values(), *plan.step_state.values()]:
        if tensor.kind in ("state", "input", "output", "step"):
            mock.mock_log()
            session.read(tensor.name)
            downloads = [entry for entry in taken_log(mock) if entry[0] == "download"]
            found[tensor.name] = (downloads[0][2], sum(entry[3] for entry in downloads))
    return found


def main() -> None:
    mock = ctypes.CDLL(sys.argv[1])
    mock.mock_log.restype = ctypes.c_char_p
    coders = {"vae": WanVaeSpec(base_dim=16), "taehv": TaehvSpec(16, 16, (64, 32, 16, 16))}
    config = Config(**json.loads(sys.argv[2]))
    plan = stream_plan(ModelSpec("mock", WIDTHS["tiny"], **coders), config)
    engine = Engine.create(plan, zero_weights(plan), device="cuda", schedule="throughput")
    loading = taken_log(mock)
    weights = [entry[2:] for entry in loading if entry[0] == "upload"]
    session = engine.session()
    creation = taken_log(mock)
    graphs = [entry for entry in creation if entry[0] == "graph"]
    tensors = addresses(session, plan, mock)
    mock.mock_log()
    session.set_prompt(np.zeros((5, WIDTHS["tiny"].text_dim), np.float32))
    session.push(np.zeros(engine.tensor_info("frames_first").shape, np.uint8))
    for _ in range(CHUNKS):
        session.write("noise_scale", [0.5])
        session.write("timestep", np.full(config.steps, 500.0))
        push_chunks(session, 1)
    session.flush()
    print(json.dumps({"tensors": tensors, "weights": weights, "access": access_of(plan), "graphs": graphs,
                      "log": loading + creation + taken_log(mock)}))  # fmt: skip


if __name__ == "__main__":
    main()
