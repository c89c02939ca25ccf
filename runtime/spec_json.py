"""What the specifications of a model's components share: their JSON form, checked field by field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from .errors import PenstockError

Parameters = dict[str, tuple[int, ...]]  # every key of a checkpoint and its shape, in forward order
Spec = TypeVar("Spec")


def spec_to_json(spec: Any, architecture: str) -> dict[str, Any]:
    """The fields of a specification (a dataclass) and its architecture, as plain JSON data."""
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(spec).items()}
    return {"architecture": architecture, **values}


def spec_from_json(cls: type[Spec], architecture: str, what: str, data: Any) -> Spec:
    """The inverse of `spec_to_json`; `data` is untrusted, and may hold the list of weight files too.

    Raises PenstockError, naming the field after `what`, where one is missing, unknown or of the wrong type.
    """
    if not isinstance(data, Mapping):
        raise PenstockError(f"{what}: expected an object, got {type(data).__name__}")
    known = {"architecture", *(field.name for field in fields(cls))}  # type: ignore[arg-type]
    if missing := sorted(known - data.keys()):
        raise PenstockError(f"{what}: fields are missing: {', '.join(missing)}")
    if unknown := sorted(data.keys() - known - {"weights"}):
        raise PenstockError(f"{what}: unknown fields: {', '.join(f'{key!r:.80}' for key in unknown[:5])}")
    if data["architecture"] != architecture:
        raise PenstockError(f"{what}.architecture: expected {architecture!r}, got {data['architecture']!r:.80}")
    values = {name: data[name] for name in known - {"architecture"}}
    return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
