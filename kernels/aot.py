"""Compiles the kernels ahead of time into one file, which is embedded in the library.

    python -m penstock.kernels.aot -o kernels.safetensors --arch 90a

Every VARIANTS of the modules beside this one is compiled for every architecture. That needs the triton package and
neither a GPU nor torch; the few kernels in CUDA C++ need nvcc, and are left out where it is missing. Results of Triton
are kept in its cache, by the hash of source, options and Triton itself, so that a second run only looks them up.

The file is a safetensors file: a cubin is a U8 tensor, padded with zeros to a multiple of 16 bytes, and so is the JSON
text "manifest", padded with blanks:

    format     1
    triton     version of the compiler
    kernels    a list of
        name             of the kernel: its function's, less the suffix _kernel
        arch, tensor     "sm_90a", and where the cubin is: "sm_90a/<name>/<index>"
        symbol           of the function in the cubin
        warps, shared    32 warps threads and so many bytes of dynamic shared memory at a launch
        params           [{name, type}] in the order in which they are passed; types as in variant.py
        compiler         "triton" or "nvcc"
        scratch_params   how many null u64 follow them (Triton's calling convention; none in CUDA C++)
        global_scratch   0: what they would point to
        constants        what this form was compiled for
        divisible        the params that must be multiples of 16
        needs            instructions that the code for sm_90a contains
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save_file

from .nvcc import CudaVariant, compile_cuda, obstacle
from .variant import Variant

# Bytes of shared memory that a block may use. The compiler does not enforce it.
SHARED_LIMITS = {"80": 166_912, "89": 101_376, "90a": 232_448, "100a": 232_448, "120a": 101_376}


class Job(NamedTuple):
    """One variant, found again by another process, for one architecture."""

    module: str
    index: int
    arch: str


def find_variants() -> Iterator[tuple[str, int, Variant | CudaVariant]]:
    """Module, index and variant, for every kernel module beside this one. Others are not imported: they need torch."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if re.search(r"^VARIANTS\b", path.read_text(encoding="utf-8"), re.MULTILINE):
            name = f"{__package__}.{path.stem}"
            for index, variant in enumerate(importlib.import_module(name).VARIANTS):
                yield name, index, variant


def compile_job(job: Job) -> tuple[dict[str, Any], bytes]:
    """Manifest entry, without its tensor, and cubin of one variant."""
    variant: Variant | CudaVariant = importlib.import_module(job.module).VARIANTS[job.index]
    try:
        entry, cubin = (compile_source if isinstance(variant, CudaVariant) else compile_variant)(variant, job.arch)
        if entry["shared"] > SHARED_LIMITS[job.arch]:
            raise ValueError(f"takes {entry['shared']} bytes of shared memory, of {SHARED_LIMITS[job.arch]}")
        return entry, cubin
    except Exception as error:
        raise RuntimeError(f"{variant.name} {dict(variant.constants)} for sm_{job.arch}: {error}") from error


def compile_variant(variant: Variant, arch: str) -> tuple[dict[str, Any], bytes]:
    import triton  # here, so that main() can set the environment that its import reads
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = variant.kernel.arg_names
    if list(names) != [*variant.types, *variant.constants]:
        raise ValueError(f"types and constants are not the kernel's parameters {names}")
    source = ASTSource(
        variant.kernel,
        {name: variant.types.get(name, "constexpr") for name in names},
        {(names.index(name),): value for name, value in variant.constants.items()},
        {(names.index(name),): [["tt.divisibility", 16]] for name in variant.divisible},
    )
    options = {
        "num_warps": variant.warps,
        "num_stages": variant.stages,
        "enable_fp_fusion": variant.fused_multiply_add,
    }
    kernel = triton.compile(source, GPUTarget("cuda", int(arch.rstrip("a")), 32), options)
    metadata = kernel.metadata
    passed = len(re.findall(r"\.param ", kernel.asm["ptx"].split(".entry", 1)[1].split(")", 1)[0]))
    entry = describe(variant, arch, metadata.name, metadata.num_warps, metadata.shared)
    entry |= {"scratch_params": passed - len(variant.types), "global_scratch": metadata.global_scratch_size}
    if entry["global_scratch"] or metadata.profile_scratch_size or metadata.num_ctas != 1:
        raise ValueError("needs global scratch memory or a cluster, which the engine does not give")
    if f"sm_{arch}" not in kernel.asm["ptx"]:
        raise ValueError("Triton compiles for another architecture than was asked for")
    return entry, kernel.asm["cubin"]


