"""Print what a C or C++ project needs to build against this installation: flags, or where its package files are."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import penstock
from penstock.runtime.errors import PenstockError

HELP = "compiler and linker flags of the C library"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    asked = parser.add_argument_group("what to print, one or several")
    asked.add_argument("--cflags", action="store_true", help="compiler flags")
    asked.add_argument("--libs", action="store_true", help="linker flags")
    asked.add_argument("--cmake-dir", action="store_true", help="folder of the CMake package, for -Dpenstock_DIR=")
    asked.add_argument("--pkg-config-dir", action="store_true", help="folder of penstock.pc, for PKG_CONFIG_PATH")


def settings() -> dict[str, str]:
    """What each option prints, by its name. PenstockError where the library was never built."""
    package = Path(penstock.__file__).resolve().parent
    library, include = package / "lib", package / "include"
    if not (library / "libpenstock.so").is_file():
        raise PenstockError(f"{library}: expected libpenstock.so, got none: this is a checkout that was never built")
    return {
        "cflags": f"-I{include}",
        "libs": f"-L{library} -lpenstock -Wl,-rpath,{library}",
        "cmake_dir": str(library / "cmake" / "penstock"),
        "pkg_config_dir": str(library / "pkgconfig"),
    }


def run(options: argparse.Namespace) -> None:
    known = settings()
    asked = {name: value for name, value in known.items() if getattr(options, name)}
    if options.json:
        print(json.dumps(asked or known))
        return
    if not asked:
        raise PenstockError("config: expected one of --cflags, --libs, --cmake-dir, --pkg-config-dir, got none")
    print(" ".join(asked.values()))
