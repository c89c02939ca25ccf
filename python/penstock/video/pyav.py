"""PyAV, imported only when a video is really read or written, and its errors as one line."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from penstock.runtime.errors import PenstockError


def load_av() -> ModuleType:
    """The module `av`; PenstockError naming the extra where it cannot be imported."""
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise PenstockError(
            f"video files need PyAV, which cannot be imported ({error}): pip install 'penstock[video]'"
        ) from None


@contextmanager
def av_errors_as_penstock(path: str | os.PathLike[str], action: str) -> Iterator[None]:
    """Turn an error of FFmpeg or of the system in the block into `PATH: cannot ACTION: reason`, a PenstockError."""
    av = load_av()
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        raise PenstockError(f"{os.fspath(path)}: cannot {action}: {error.strerror or error}") from None
