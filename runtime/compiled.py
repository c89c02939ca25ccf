"""The compiled module, or one clear line where there is none."""

from __future__ import annotations

from .errors import PenstockError

try:
    from penstock import _engine
except ImportError as error:  # a checkout that was never built
    raise PenstockError(f"the compiled engine cannot be loaded ({error}); build it with `pip install .`") from None

__all__ = ["_engine"]
