"""What a Triton kernel is compiled for: the parameters' types, the constants, warps and stages.

A module ``kernels/<op>.py`` holds the kernels of one op, the function that launches them on torch tensors (tests and
benchmarks call it, also in the interpreter), and ``VARIANTS``, the forms that are compiled ahead of time and embedded
in the library (see aot.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Variant:
    """One compiled form of a kernel.

    kernel: the @triton.jit function. types: Triton's spelling of each run-time parameter's type, in order ("*bf16",
    "*fp32", "*i32", "i32", "i64", "u64", "fp32"). constants: the tl.constexpr parameters. divisible: the pointers (as
    addresses) and integers that are multiples of 16, which the engine checks when it binds an op; without it loads are
    not vectorised. needs: instructions that the code for sm_90a must contain ("HGMMA"). fused_multiply_add: whether
    multiplications and additions may be contracted, which rounds once less. architectures: what it is compiled for,
    such as "90a"; everything if empty. The engine asks for a kernel by its name and values of constants.
    """

    kernel: Any
    types: Mapping[str, str]
    constants: Mapping[str, int | float | bool | str]
    divisible: tuple[str, ...] = ()
    warps: int = 4
    stages: int = 3
    needs: tuple[str, ...] = ()
    fused_multiply_add: bool = True
    architectures: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The kernel's name: the function's, less the suffix _kernel."""
        return self.kernel.__name__.removesuffix("_kernel")
