"""penstock: a low-level real-time video-diffusion runtime. Python describes, C++ replays."""

from penstock.runtime.errors import PenstockError

__version__ = "0.1.0"

__all__ = ["PenstockError", "__version__"]
