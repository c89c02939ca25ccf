"""PyAV, imported only when a video is really read or written, and its errors as one line."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from penstock.runtime.errors import PenstockError

OLDEST = 18  # earlier ones write BT.709 with the colours of BT.601


def load_av() -> ModuleType:
    """The module `av`; PenstockError naming the extra where it cannot be imported or is too old."""
    try:
        av = importlib.import_module("av")
    except ImportError as error:
        raise PenstockError(
            f"video files need PyAV, which cannot be imported ({error}): pip install 'penstock[video]'"
        ) from None
    if int(av.__version__.split(".")[0]) < OLDEST:
        raise PenstockError(f"expected PyAV {OLDEST} or later, got {av.__version__}: pip install 'penstock[video]'")
    return av


@contextmanager
def av_errors_as_penstock(path: str | os.PathLike[str], action: str) -> Iterator[None]:
    """Turn an error of FFmpeg or of the system in the block into `PATH: cannot ACTION: reason`, a PenstockError."""
    av = load_av()
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        raise PenstockError(f"{os.fspath(path)}: cannot {action}: {error.strerror or error}") from None
