"""The plan: a static program of ops over named tensors, without any values.

A plan is plain data. Models write it through :class:`PlanBuilder`; the C++ engine reads its JSON form, checks it
against the ops' contracts (symbolic shapes, access, lifetimes) and replays it. See docs/architecture.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from .errors import PenstockError
from .pack import WeightSource
from .scratch import pack_scratch

PLAN_FORMAT = "penstock-plan"
PLAN_VERSION = 1
TENSOR_KINDS = ("weight", "state", "scratch", "input", "output", "view")


@dataclass(frozen=True)
class Tensor:
    """A named dense row-major tensor.

    ``kind`` is one of TENSOR_KINDS, or ``step`` for a field of the step state. dtype ``compute`` is what the device
    computes in: f32 on the CPU backend, bf16 on CUDA. ``offset`` places a scratch tensor in the scratch arena (in
    compute elements) and a view in its ``base`` (in elements of the base). ``init`` fills a step field at creation and
    reset. ``source`` says where a weight's values come from; it is not part of the plan's JSON.

    ``carry`` says what becomes of state and step fields when a stream goes on with another configuration: ``same`` goes
    over as it is, ``own`` is each configuration's own, and ``slots`` has one entry per cache slot along ``slot_axis``,
    which the other configuration may have in another number.
    """

    name: str
    kind: str
    dtype: str
    shape: tuple[int, ...]
    base: str | None = None
    offset: int = 0
    init: tuple[float, ...] | None = None
    carry: str = "same"
    slot_axis: int = 0
    source: WeightSource | None = field(default=None, compare=False, repr=False)

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    def to_dict(self) -> dict[str, Any]:
        record: dict[str, Any] = {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}
        if self.carry != "same":
            record["carry"] = self.carry
        if self.carry == "slots":
            record["slot_axis"] = self.slot_axis
        if self.kind == "step":
            record["init"] = list(self.init or (0,))
            return record
        record["kind"] = self.kind
        if self.kind == "view":
            record["base"] = self.base
        if self.kind in ("view", "scratch"):
            record["offset"] = self.offset
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], kind: str | None = None) -> Tensor:
        init = tuple(record["init"]) if "init" in record else None
        shape = tuple(int(dim) for dim in record["shape"])
        return cls(record["name"], kind or record["kind"], record["dtype"], shape, record.get("base"),
                   record.get("offset", 0), init, record.get("carry", "same"), record.get("slot_axis", 0))  # fmt: skip


@dataclass(frozen=True)
class Op:
    """One call of an op: role → tensor name. A tensor that is updated in place stands in both mappings."""

    op: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    attributes: dict[str, int | float | str]

    def to_dict(self) -> dict[str, Any]:
        return {"op": self.op, "inputs": self.inputs, "outputs": self.outputs, "attributes": self.attributes}


@dataclass
class Plan:
    """A whole program: tensors, step state, and per phase an ordered list of ops."""

    name: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    step_state: dict[str, Tensor]
    phases: dict[str, list[Op]]
    scratch_size: int = 0

    def tensor(self, name: str) -> Tensor:
        """The tensor or step field of that name."""
        found = self.tensors.get(name) or self.step_state.get(name)
        if found is None:
            raise PenstockError(f"plan {self.name!r} has no tensor {name!r}")
        return found

    def of_kind(self, kind: str) -> list[Tensor]:
        return [tensor for tensor in self.tensors.values() if tensor.kind == kind]

    def to_json(self) -> str:
        record = {
            "format": PLAN_FORMAT,
            "version": PLAN_VERSION,
            "name": self.name,
            "config": self.config,
            "scratch_size": self.scratch_size,
            "step_state": [step.to_dict() for step in self.step_state.values()],
            "tensors": [tensor.to_dict() for tensor in self.tensors.values()],
            "phases": {phase: [op.to_dict() for op in ops] for phase, ops in self.phases.items()},
        }
        return json.dumps(record, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str, what: str = "plan") -> Plan:
        """Reads a plan's JSON text. The engine's own check (:meth:`validate`) is the authority on what is valid."""
        try:
            record = json.loads(text)
        except ValueError as error:
            raise PenstockError(f"{what}: not JSON: {error}") from None
        if not isinstance(record, dict) or record.get("format") != PLAN_FORMAT:
            raise PenstockError(f'{what}: expected "format": "{PLAN_FORMAT}"')
        if record.get("version") != PLAN_VERSION:
            raise PenstockError(f"{what}: expected plan version {PLAN_VERSION}, got {record.get('version')!r}")
        try:
            steps = [Tensor.from_dict(step, "step") for step in record["step_state"]]
            tensors = [Tensor.from_dict(tensor) for tensor in record["tensors"]]
            phases = {phase: [Op(**op) for op in ops] for phase, ops in record["phases"].items()}
            return cls(record["name"], record["config"], {t.name: t for t in tensors}, {s.name: s for s in steps},
                       phases, record["scratch_size"])  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PenstockError(f"{what}: malformed plan: {type(error).__name__}: {error}") from None

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PenstockError(f"{path}: cannot read the plan: {error}") from None
        return cls.from_json(text, str(path))

    def validate(self) -> None:
        """Checks structure, lifetimes and every op's contract; PenstockError names the phase, op, role and tensor."""
        from .engine import check_plan

        check_plan(self.to_json())


