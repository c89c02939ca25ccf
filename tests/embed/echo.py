"""A session of the echo engine by ctypes, in any pixel format, for tests of what hosts get."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

from .conftest import PACKAGE

SIZE = 16
RGB, RGBA, BGRA, NV12 = range(4)
# By penstock_color: weights of red and blue in Y, limited range.
COLORS = {0: (0.2126, 0.0722, True), 1: (0.2126, 0.0722, False), 2: (0.299, 0.114, True), 3: (0.299, 0.114, False)}


class Frame(ctypes.Structure):
    """penstock_frame, as a binding in another language would write it."""

    _fields_ = (
        ("struct_size", ctypes.c_uint32), ("format", ctypes.c_int), ("memory", ctypes.c_int), ("color", ctypes.c_int),
        ("width", ctypes.c_int32), ("height", ctypes.c_int32), ("planes", ctypes.c_void_p * 2),
        ("strides", ctypes.c_int64 * 2), ("timestamp", ctypes.c_int64), ("cuda_stream", ctypes.c_void_p),
    )  # fmt: skip


class Echo:
    """A session of the echo engine: one picture in, the same out, each in a format of its own."""

    def __init__(self, directory: Path, height: int = SIZE, width: int = SIZE):
        self.height, self.width = height, width
        self.library = ctypes.CDLL(str(PACKAGE / "lib" / "libpenstock.so"))
        self.library.penstock_last_error.restype = ctypes.c_char_p
        self.engine, self.session = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("engine_open", str(directory).encode(), None, ctypes.byref(self.engine))
        self.call("session_create", self.engine, None, ctypes.byref(self.session))

    def call(self, name: str, *arguments: object) -> None:
        status = getattr(self.library, f"penstock_{name}")(*arguments)
        assert status == 0, self.library.penstock_last_error()

    def close(self) -> None:
        self.library.penstock_session_free(self.session)
        self.library.penstock_engine_free(self.engine)

    def through(self, planes: list[np.ndarray], frame_format: int, out: list[np.ndarray], out_format: int,
                color: int = 0) -> None:  # fmt: skip
        self.call("session_reset", self.session)
        self.call("session_push", self.session, ctypes.byref(self.frame(planes, frame_format, color)))
        self.call("session_flush", self.session)
        self.call("session_pull", self.session, ctypes.byref(self.frame(out, out_format, color)))

    def frame(self, planes: list[np.ndarray], frame_format: int, color: int) -> Frame:
        frame = Frame(struct_size=ctypes.sizeof(Frame), format=frame_format, color=color, width=self.width,
                      height=self.height)  # fmt: skip
        for i, plane in enumerate(planes):
            frame.planes[i], frame.strides[i] = plane.ctypes.data, plane.strides[0]
        return frame
