"""The engine from Python: typed numpy access over the C ABI's engine and session."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .compiled import _engine
from .config import SCHEDULES
from .cuda_libraries import point_to_cublaslt
from .device_array import DeviceArray, DeviceFrame
from .errors import PenstockError
from .pack import PackedWeight
from .plan import Plan
from .safetensors_io import float32_to_bf16_bits

NUMPY_DTYPES = {"f32": np.float32, "u8": np.uint8, "i32": np.int32, "i64": np.int64, "u64": np.uint64,
                "f16": np.float16, "bf16": np.uint16}  # fmt: skip
OUTPUTS = ("host", "cuda")  # where finished frames are


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

    def session(self, queue: Queue | None = None, output: str = "host") -> Session:
        """A new stream over this engine. output: where finished frames are, "host" or "cuda"."""
        return Session(self, queue or Queue(), output)

    def session_memory_required(self) -> int:
        """Device bytes that one session takes, weights not included."""
        return self._handle.session_memory_required()


@dataclass(frozen=True)
class Queue:
    """How a session takes submitted frames.

    policy: what happens to frames that come faster than the model runs: block (submit waits), drop_oldest, or
    latest_wins. frames: that wait at most, on each side of the model. deadline_ms: from submit or push to finished;
    later frames are counted; 0 for none.
    """

    policy: str = "block"
    frames: int = 16
    deadline_ms: float = 0.0


class Session:
    """One stream's state. One thread at a time, but for submit, submit_end, wait, pull, cancel and the statistics."""

    def __init__(self, engine: Engine, queue: Queue, output: str):
        self.engine = engine
        if output not in OUTPUTS:
            raise PenstockError(f"output: expected {' or '.join(OUTPUTS)}, got {output!r:.80}")
        self._on_device = output == "cuda"
        try:
            self._handle = _engine.Session(
                engine._handle, queue.policy, queue.frames, queue.deadline_ms, self._on_device
            )
        except TypeError as error:
            raise PenstockError(
                f"queue: expected a policy, a number of frames and milliseconds, got {queue}"
            ) from error

    def write(self, name: str, values: Any) -> None:
        """Sets a whole input, state, output or step-state tensor; values are cast to its dtype, shapes must agree.

        bf16 is rounded to nearest even from floats, or taken as it is from uint16 bits, which :meth:`read` gives.
        """
        info = self.engine.tensor_info(name)
        is_rounded = info.dtype == "bf16" and getattr(values, "dtype", None) != np.uint16
        array = np.ascontiguousarray(values, dtype=np.float32 if is_rounded else NUMPY_DTYPES[info.dtype])
        if array.shape != info.shape:
            raise PenstockError(f"tensor {name!r}: expected shape {list(info.shape)}, got {list(array.shape)}")
        self._handle.write(name, float32_to_bf16_bits(array) if is_rounded else array)

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

    def set_timesteps(self, timesteps: Sequence[int]) -> None:
        """One for each denoising step, 1 to 1000, and the noise levels that belong to them."""
        self._handle.set_timesteps(list(timesteps))

    def run(self, phase: str) -> None:
        """Runs one phase of the plan to its end; other Python threads go on meanwhile."""
        self._handle.run(phase)

    def push(self, frames: np.ndarray | DeviceArray, timestamps: Sequence[int] | None = None) -> None:
        """Takes frames uint8 [n, height, width, 3] and runs every chunk that they complete.

        A DeviceArray is read in the order of its stream. timestamps: n integers, which come out again with the frames
        in their places; default zeros.
        """
        self._handle.push(*self._frames(frames, timestamps))

    def submit(
        self, frames: np.ndarray | DeviceArray, timestamps: Sequence[int] | None = None, timeout_ms: int = -1
    ) -> int:
        """Puts frames into the queue of the session's worker; how many it took, all unless the time ran out for one.

        timeout_ms: for each frame, under the policy block; negative: for ever.
        """
        return self._handle.submit(*self._frames(frames, timestamps), timeout_ms)

    def _frames(self, frames: np.ndarray | DeviceArray, timestamps: Sequence[int] | None) -> tuple[Any, list[int]]:
        if not self.engine.has_tensor("frames"):
            raise PenstockError("frames: this plan takes no frames")
        expected = self.engine.tensor_info("frames").shape[1:]
        if frames.dtype != "uint8" or frames.shape[1:] != expected:
            raise PenstockError(f"frames: expected uint8 [n, {', '.join(map(str, expected))}], got {frames.dtype} "
                                f"{list(frames.shape)}")  # fmt: skip
        stamps = [0] * len(frames) if timestamps is None else list(timestamps)
        if len(stamps) != len(frames) or not all(type(s) is int and -(2**63) <= s < 2**63 for s in stamps):
            raise PenstockError(f"timestamps: expected {len(frames)} integers of 64 bits, got {stamps!r:.80}")
        if isinstance(frames, np.ndarray):
            return np.ascontiguousarray(frames), stamps
        frame_stride, row_stride, *pixel = frames.strides
        if pixel != [3, 1]:
            raise PenstockError(f"frames: expected rows without gaps between pixels and channels in device memory, "
                                f"got strides {list(frames.strides)}")  # fmt: skip
        return _engine.DeviceFrames(frames.address, frames.shape, frame_stride, row_stride, frames.stream), stamps

    def submit_end(self) -> None:
        """The frame submitted last was the last: the worker flushes behind it. Does not wait."""
        self._handle.submit_end()

    def wait(self, timeout_ms: int = -1) -> int | None:
        """Waits for finished frames: their number, 0 at the stream's end, None where the time ran out."""
        return self._handle.wait(timeout_ms)

    def cancel(self) -> None:
        """Stops what runs before its next phase; only reset lets the session go on."""
        self._handle.cancel()

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

    def pull(self) -> np.ndarray | list[DeviceFrame]:
        """All finished frames that were not pulled yet, uint8 [n, height, width, 3], or as many device frames."""
        return self.pull_stamped()[0]

    def pull_stamped(self) -> tuple[np.ndarray | list[DeviceFrame], list[int]]:
        """The same, and the timestamp of each frame."""
        count, shape = self._handle.poll(), self.engine.tensor_info("video").shape[1:]
        if self._on_device:
            taken = [picture for _ in range(count) if (picture := self._handle.take()) is not None]
            return [DeviceFrame(picture, shape) for picture in taken], [picture.timestamp for picture in taken]
        frames = np.empty((count, *shape), np.uint8)
        stamps = self._handle.pull(frames)
        return frames[: len(stamps)], stamps

    def reset(self) -> None:
        """Back to the state after creation; the prompt must be set again."""
        self._handle.reset()

    def stats(self) -> dict[str, Any]:
        """What `penstock_session_stats` holds, by name."""
        return self._handle.stats()

    def phase_stats(self, phase: str) -> dict[str, Any]:
        """runs, last_ms and total_ms of one phase."""
        return self._handle.phase_stats(phase)
