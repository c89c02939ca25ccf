"""Frames as users hand them in: checked, and made uint8 [n, height, width, 3]."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np

from penstock.runtime.device_array import DeviceArray, device_array
from penstock.runtime.errors import PenstockError


def as_any_frames(frames: Any, height: int, width: int, stream: Any = None) -> np.ndarray | DeviceArray:
    """The same as `as_frames`, or uint8 [n, height, width, 3] in CUDA memory, of which nothing is copied.

    Such frames come by DLPack or `__cuda_array_interface__`, with rows at any stride; stream: the caller's CUDA stream,
    in whose order they are read. Raises PenstockError.
    """
    array = device_array(frames, stream)
    if array is None:
        return as_frames(frames, height, width)
    if array.shape == (height, width, 3):
        array = replace(array, shape=(1, *array.shape), strides=(0, *array.strides))
    if len(array.shape) != 4 or array.shape[1:] != (height, width, 3):
        _refuse_shape(array.shape, height, width)
    if array.dtype != "uint8":
        raise PenstockError(f"frames: expected uint8 in device memory, got {array.dtype}")
    return array


def _refuse_shape(shape: Iterable[int], height: int, width: int) -> NoReturn:
    raise PenstockError(f"frames: expected [{height}, {width}, 3] or [n, {height}, {width}, 3], got {list(shape)}")


def as_frames(frames: Any, height: int, width: int) -> np.ndarray:
    """uint8 [n, height, width, 3] of one frame or several, uint8 RGB or float in [0, 1].

    frames: a numpy array, or anything with `__array__` or DLPack on the host. No copy where none is needed. Raises
    PenstockError for another shape, another dtype, and floats that are NaN or out of range.
    """
    array = _as_array(frames)
    if array.shape == (height, width, 3):
        array = array[None]
    if array.ndim != 4 or array.shape[1:] != (height, width, 3):
        _refuse_shape(array.shape, height, width)
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        raise PenstockError(f"frames: expected uint8, or float from 0 to 1, got {array.dtype}")
    return _quantised(array)


def _as_array(frames: Any) -> np.ndarray:
    try:
        if hasattr(frames, "__dlpack__") and not isinstance(frames, np.ndarray):
            return np.from_dlpack(frames)
        return np.asarray(frames)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise PenstockError(f"frames: expected an array on the host, got {type(frames).__name__} ({error})") from None


def _quantised(array: np.ndarray) -> np.ndarray:
    for index, frame in enumerate(array):
        if not np.isfinite(frame).all():
            raise PenstockError(f"frames: expected finite values, got NaN or infinity in frame {index}")
        if frame.size and (frame.min() < 0 or frame.max() > 1):
            found = f"{float(frame.min()):g} to {float(frame.max()):g}"
            raise PenstockError(f"frames: expected floats from 0 to 1, got {found} in frame {index}")
    return np.rint(array.astype(np.float32) * 255).astype(np.uint8)
