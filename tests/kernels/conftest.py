"""Triton kernels run in its interpreter here, which must be known before triton is imported."""

import os

os.environ.setdefault("TRITON_INTERPRET", "1")
