"""Device frames of other libraries from Python: DLPack and `__cuda_array_interface__`, in and out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from penstock import _engine
from penstock.runtime.engine import query_system


@pytest.mark.skipif(not query_system()["has_cuda_backend"], reason="this build has no CUDA kernels")
def test_frames_of_other_libraries(run_with_driver: Callable, mock_driver: Path) -> None:
    result = run_with_driver(str(Path(__file__).with_name("interop_on_mock.py")), str(mock_driver))
    assert result.returncode == 0, result.stdout + result.stderr


def test_dlpack_of_numpy_and_torch() -> None:
    """The layout of DLPack's structs, as libraries that nobody here wrote fill them."""
    array = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)[:, ::2]
    tensor = torch.arange(24, dtype=torch.bfloat16).reshape(2, 3, 4)[1:].permute(0, 2, 1)
    for value, address, dtype in ((array, array.ctypes.data, (1, 8, 1)), (tensor, tensor.data_ptr(), (4, 16, 1))):
        strides = [step // value.itemsize for step in value.strides] if value is array else list(tensor.stride())
        capsule = value.__dlpack__()
        read = _engine.DlpackTensor(capsule)
        assert (read.address, read.shape, read.strides, read.dtype) == (address, list(value.shape), strides, dtype)
        with pytest.raises(ValueError, match="PyCapsule_GetPointer"):
            _engine.DlpackTensor(capsule)  # it was taken
