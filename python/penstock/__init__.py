"""penstock: a low-level real-time video-diffusion runtime. Python describes, C++ replays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock.runtime.errors import PenstockError

__version__ = "0.1.0"

__all__ = ["Config", "DeviceFrame", "Model", "PenstockError", "Queue", "Session", "VideoWriter", "__version__", "load",
           "read_video"]  # fmt: skip

if TYPE_CHECKING:
    from penstock.models import Model, load
    from penstock.runtime.config import Config
    from penstock.runtime.device_array import DeviceFrame
    from penstock.runtime.engine import Queue
    from penstock.session import Session
    from penstock.video import VideoWriter, read_video

# Loaded at their first use: `import penstock` needs neither the compiled engine nor PyAV.
_HOMES = {
    "Config": "penstock.runtime.config",
    "DeviceFrame": "penstock.runtime.device_array",
    "Model": "penstock.models",
    "Queue": "penstock.runtime.engine",
    "Session": "penstock.session",
    "VideoWriter": "penstock.video",
    "load": "penstock.models",
    "read_video": "penstock.video",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
