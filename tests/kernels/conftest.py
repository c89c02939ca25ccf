"""Triton kernels run on the device where there is one, else in Triton's interpreter.

The interpreter must be chosen before triton is imported.
"""

import os

import torch

if torch.cuda.is_available():
    torch.set_default_device("cuda")
else:
    os.environ.setdefault("TRITON_INTERPRET", "1")
