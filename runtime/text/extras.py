"""Libraries of the extra `text`, imported only when a prompt is really encoded."""

from __future__ import annotations

import importlib
from types import ModuleType

from ..errors import PenstockError


def require(module: str) -> ModuleType:
    """Import torch, transformers or tokenizers; PenstockError naming the extra where that fails."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise PenstockError(
            f"encoding a prompt needs {module}, which cannot be imported ({error}): pip install 'penstock[text]'"
        ) from None