class PlanBuilder:
    """Writes a plan: declare tensors, open a phase, add ops. Scratch is packed by lifetime in :meth:`finish`."""

    def __init__(self, name: str, config: Mapping[str, Any]):
        self._plan = Plan(name, dict(config), {}, {}, {})
        self._phase: str | None = None

    def _declare(self, table: dict[str, Tensor], tensor: Tensor) -> Tensor:
        if tensor.name in self._plan.tensors or tensor.name in self._plan.step_state:
            raise PenstockError(f"plan {self._plan.name!r}: tensor {tensor.name!r} is declared twice")
        table[tensor.name] = tensor
        return tensor

    def weight(self, name: str, shape: tuple[int, ...], source: WeightSource, dtype: str = "compute") -> Tensor:
        return self._declare(self._plan.tensors, Tensor(name, "weight", dtype, shape, source=source))

    def state(
        self, name: str, shape: tuple[int, ...], dtype: str = "compute", carry: str = "same", slot_axis: int = 0
    ) -> Tensor:
        return self._declare(self._plan.tensors, Tensor(name, "state", dtype, shape, carry=carry, slot_axis=slot_axis))

    def input(self, name: str, shape: tuple[int, ...], dtype: str = "f32") -> Tensor:
        return self._declare(self._plan.tensors, Tensor(name, "input", dtype, shape))

    def output(self, name: str, shape: tuple[int, ...], dtype: str = "f32") -> Tensor:
        return self._declare(self._plan.tensors, Tensor(name, "output", dtype, shape))

    def scratch(self, name: str, shape: tuple[int, ...], dtype: str = "compute") -> Tensor:
        """A temporary of the open phase; its name gets the phase's as prefix."""
        return self._declare(self._plan.tensors, Tensor(f"{self._open_phase()}/{name}", "scratch", dtype, shape))

    def step(
        self, name: str, dtype: str, shape: tuple[int, ...], init: tuple[float, ...] = (0,), carry: str = "same",
        slot_axis: int = 0,
    ) -> Tensor:  # fmt: skip
        """A step-state field; ``init`` holds one value for all elements or one per element."""
        return self._declare(
            self._plan.step_state, Tensor(name, "step", dtype, shape, init=init, carry=carry, slot_axis=slot_axis)
        )

    def view(self, base: Tensor, shape: tuple[int, ...], offset: int = 0) -> Tensor:
        """A contiguous part of ``base`` (or of a view's base), seen with another shape; ``offset`` in elements."""
        if offset == 0 and shape == base.shape:
            return base
        root, start = (base.base, base.offset + offset) if base.kind == "view" else (base.name, offset)
        if start + prod(shape) > self._plan.tensor(root).size:
            raise PenstockError(f"view of {root!r}: {list(shape)} at element {start} does not fit")
        name = f"{root}@{start}:{'x'.join(map(str, shape))}"
        known = self._plan.tensors.get(name)
        return known or self._declare(self._plan.tensors, Tensor(name, "view", base.dtype, shape, root, start))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self._plan.phases[name] = []
        self._phase = name
        yield
        self._phase = None

    def _open_phase(self) -> str:
        if self._phase is None:
            raise PenstockError(f"plan {self._plan.name!r}: no phase is open")
        return self._phase

    def op(
        self,
        op: str,
        inputs: Mapping[str, Tensor | None],
        outputs: Mapping[str, Tensor | None] | None = None,
        updates: Mapping[str, Tensor] | None = None,
        **attributes: int | float | str,
    ) -> None:
        """Adds an op to the open phase. ``updates`` are the roles changed in place; absent optional roles are None."""
        phase = self._plan.phases[self._open_phase()]
        both = {role: tensor.name for role, tensor in (updates or {}).items()}
        read = {role: tensor.name for role, tensor in inputs.items() if tensor is not None}
        written = {role: tensor.name for role, tensor in (outputs or {}).items() if tensor is not None}
        phase.append(Op(op, read | both, written | both, dict(attributes)))

    def finish(self) -> Plan:
        """The plan with its scratch packed."""
        plan = self._plan
        offsets, plan.scratch_size = pack_scratch(plan)
        for name, offset in offsets.items():
            old = plan.tensors[name]
            plan.tensors[name] = Tensor(name, old.kind, old.dtype, old.shape, offset=offset)
        return plan
