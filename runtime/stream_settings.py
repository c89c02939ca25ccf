"""How a model wants to be streamed: the entry "stream" of model.json, defaults for fields of Config.

    {"stream": {"noise_scale": 0.3, "timesteps": [200, 150, 100, 50]}}

They hold for video-to-video where the user names no value. A model without the entry takes the defaults of Config,
which are those of the published checkpoints.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .config import Config
from .errors import PenstockError
from .model import load_model
from .model_file import MODEL_FILE, read_model_file, write_model_file

FIELDS = ("steps", "timesteps", "noise_scale", "noise_controller", "sink_threshold", "latent_norm")


def load_stream_settings(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Fields of Config that a model directory's model.json gives, checked; empty where it gives none."""
    load_model(directory)  # refuses whatever is not a sound model.json
    data = read_model_file(directory)
    try:
        return _checked(data.get("stream", {}))
    except PenstockError as error:
        raise PenstockError(f"{Path(directory) / MODEL_FILE}: stream: {error}") from None


def save_stream_settings(directory: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
    """Set the entry "stream" of an existing model.json; everything else in it stays."""
    load_model(directory)
    checked = _checked(dict(settings))
    write_model_file(directory, {**read_model_file(directory), "stream": checked})


def _checked(data: Any) -> dict[str, Any]:
    """The fields, lists as tuples; whether their values are good is what Config says."""
    if not isinstance(data, dict):
        raise PenstockError(f"expected an object, got {type(data).__name__}")
    if unknown := sorted(data.keys() - set(FIELDS)):
        listed = ", ".join(f"{key!r:.80}" for key in unknown[:5])
        raise PenstockError(f"expected fields out of {', '.join(FIELDS)}, got {listed}")
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    if not isinstance(fields.get("timesteps", ()), tuple):
        raise PenstockError(f"timesteps: expected a list, got {fields['timesteps']!r:.80}")
    Config(**fields)
    return fields
