"""Triton kernels run on the device where there is one, else in Triton's interpreter (see tests/conftest.py)."""

import torch

if torch.cuda.is_available():
    torch.set_default_device("cuda")
