"""Training state on disk, written often and as a whole, so that an interrupted run goes on where it was."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class Average:
    """Exponential moving average of parameters, which is what gets exported."""

    def __init__(self, module: nn.Module, decay: float):
        self.decay = decay
        self.values = {name: value.detach().clone() for name, value in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in module.named_parameters():
            self.values[name].lerp_(value, 1 - decay)


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Replaces the checkpoint."""
    part = path.with_suffix(".part")
    torch.save(dict(state), part)
    os.replace(part, path)


def load(path: Path, device: str | torch.device = "cpu") -> dict[str, Any] | None:
    """The checkpoint with its tensors on ``device``, None where there is none yet."""
    return torch.load(path, map_location=device, weights_only=True) if path.exists() else None


def load_average(module: nn.Module, average: Mapping[str, Tensor]) -> None:
    """Puts averaged parameters into the module."""
    module.load_state_dict(dict(average), strict=False)
