"""Figures of another program, to put beside ours: streams by the names of ``end_to_end.py`` and their frame rates.

{"program": "...", "machine": "...", "source": where the figures come from, "fps": {stream: frames a second}}
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from penstock.runtime.errors import PenstockError, is_number, os_errors_as_penstock, parse_json_object


@dataclass(frozen=True)
class Published:
    """See the module; ``fps`` by stream."""

    program: str
    machine: str
    source: str
    fps: dict[str, float]

    @classmethod
    def load(cls, path: str | Path) -> Published:
        """PenstockError, naming what is wrong, if the file is none."""
        with os_errors_as_penstock(path, "read the figures"):
            record = parse_json_object(Path(path).read_bytes(), str(path))
        names = ("program", "machine", "source", "fps")
        if set(record) != set(names):
            raise PenstockError(f"{path}: expected an object of {', '.join(names)}")
        fps = record["fps"]
        if not isinstance(fps, dict) or not all(is_number(value) and value > 0 for value in fps.values()):
            raise PenstockError(f"{path}: fps: expected positive frames a second by stream")
        return cls(*(str(record[name]) for name in names[:3]), fps)
