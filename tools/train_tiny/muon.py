"""The optimizer: Muon for matrices and convolutions, Adam for all else.

Muon (K. Jordan, 2024) steps along the momentum with its singular values set to about 1, by Newton-Schulz iterations.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration, as published with the method
_OUTER = ("encoder/conv1", "decoder/head", "head/head", "embedding", "time_projection", "shared", "embed_")


class Muon(torch.optim.Optimizer):
    """Two groups of parameters: with ``matrices`` true, stepped by Muon at rate ``lr``; the others by Adam.

    A rate of 0.02 changes a weight of fan-in initialisation by about 2% a step.
    """

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], muon_rate: float, adam_rate: float):
        hidden: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, value in named:
            is_matrix = value.dim() >= 2 and min(value.shape[0], value[0].numel()) >= 16
            (hidden if is_matrix and not _is_outer(name) else others).append(value)
        groups: list[dict[str, Any]] = [
            {"params": hidden, "matrices": True, "lr": muon_rate, "base": muon_rate},
            {"params": others, "matrices": False, "lr": adam_rate, "base": adam_rate},
        ]
        super().__init__(groups, {})

    def scale_rates(self, factor: float) -> None:
        """Sets both rates to their initial value times ``factor``."""
        for group in self.param_groups:
            group["lr"] = group["base"] * factor

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for value in group["params"]:
                if value.grad is not None:
                    (self._muon if group["matrices"] else self._adam)(value, group["lr"])

    def _muon(self, value: Tensor, rate: float) -> None:
        state = self.state[value]
        momentum = state.setdefault("momentum", torch.zeros_like(value))
        momentum.lerp_(value.grad, 0.05)
        update = value.grad.lerp(momentum, 0.95).flatten(1)
        rows, columns = update.shape
        value.add_(_orthogonal(update).view_as(value), alpha=-rate * max(1.0, rows / columns) ** 0.5)

    def _adam(self, value: Tensor, rate: float) -> None:
        state = self.state[value]
        if not state:
            state.update(step=0, mean=torch.zeros_like(value), square=torch.zeros_like(value))
        state["step"] += 1
        state["mean"].lerp_(value.grad, 0.1)
        state["square"].lerp_(value.grad.square(), 0.01)
        mean = state["mean"] / (1 - 0.9 ** state["step"])
        square = state["square"] / (1 - 0.99 ** state["step"])
        value.addcdiv_(mean, square.sqrt() + 1e-8, value=-rate)


def schedule(step: int, steps: int) -> float:
    """Share of the rate at a step: up in a straight line at first, over at most 100 steps, then down to 2%."""
    return min(1.0, (step + 1) / max(1, min(100, steps // 5))) * (0.02 + 0.98 * (1 - step / steps))


def _is_outer(name: str) -> bool:
    """Embedding tables, and the layers by which pictures, latents, text and time come in and the result leaves."""
    return any(part in name for part in _OUTER)


def _orthogonal(matrix: Tensor) -> Tensor:
    """Singular values of about 1 in place of the matrix's own: x <- p(x xᵀ) x, five times."""
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else matrix.T
    x = x / (x.norm() + 1e-7)
    a, b, c = _COEFFICIENTS
    if x.shape[1] < 2 * x.shape[0]:
        for _ in range(5):
            gram = x @ x.T
            x = a * x + (b * gram + c * gram @ gram) @ x
    else:  # on the small x xᵀ, and all factors applied at once
        gram = x @ x.T
        product = unit = torch.eye(len(gram), device=gram.device)
        for _ in range(5):
            factor = a * unit + b * gram + c * gram @ gram
            product, gram = factor @ product, factor @ gram @ factor
        x = product @ x
    return x if wide else x.T
