"""Run by test_ops.py with the mock driver: every op as the engine replays it on the device, at a tiny shape."""

from __future__ import annotations

import json
from contextlib import nullcontext

from penstock.benchmarks.cost import Peaks, op_cost
from penstock.benchmarks.op_benchmark import find_op, known_ops, random_arrays
from penstock.benchmarks.shapes import find_shape
from penstock.benchmarks.variants import EngineVariant, Rotation, Target, asking_for
from penstock.kernels.nvcc import obstacle

PEAKS = Peaks(8e14, 3e12)
seen = {}
for name in known_ops():
    benchmark = find_op(name)
    shape = find_shape("tiny-64x96-2" if benchmark.kind == "dit" else "tiny-wan-64x96")
    call, _ = shape.calls(name, benchmark.settings, 2)[0]
    rotation = Rotation(2, 2 * Rotation.of(op_cost(call), call, PEAKS, "cuda").repeats // 256)
    with asking_for(name, "cuda") if benchmark.has_cuda_form and obstacle() is None else nullcontext():
        variant = EngineVariant(call, random_arrays(benchmark, call), Target("cuda"), rotation)
    assert variant.result().keys() == call.outputs | call.updates
    assert variant.sample() >= 0
    seen[name] = rotation.repeats
print(json.dumps(seen))
