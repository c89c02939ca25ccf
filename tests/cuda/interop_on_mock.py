"""Frames of other libraries in device memory, in and out of a Session, over the mock driver. Fails where it goes wrong.

usage: interop_on_mock.py MOCK_LIBRARY
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np

from penstock.runtime.config import Config
from penstock.runtime.device_array import DeviceFrame
from penstock.runtime.engine import Engine
from penstock.runtime.errors import PenstockError
from penstock.runtime.model import ModelSpec
from penstock.runtime.models.video_stream import stream_plan
from penstock.runtime.prompt import Prompt
from penstock.runtime.vae_spec import TaehvSpec
from penstock.session import Session
from tests.cuda.dlpack import Producer, read_capsule
from tests.cuda.stream_on_mock import WIDTHS, zero_weights

HEIGHT, WIDTH = 32, 48
ROW, GAP = 3 * WIDTH, 10
CONFIG = Config(height=HEIGHT, width=WIDTH, steps=1, encoder="taehv", decoder="taehv", latent_norm="normalized")
MODEL = ModelSpec("mock", WIDTHS["tiny"], taehv=TaehvSpec(16, 16, (64, 32, 16, 16)))

mock = ctypes.CDLL(sys.argv[1])
mock.mock_count.restype = ctypes.c_int64
mock.mock_log.restype = ctypes.c_char_p


class DeviceMemory:
    """Bytes on the device, which the mock keeps on the host."""

    def __init__(self, values: np.ndarray):
        self._address = ctypes.c_uint64()
        mock.cuCtxPushCurrent_v2(None)
        assert mock.cuMemAlloc_v2(ctypes.byref(self._address), ctypes.c_size_t(values.nbytes)) == 0
        self.address = self._address.value
        ctypes.memmove(self.address, np.ascontiguousarray(values).ctypes.data, values.nbytes)

    def close(self) -> None:
        mock.cuMemFree_v2(self._address)
        mock.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))


def interface(address: int, shape: tuple[int, ...], strides: tuple[int, ...] | None = None, typestr: str = "|u1",
              **entries: Any) -> Any:  # fmt: skip
    described = {"data": (address, False), "shape": shape, "strides": strides, "typestr": typestr, "version": 3}
    return SimpleNamespace(__cuda_array_interface__=described | entries)


def calls(name: str) -> list[list[int]]:
    """What the driver was given in calls of that name since the last look."""
    log = [json.loads(line) for line in mock.mock_log().decode().splitlines()]
    return [numbers for call, *numbers in log if call == name]


def new_session(engine: Engine, output: str = "cuda") -> Session:
    prompt = Prompt(np.zeros((5, WIDTHS["tiny"].text_dim), np.float32), "", "", 5)
    return Session(lambda _: engine, CONFIG, prompt, lambda _: prompt, output=output)


def message_of(call: Any) -> str:
    try:
        call()
    except PenstockError as error:
        assert "\n" not in str(error)
        return str(error)
    raise AssertionError("nothing was refused")


def pushed(session: Session, name: str = "frames_first") -> np.ndarray:
    return session._open().read(name)


def check_in(engine: Engine, rng: np.random.Generator) -> None:
    frames = rng.integers(0, 256, (5, HEIGHT, WIDTH, 3), np.uint8)
    padded = np.zeros((5, HEIGHT, ROW + GAP), np.uint8)
    padded[:, :, :ROW] = frames.reshape(5, HEIGHT, ROW)
    memory = DeviceMemory(padded)
    in_bytes = (HEIGHT * (ROW + GAP), ROW + GAP, 3, 1)
    compact = DeviceMemory(frames)
    cases: list[tuple[Any, Any, int]] = [  # array, stream=, the stream in whose order it must be read
        (interface(memory.address, frames.shape, in_bytes, stream=77), None, 77),
        (interface(memory.address, frames.shape, in_bytes), None, 1),
        (interface(memory.address, frames.shape, in_bytes, stream=2), SimpleNamespace(cuda_stream=99), 99),
        (interface(compact.address, frames.shape), SimpleNamespace(ptr=0), 1),
        (Producer(memory.address, frames.shape, in_bytes), 88, 88),
        (Producer(compact.address, frames.shape, offset=64), SimpleNamespace(__cuda_stream__=lambda: (0, 5)), 5),
    ]
    for array, stream, expected in cases:
        with new_session(engine) as session:
            calls("")
            downloads, waits = mock.mock_count(b"cuMemcpyDtoHAsync"), mock.mock_count(b"cuStreamSynchronize")
            assert len(session.push(array, stream=stream)) == 5
            assert calls("convert") == [[expected]] * 5
            assert mock.mock_count(b"cuMemcpyDtoHAsync") == downloads
            assert mock.mock_count(b"cuStreamSynchronize") == waits
            np.testing.assert_array_equal(pushed(session), frames)
            if isinstance(array, Producer):
                assert array.streams == [expected] and array.deleted == 1
    with new_session(engine, "host") as session:  # one by one, the last frame upside down, and numpy arrays out
        first = [interface(memory.address + i * in_bytes[0], (HEIGHT, WIDTH, 3), in_bytes[1:]) for i in range(4)]
        last_row = memory.address + 4 * in_bytes[0] + (HEIGHT - 1) * in_bytes[1]
        upside_down = interface(last_row, (HEIGHT, WIDTH, 3), (-in_bytes[1], 3, 1))
        assert session.submit(first[0]) == 1
        assert [session.submit(frame, timestamps=[7]) for frame in [*first[1:], upside_down]] == [1] * 4
        assert session.wait() == 5
        out, stamps = session.pull()
        assert isinstance(out, np.ndarray) and stamps == [0, 7, 7, 7, 7]
        np.testing.assert_array_equal(pushed(session), [*frames[:4], frames[4, ::-1]])
    memory.close()
    compact.close()


def check_out(engine: Engine, rng: np.random.Generator) -> None:
    video, later = (rng.integers(0, 256, (count, HEIGHT, WIDTH, 3), np.uint8) for count in (5, 4))
    session, other = new_session(engine), new_session(engine)
    session._open().write("video_first", video)
    session._open().write("video", later)
    zeros = np.zeros((9, HEIGHT, WIDTH, 3), np.uint8)
    downloads = mock.mock_count(b"cuMemcpyDtoHAsync")
    finished = session.push(zeros[:5])
    assert all(isinstance(frame, DeviceFrame) and frame.shape == (HEIGHT, WIDTH, 3) for frame in finished)
    assert len({frame.__cuda_array_interface__["data"][0] for frame in finished}) == 5
    calls("")
    for frame, expected in zip(finished, video, strict=True):
        assert frame.__dlpack_device__() == (2, 0)
        device, dtype, values = read_capsule(frame.__dlpack__(stream=66))
        assert (device, dtype) == ((2, 0), (1, 8, 1))
        np.testing.assert_array_equal(values, expected)
    assert [stream for stream, _ in calls("wait")] == [66] * 5
    finished[0].__dlpack__(stream=-1)
    assert not calls("wait")
    described = finished[0].__cuda_array_interface__
    assert [stream for stream, _ in calls("wait")] == [described["stream"]] == [1]
    assert described["shape"] == (HEIGHT, WIDTH, 3) and described["typestr"] == "|u1" and not described["strides"]

    other.push(finished[0])  # by its own capsule into another session
    for frame in finished[1:]:
        other.push(SimpleNamespace(__cuda_array_interface__=frame.__cuda_array_interface__), stream=9)
    assert mock.mock_count(b"cuMemcpyDtoHAsync") == downloads
    np.testing.assert_array_equal(pushed(other), video)

    kept, capsule = finished[2], finished[3].__dlpack__(stream=33)
    last = finished.pop().__cuda_array_interface__["data"][0]
    calls("")
    del frame, finished  # the others' memory is used again, behind the streams that had it
    assert sorted(stream for stream, _ in calls("record")) == [1, 1, 1]
    again = session.push(zeros[5:])
    assert len(again) == 4 and last in {frame.__cuda_array_interface__["data"][0] for frame in again}
    session.close()
    other.close()
    np.testing.assert_array_equal(read_capsule(kept.__dlpack__())[2], video[2])
    np.testing.assert_array_equal(read_capsule(capsule)[2], video[3])
    np.testing.assert_array_equal(read_capsule(again[1].__dlpack__())[2], later[1])


def check_errors(engine: Engine) -> None:
    host = np.zeros((5, HEIGHT, WIDTH, 3), np.uint8)
    memory = DeviceMemory(host)
    at, shape = memory.address, host.shape
    bad: dict[str, tuple[Any, Any]] = {
        "frames: expected uint8 in device memory, got float32": (Producer(at, shape, dtype=(2, 32, 1)), None),
        "frames: expected uint8 in device memory, got bfloat16": (Producer(at, shape, dtype=(4, 16, 1)), None),
        "frames: expected uint8 in device memory, got float16": (interface(at, shape, typestr="<f2"), None),
        f"frames: expected [{HEIGHT}, {WIDTH}, 3] or [n, {HEIGHT}, {WIDTH}, 3], got [3, {HEIGHT}, {WIDTH}]": (
            Producer(at, (3, HEIGHT, WIDTH)), None),
        f"frames: expected [{HEIGHT}, {WIDTH}, 3] or [n, {HEIGHT}, {WIDTH}, 3], got []": (interface(at, ()), None),
        "frames: expected rows without gaps between pixels and channels in device memory, got strides "
        f"[0, {WIDTH}, 1, {HEIGHT * WIDTH}]": (
            Producer(at, (HEIGHT, WIDTH, 3), (WIDTH, 1, HEIGHT * WIDTH)), None),
        "frames: expected memory of device cuda:0, got cuda:1": (Producer(at, shape, device=(2, 1)), None),
        "frame: planes[0]: expected memory of device cuda:0 for all of its rows, got memory of no CUDA device": (
            interface(host.ctypes.data, shape), None),
        "frames: expected an array without a mask, got SimpleNamespace": (interface(at, shape, mask=host), None),
        "stream: expected a CUDA stream or its handle, got 'default'": (interface(at, shape), "default"),
        "stream: expected a CUDA stream or its handle, got -5": (interface(at, shape), -5),
        "frames: SimpleNamespace.__cuda_array_interface__ cannot be read ('shape')": (
            SimpleNamespace(__cuda_array_interface__={}), None),
    }  # fmt: skip
    with new_session(engine) as session:
        for expected, (array, stream) in bad.items():
            for call in (session.push, session.submit):
                found = message_of(lambda call=call, array=array, stream=stream: call(array, stream=stream))
                assert found == expected, f"{found!r}, expected {expected!r}"
                session.reset()
            if isinstance(array, Producer):
                assert array.deleted == len(array.streams)
        os.environ["MOCK_MEMORY_DEVICE"] = "3"
        elsewhere = "frame: planes[0]: expected memory of device cuda:0, got memory of cuda:3"
        assert message_of(lambda: session.push(interface(at, shape))) == elsewhere
        del os.environ["MOCK_MEMORY_DEVICE"]
        session.reset()
        (frame, *_) = session.push(interface(at, shape))
        for arguments in ({"copy": True}, {"dl_device": (1, 0)}):
            try:
                frame.__dlpack__(**arguments)
                raise AssertionError("a copy was promised")
            except BufferError:
                pass
    memory.close()


def main() -> None:
    plan = stream_plan(MODEL, CONFIG)
    engine = Engine.create(plan, zero_weights(plan), device="cuda")
    rng = np.random.default_rng(11)
    check_in(engine, rng)
    check_out(engine, rng)
    check_errors(engine)
    del engine
    left = {name: mock.mock_count(name.encode()) for name in ("live handles", "live allocations", "problems")}
    assert not any(left.values()), left


if __name__ == "__main__":
    main()
