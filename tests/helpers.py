"""One-op plans on the CPU engine, and the rule by which their results are accepted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from penstock.kernels import reference, reference_cache
from penstock.runtime.engine import NUMPY_DTYPES, Engine
from penstock.runtime.plan import PlanBuilder

Arrays = dict[str, np.ndarray]

# Roles that are float32 on every device, where the op's other floats are `compute`.
F32_ROLES = {"timestep", "sigma", "next_sigma", "noise_scale", "latents", "noise", "flow", "x0", "rope", "mean", "std"}
F32_ROLES |= {"k_mean", "k_scale", "v_scale", "initial_scale", "first_timestep", "table_timesteps", "table_sigmas"}
F32_ROLES |= {"sum_scale", "y_scale"}
F32_LATENTS = {"patchify", "unpatchify", "noise_mix", "renoise"}  # ops whose role x holds latents
INTEGER_DTYPES = {np.dtype(numpy): name for name, numpy in NUMPY_DTYPES.items() if name in ("u8", "i32", "i64", "u64")}


def relative_l2(actual: Any, expected: Any) -> float:
    """||actual - expected|| / ||expected||, in float64; the absolute norm where nothing is expected."""
    actual, expected = (torch.as_tensor(values).double().flatten() for values in (actual, expected))
    assert actual.shape == expected.shape, f"{tuple(actual.shape)} elements against {tuple(expected.shape)}"
    return float((actual - expected).norm() / (expected.norm() or 1.0))


def run_op(
    name: str,
    inputs: Arrays,
    outputs: Mapping[str, tuple[int, ...] | np.ndarray],
    updates: Arrays | None = None,
    threads: int = 1,
    runs: int = 1,
    **attributes: int | float | str,
) -> Arrays:
    """What the CPU engine makes of a plan of one op: the outputs and the updated tensors by role.

    outputs: a shape, or an array whose dtype counts too. Every run starts from the same values, the outputs poisoned,
    and must give the same bits.
    """
    updates = updates or {}
    poisoned = {role: _poison(role, like) for role, like in outputs.items()}
    plan = PlanBuilder(name, {})

    def declare(add: Callable[..., Any], tensors: Arrays) -> dict[str, Any]:
        return {role: add(role, values.shape, dtype=_dtype(name, role, values)) for role, values in tensors.items()}

    roles = [declare(plan.input, inputs), declare(plan.output, poisoned), declare(plan.state, updates)]
    with plan.phase("run"):
        plan.op(name, *roles, **attributes)
    session = Engine.create(plan.finish(), [], device="cpu", threads=threads).session()

    def run() -> Arrays:
        for role, values in {**inputs, **poisoned, **updates}.items():
            session.write(role, values)
        session.run("run")
        return {role: session.read(role) for role in (*poisoned, *updates)}

    first = run()
    for _ in range(runs - 1):
        assert_same_bits(run(), first, "from run to run")
    return first


def check_op(
    name: str,
    inputs: Arrays,
    outputs: Mapping[str, tuple[int, ...]],
    updates: Arrays | None = None,
    expected: Callable[[dict[str, torch.Tensor]], reference.Outputs] | None = None,
    atol: float = 5e-7,
    **attributes: int | float | str,
) -> Arrays:
    """Runs an op with 1 and 2 threads, which must agree to the bit, and compares it with its reference; returns it.

    Accepted is a relative L2 error against float64 of twice that of the plain float32 computation, plus atol. NaN
    stands where the reference has it (poison that nothing may touch) and nowhere else. ``expected`` calls the reference
    function on the tensors, where the roles and attributes alone are not its arguments.
    """
    actual = run_op(name, inputs, outputs, updates, threads=1, **attributes)
    threaded = run_op(name, inputs, outputs, updates, threads=2, runs=2, **attributes)
    assert_same_bits(threaded, actual, "for 1 and 2 threads")
    module = reference if hasattr(reference, name) else reference_cache
    call = expected or (lambda tensors: getattr(module, name)(**tensors, **attributes))
    tensors = {**inputs, **(updates or {})}
    exact, plain = (call(_as_torch(tensors, dtype)) for dtype in (torch.float64, torch.float32))
    assert actual.keys() == exact.keys()
    for role, values in actual.items():
        assert_accurate(values, exact[role], plain[role], atol, f"{name}: {role}")
    return actual


def assert_accurate(actual: np.ndarray, exact: torch.Tensor, plain: torch.Tensor, atol: float, what: str) -> None:
    """The acceptance rule of :func:`check_op` on one tensor."""
    assert tuple(actual.shape) == tuple(exact.shape), what
    assert np.array_equal(np.isnan(actual), torch.isnan(exact).numpy()), f"{what}: NaN in the wrong places"
    error, yardstick = (relative_l2(np.nan_to_num(values), exact.nan_to_num()) for values in (actual, plain.numpy()))
    print(f"{what} {list(actual.shape)}: relative L2 {error:.1e}, plain float32 {yardstick:.1e}")
    assert error <= 2 * yardstick + atol, f"{what}: relative L2 {error:.2e}, plain float32 {yardstick:.2e}"


def assert_same_bits(actual: Arrays, expected: Arrays, when: str) -> None:
    for role, values in expected.items():
        assert actual[role].tobytes() == values.tobytes(), f"{role}: different bits {when}"


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32)


def in_bf16(values: np.ndarray) -> np.ndarray:
    """The nearest values that bf16 holds, so that a device works on the same ones."""
    return torch.from_numpy(values).bfloat16().float().numpy()


def i32(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int32)


def _poison(role: str, like: tuple[int, ...] | np.ndarray) -> np.ndarray:
    array = np.empty(like, np.float32) if isinstance(like, tuple) else np.empty_like(like)
    array.fill(np.nan if array.dtype == np.float32 else 0xA5 if array.dtype == np.uint8 else -(2**31))
    return array


def _dtype(op: str, role: str, values: np.ndarray) -> str:
    if values.dtype in INTEGER_DTYPES:
        return INTEGER_DTYPES[values.dtype]
    return "f32" if role in F32_ROLES or (role == "x" and op in F32_LATENTS) else "compute"


def _as_torch(tensors: Arrays, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    torches = {role: torch.from_numpy(values) for role, values in tensors.items()}
    return {role: values.to(dtype) if values.is_floating_point() else values for role, values in torches.items()}
