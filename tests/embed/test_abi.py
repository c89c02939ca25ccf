"""The C ABI: header, exported symbols, struct versions, misuse."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import PACKAGE, STRICT

HEADER = PACKAGE / "include" / "penstock" / "penstock.h"


@pytest.mark.parametrize(("language", "standard"), [("c", "c11"), ("c++", "c++17")])
def test_header_compiles_strictly(language: str, standard: str, tmp_path: Path) -> None:
    source = tmp_path / "include.txt"
    source.write_text("#include <penstock/penstock.h>\nint main(void) { return (int)sizeof(penstock_tensor) == 0; }\n")
    command = ["cc" if language == "c" else "c++", "-x", language, f"-std={standard}", *STRICT]
    subprocess.run([*command, "-fsyntax-only", "-I", PACKAGE / "include", source], check=True)


@pytest.mark.parametrize("compiler", [["c++", *STRICT, "-Wshadow", "-Wconversion"], ["clang++", *STRICT, "-Wshadow"]])
def test_cpp_header_compiles_strictly(compiler: list[str], tmp_path: Path) -> None:
    source = tmp_path / "include.cpp"
    source.write_text(
        "#include <penstock/penstock.hpp>\nint main() { return penstock::Span<int>().empty() ? 0 : 1; }\n"
    )
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"no {compiler[0]}")
    subprocess.run([*compiler, "-std=c++17", "-fsyntax-only", "-I", PACKAGE / "include", source], check=True)


def test_exported_symbols_are_those_of_the_header() -> None:
    listed = subprocess.run(["nm", "-D", "--defined-only", PACKAGE / "lib" / "libpenstock.so"], check=True,
                            capture_output=True, text=True).stdout  # fmt: skip
    exported = {line.split()[-1].split("@")[0] for line in listed.splitlines()}
    declared = set(re.findall(r"PENSTOCK_API[^;]*?\b(penstock_\w+)\(", HEADER.read_text()))
    assert len(declared) > 15
    assert exported == declared


def test_library_depends_on_nothing_but_the_c_and_cpp_runtime() -> None:
    listed = subprocess.run(["readelf", "-d", PACKAGE / "lib" / "libpenstock.so"], check=True, capture_output=True,
                            text=True).stdout  # fmt: skip
    needed = set(re.findall(r"NEEDED.*\[(.+)\]", listed))
    allowed = {"libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6", "ld-linux-x86-64.so.2", "libpthread.so.0",
               "libdl.so.2"}  # fmt: skip
    assert needed <= allowed


def test_misuse_gives_statuses(compile_host) -> None:
    result = subprocess.run([compile_host("abi.c")], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
