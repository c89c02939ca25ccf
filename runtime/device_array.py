"""Arrays in a GPU's memory as other libraries hand them over: DLPack and `__cuda_array_interface__`, both ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .compiled import _engine
from .errors import PenstockError

CUDA, CUDA_MANAGED = 2, 13  # DLPack's types of device
LEGACY_STREAM = 1  # the default stream, as both protocols and the driver name it
DEVICE = 0  # that engines are on
_FOREIGN = (TypeError, ValueError, RuntimeError, BufferError)  # what other libraries' protocols raise
_DLPACK_KINDS = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 5: "complex", 6: "bool"}


@dataclass(frozen=True)
class DeviceArray:
    """address of the first element; shape; strides in bytes; dtype by name; stream: in whose order it is ready, and may
    be changed again. owner keeps the memory."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    stream: int
    owner: Any

    def __len__(self) -> int:
        return self.shape[0]


def stream_handle(stream: Any) -> int | None:
    """The CUstream of a handle, or of an object with `cuda_stream` (torch), `ptr` (cupy) or `__cuda_stream__`.

    None stays None; 0 is the default stream, too. Raises PenstockError.
    """
    if stream is None:
        return None
    handle = stream
    if hasattr(stream, "__cuda_stream__"):
        handle = stream.__cuda_stream__()[1]
    elif type(stream) is not int:
        handle = getattr(stream, "cuda_stream", getattr(stream, "ptr", None))
    if type(handle) is not int or handle < 0 or handle >= 1 << 64:
        raise PenstockError(f"stream: expected a CUDA stream or its handle, got {stream!r:.80}")
    return handle or LEGACY_STREAM


def device_array(value: Any, stream: Any = None) -> DeviceArray | None:
    """What lies in CUDA memory; None for everything else.

    stream: the caller's, in whose order the array will be read. Default the one that `__cuda_array_interface__` names,
    or else the default stream; for DLPack the producer orders its own work before it. Raises PenstockError.
    """
    handle = stream_handle(stream)
    if hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__"):
        kind, number = _device_of(value)
        return _by_dlpack(value, number, handle or LEGACY_STREAM) if kind in (CUDA, CUDA_MANAGED) else None
    if hasattr(value, "__cuda_array_interface__"):
        return _by_interface(value, handle)
    return None


def _device_of(value: Any) -> tuple[int, int]:
    try:
        kind, number = value.__dlpack_device__()
        return int(kind), int(number)
    except _FOREIGN as error:
        raise PenstockError(f"frames: {type(value).__name__} is on no device of DLPack ({error})") from None


def _by_dlpack(value: Any, number: int, stream: int) -> DeviceArray:
    if number != DEVICE:
        raise PenstockError(f"frames: expected memory of device cuda:{DEVICE}, got cuda:{number}")
    try:
        tensor = _engine.DlpackTensor(value.__dlpack__(stream=stream))
    except _FOREIGN as error:
        raise PenstockError(f"frames: {type(value).__name__} gives no DLPack tensor ({error})") from None
    code, bits, lanes = tensor.dtype
    dtype = f"{_DLPACK_KINDS.get(code, f'type {code} of ')}{bits}{f'x{lanes}' if lanes != 1 else ''}"
    shape = tuple(tensor.shape)
    item = bits * lanes // 8
    strides = _compact(shape, item) if tensor.strides is None else tuple(item * step for step in tensor.strides)
    return DeviceArray(tensor.address, shape, strides, dtype, stream, tensor)


def _by_interface(value: Any, stream: int | None) -> DeviceArray:
    try:
        described = value.__cuda_array_interface__
        shape, dtype = tuple(map(int, described["shape"])), np.dtype(described["typestr"])
        address = int(described["data"][0])
        strides = described.get("strides")
        strides = _compact(shape, dtype.itemsize) if strides is None else tuple(map(int, strides))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise PenstockError(
            f"frames: {type(value).__name__}.__cuda_array_interface__ cannot be read ({error})"
        ) from None
    if described.get("mask") is not None:
        raise PenstockError(f"frames: expected an array without a mask, got {type(value).__name__}")
    ready = stream or stream_handle(described.get("stream")) or LEGACY_STREAM
    return DeviceArray(address, shape, strides, dtype.name, ready, value)


def _compact(shape: Sequence[int], item: int) -> tuple[int, ...]:
    strides = [item]
    for size in reversed(shape[1:]):
        strides.insert(0, strides[0] * size)
    return tuple(strides[: len(shape)])


class DeviceFrame:
    """A finished frame uint8 [height, width, 3] in device memory, for `torch.from_dlpack` and whoever else reads DLPack
    or `__cuda_array_interface__`. No copy: it is the engine's memory, used again when nobody has the frame any more,
    behind what then stands in the stream that it was last handed to."""

    dtype = np.dtype(np.uint8)

    def __init__(self, picture: Any, shape: tuple[int, ...]):
        self._picture = picture
        self.shape = shape

    @property
    def timestamp(self) -> int:
        """That of the frame that went in."""
        return self._picture.timestamp

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, DEVICE

    def __dlpack__(self, *, stream: int | None = None, max_version: Any = None, dl_device: Any = None,
                   copy: bool | None = None) -> Any:  # fmt: skip
        """A capsule "dltensor", complete in the order of `stream`; None is the default stream, -1 asks for no order."""
        if dl_device not in (None, self.__dlpack_device__()) or copy:
            raise BufferError(f"a frame of cuda:{DEVICE} can be handed over there and without a copy only")
        if stream != -1:
            self._picture.order(stream_handle(stream) or LEGACY_STREAM)
        return self._picture.to_dlpack(DEVICE)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        self._picture.order(LEGACY_STREAM)
        return {"shape": self.shape, "typestr": "|u1", "data": (self._picture.address, False), "strides": None,
                "stream": LEGACY_STREAM, "version": 3}  # fmt: skip
