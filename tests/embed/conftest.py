"""Compiling C hosts against the installed package, as an embedding project would."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import penstock

from .echo_engine import write_engine

PACKAGE = Path(penstock.__file__).parent
SOURCES = Path(__file__).parent
STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic"]


@pytest.fixture(scope="session")
def compile_host(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """compile_host("denoise.c", *flags) → the program, linked with the installed libpenstock."""

    def compile_one(source: str, *flags: str) -> Path:
        program = tmp_path_factory.mktemp("host") / Path(source).stem
        library = ["-I", PACKAGE / "include", "-L", PACKAGE / "lib", "-lpenstock", f"-Wl,-rpath,{PACKAGE / 'lib'}"]
        compiler = ["cc", "-std=c11"] if source.endswith(".c") else ["c++", "-std=c++17"]
        subprocess.run([*compiler, *STRICT, *flags, SOURCES / source, "-o", program, *library], check=True)
        return program

    return compile_one


@pytest.fixture(scope="session")
def echo_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An engine that gives back its frames of 16x16."""
    folder = tmp_path_factory.mktemp("echo")
    write_engine(folder)
    return folder


@pytest.fixture(scope="session")
def slow_echo_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with some work to do for every chunk."""
    folder = tmp_path_factory.mktemp("slow_echo")
    write_engine(folder, products=40)
    return folder
