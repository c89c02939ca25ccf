"""The engine from Python: typed numpy access over the C ABI's engine and session."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .config import SCHEDULES
from .cuda_libraries import point_to_cublaslt
from .errors import PenstockError
from .pack import PackedWeight
from .plan import Plan

try:
    from penstock import _engine
except ImportError as error:  # a checkout that was never built
    raise PenstockError(f"the compiled engine cannot be loaded ({error}); build it with `pip install .`") from None

NUMPY_DTYPES = {"f32": np.float32, "u8": np.uint8, "i32": np.int32, "i64": np.int64, "u64": np.uint64,
                "f16": np.float16, "bf16": np.uint16}  # fmt: skip


@dataclass(frozen=True)
class TensorInfo:
    """A tensor of a plan as the device stores it: kind and dtype as in the plan, shape, bytes."""

    kind: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int


def check_plan(plan_json: str) -> None:
    """Checks a plan's JSON in the engine; PenstockError says what is wrong and where."""
    _engine.check_plan(plan_json)


def query_system() -> dict[str, Any]:
    """What the library was built with and what this machine offers (see ``penstock_system_info``)."""
    return _engine.query_system()


def _is_throughput(schedule: str) -> bool:
    if schedule not in SCHEDULES:
        raise PenstockError(f"schedule: expected one of {', '.join(SCHEDULES)}, got {schedule!r:.80}")
    return schedule == "throughput"


class Engine:
    """A plan with its weights on one device; immutable, shared by any number of sessions."""

    def __init__(self, handle: _engine.Engine):
        self._handle = handle

    @classmethod
    def open(
        cls, directory: str | os.PathLike[str], device: str = "auto", threads: int = 0,
        weights_from: Engine | None = None, schedule: str = "latency",
    ) -> Engine:  # fmt: skip
        """Opens an engine directory that :func:`penstock.runtime.build.build` wrote. threads 0: all cores.

        weights_from: an engine on whose device this one is, too, and with which it shares every weight that is equal.
        schedule of its sessions: "latency", or "throughput", by which frames come out two chunks later, while encoder,
        denoiser and decoder work side by side.
        """
        point_to_cublaslt()
        return cls(
            _engine.Engine.open(
                os.fspath(directory), device, threads, weights_from and weights_from._handle, _is_throughput(schedule)
            )
        )

    @classmethod
    def create(
        cls, plan: Plan, weights: Iterable[PackedWeight], device: str = "auto", threads: int = 0,
        weights_from: Engine | None = None, schedule: str = "latency",
    ) -> Engine:  # fmt: skip
        """An engine from a plan and its weights, which are copied to the device one by one; otherwise like `open`."""
        point_to_cublaslt()
        handle = _engine.Engine.create(
            plan.to_json(), device, threads, weights_from and weights_from._handle, _is_throughput(schedule)
        )
        for weight in weights:
            handle.set_weight(weight.name, weight.dtype, list(weight.shape), weight.bytes())
        return cls(handle)

    def tensor_info(self, name: str) -> TensorInfo:
        return TensorInfo(*self._handle.tensor_info(name))

    def has_tensor(self, name: str) -> bool:
        """Whether the plan has a tensor or step-state field of that name."""
        try:
            self._handle.tensor_info(name)
        except PenstockError:
            return False
        return True

    def session(self) -> Session:
        """A new stream over this engine."""
        return Session(self)

    def session_memory_required(self) -> int:
        """Device bytes that one session takes, weights not included."""
        return self._handle.session_memory_required()


class Session:
    """One stream's state. Not for two threads at a time."""

    def __init__(self, engine: Engine):
        self.engine = engine
        self._handle = _engine.Session(engine._handle)

    def write(self, name: str, values: Any) -> None:
        """Sets a whole input, state, output or step-state tensor; values are cast to its dtype, shapes must agree."""
        info = self.engine.tensor_info(name)
        if info.dtype == "bf16":
            raise PenstockError(
                f"tensor {name!r} is bf16 on this device; only float32 devices can be written from numpy"
            )
        array = np.ascontiguousarray(values, dtype=NUMPY_DTYPES[info.dtype])
        if array.shape != info.shape:
            raise PenstockError(f"tensor {name!r}: expected shape {list(info.shape)}, got {list(array.shape)}")
        self._handle.write(name, array)

    def read(self, name: str) -> np.ndarray:
        """A copy of an input, state, output or step-state tensor (bf16 as uint16 bits)."""
        info = self.engine.tensor_info(name)
        array = np.empty(info.shape, NUMPY_DTYPES[info.dtype])
        self._handle.read(name, array)
        return array

    def read_floats(self, name: str) -> np.ndarray:
        """A copy of a floating-point tensor as float32, whatever the device stores it as."""
        values = self.read(name)
        if values.dtype == np.uint16:
            return (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32)

    def set_prompt(self, embeddings: Any) -> None:
        """Text embeddings [rows <= text_len, text_dim], float; computes the per-prompt constants."""
        array = np.ascontiguousarray(embeddings, dtype=np.float32)
        self._handle.set_prompt("f32", list(array.shape), array)

    def run(self, phase: str) -> None:
        """Runs one phase of the plan to its end; other Python threads go on meanwhile."""
        self._handle.run(phase)

    def push(self, frames: np.ndarray) -> None:
        """Takes frames uint8 [n, height, width, 3] and runs every chunk that they complete."""
        expected = self.engine.tensor_info("frames").shape[1:]
        if frames.dtype != np.uint8 or frames.shape[1:] != expected:
            raise PenstockError(f"frames: expected uint8 [n, {', '.join(map(str, expected))}], got {frames.dtype} "
                                f"{list(frames.shape)}")  # fmt: skip
        self._handle.push(np.ascontiguousarray(frames), len(frames))

    def generate(self, chunks: int) -> None:
        """Text-to-video: runs so many chunks from noise."""
        self._handle.generate(chunks)

    def flush(self) -> None:
        """Ends the stream, so that every pushed frame has its frame out."""
        self._handle.flush()

    def prepare(self, engine: Engine) -> None:
        """Makes ready what `switch` to another configuration's engine needs, and keeps it."""
        self._handle.prepare(engine._handle)

    def switch(self, engine: Engine) -> None:
        """Goes on with another configuration of the model from the next chunk on; its engine shares this one's weights.

        Frames of chunks in flight are finished, and wait to be pulled.
        """
        self._handle.switch(engine._handle)
        self.engine = engine

    def pull(self) -> np.ndarray:
        """All finished frames that were not pulled yet, uint8 [n, height, width, 3]."""
        frames = np.empty((self._handle.available(), *self.engine.tensor_info("video").shape[1:]), np.uint8)
        self._handle.pull(frames, len(frames))
        return frames

    def reset(self) -> None:
        """Back to the state after creation; the prompt must be set again."""
        self._handle.reset()

    def stats(self) -> dict[str, Any]:
        """phases_run, graph_replays, last_phase_ms; frames_in, frames_out and chunks of the stream."""
        return self._handle.stats()

    def phase_stats(self, phase: str) -> dict[str, Any]:
        """runs, last_ms and total_ms of one phase."""
        return self._handle.phase_stats(phase)
