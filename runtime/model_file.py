"""model.json as a file: read whole, and changed entry by entry without ever leaving a half file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import PenstockError, os_errors_as_penstock, parse_json_object

MODEL_FILE = "model.json"
_MAX_BYTES = 1 << 20


def read_model_file(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a directory's model.json, unchecked but for being one JSON object of sane size."""
    path = Path(directory)
    file = path / MODEL_FILE
    with os_errors_as_penstock(file, "read"):
        if not file.is_file():
            raise PenstockError(f"{path}: expected a model directory, found no {MODEL_FILE} in it")
        if (size := file.stat().st_size) > _MAX_BYTES:
            raise PenstockError(f"{file}: expected at most {_MAX_BYTES} bytes, got {size}")
        return parse_json_object(file.read_bytes(), str(file))


def write_model_file(directory: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write a directory's model.json, replaced as a whole."""
    file = Path(directory) / MODEL_FILE
    temporary = file.with_name(f".{MODEL_FILE}.part")
    with os_errors_as_penstock(file, "write"):
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        os.replace(temporary, file)