def compile_source(variant: CudaVariant, arch: str) -> tuple[dict[str, Any], bytes]:
    return describe(variant, arch, variant.name, variant.warps, variant.shared), compile_cuda(variant, arch)


def describe(variant: Variant | CudaVariant, arch: str, symbol: str, warps: int, shared: int) -> dict[str, Any]:
    return {
        "name": variant.name,
        "arch": f"sm_{arch}",
        "symbol": symbol,
        "warps": warps,
        "shared": shared,
        "params": [{"name": name, "type": kind} for name, kind in variant.types.items()],
        "compiler": "nvcc" if isinstance(variant, CudaVariant) else "triton",
        "scratch_params": 0,
        "global_scratch": 0,
        "constants": dict(variant.constants),
        "divisible": list(variant.divisible),
        "needs": list(variant.needs),
    }


def compile_all(archs: Sequence[str], jobs: int, first_only: bool = False) -> list[tuple[dict[str, Any], bytes]]:
    """Entries and cubins of all variants, or of each kernel's first, in the order of architecture, module and index."""
    found = list(find_variants())
    without_cuda = obstacle()
    todo: list[Job] = []
    for arch in archs:
        seen: set[str] = set()
        for module, index, variant in found:
            wanted = not variant.architectures or arch in variant.architectures
            if wanted and without_cuda and isinstance(variant, CudaVariant):
                print(f"without the CUDA C++ kernel {variant.name}: {without_cuda}")
                continue
            if wanted and not (first_only and variant.name in seen):
                todo.append(Job(module, index, arch))
                seen.add(variant.name)
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(compile_job, todo, chunksize=4))


def write(path: Path, compiled: Sequence[tuple[dict[str, Any], bytes]]) -> None:
    tensors: dict[str, np.ndarray] = {}
    kernels = []
    for entry, cubin in compiled:
        folder = f"{entry['arch']}/{entry['name']}"
        tensor = f"{folder}/{sum(name.startswith(folder + '/') for name in tensors)}"
        tensors[tensor] = np.frombuffer(cubin + bytes(-len(cubin) % 16), np.uint8)
        kernels.append({"name": entry["name"], "arch": entry["arch"], "tensor": tensor} | entry)
    manifest = {"format": 1, "triton": triton_version(), "kernels": kernels}
    text = json.dumps(manifest, separators=(",", ":")).encode()
    tensors["manifest"] = np.frombuffer(text + b" " * (-len(text) % 16), np.uint8)
    save_file(tensors, path)


def triton_version() -> str:
    import triton

    return triton.__version__


def main() -> None:
    parser = argparse.ArgumentParser(description="Compile the kernels into one file.")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--arch", nargs="+", choices=SHARED_LIMITS, default=["90a"])
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one for each core)")
    parser.add_argument("--cache", type=Path, help="folder for compiled kernels (default: Triton's, ~/.triton)")
    parser.add_argument("--first-only", action="store_true", help="compile the first variant of each kernel")
    arguments = parser.parse_args()
    # The processes inherit these. Line numbers would bring the paths of this machine into the file.
    os.environ |= {"TRITON_INTERPRET": "0", "TRITON_DISABLE_LINE_INFO": "1"}
    if arguments.cache:
        os.environ["TRITON_CACHE_DIR"] = str(arguments.cache.absolute())
    compiled = compile_all(arguments.arch, arguments.jobs, arguments.first_only)
    write(arguments.output, compiled)
    size = arguments.output.stat().st_size / 1e6
    print(f"{arguments.output}: {len(compiled)} kernels for {' '.join(arguments.arch)}, {size:.1f} MB")


if __name__ == "__main__":
    main()
