"""DLPack's structs by ctypes, for arrays in memory of the mock driver: what another library would give and read."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np


class Tensor(ctypes.Structure):
    """DLTensor of dlpack.h."""

    _fields_ = (
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )  # fmt: skip


DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Managed(ctypes.Structure):
    """DLManagedTensor."""

    _fields_ = (("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", DELETER))


new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype, new_capsule.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)


_kept: list[Producer] = []  # a capsule may outlive its array


class Producer:
    """An array at an address, as a library gives it by DLPack. strides in elements."""

    def __init__(
        self, address: int, shape: Sequence[int], strides: Sequence[int] | None = None,
        dtype: tuple[int, int, int] = (1, 8, 1), device: tuple[int, int] = (2, 0), offset: int = 0,
    ):  # fmt: skip
        self.device, self.streams, self.deleted = device, [], 0
        numbers = ctypes.c_int64 * len(shape)
        self._arrays = numbers(*shape), numbers(*strides) if strides else None
        shape_pointer, strides_pointer = (ctypes.cast(array, ctypes.POINTER(ctypes.c_int64)) for array in self._arrays)
        tensor = Tensor(address - offset, *device, len(shape), *dtype, shape_pointer, strides_pointer, offset)
        self._managed = Managed(tensor, None, DELETER(self._delete))
        _kept.append(self)

    def _delete(self, _: Any) -> None:
        self.deleted += 1

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, stream: int | None = None) -> Any:
        self.streams.append(stream)
        return new_capsule(ctypes.addressof(self._managed), b"dltensor", None)


def read_capsule(capsule: Any) -> tuple[tuple[int, int], tuple[int, int, int], np.ndarray]:
    """Device, dtype and a copy of the bytes of a compact tensor whose memory the host can read."""
    tensor = ctypes.cast(pointer_of(capsule, b"dltensor"), ctypes.POINTER(Managed)).contents.tensor
    assert not tensor.strides and tensor.byte_offset == 0
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    bytes_of = (ctypes.c_uint8 * int(np.prod(shape))).from_address(tensor.data)
    device, dtype = (tensor.device_type, tensor.device_id), (tensor.code, tensor.bits, tensor.lanes)
    return device, dtype, np.frombuffer(bytes_of, np.uint8).reshape(shape).copy()
