"""Attention by the public libraries: what the attention ops are compared with.

q [B, N, H, D]; k, v [B, L, H, D]; every function returns what is timed, whose result is [B, N, H, D].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .libraries import find, functional, torch

Run = Callable[[], Any]


def eager(q: Any, k: Any, v: Any) -> Run:
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    scale = q.shape[-1] ** -0.5

    def run() -> Any:
        weights = torch.softmax(q @ k.transpose(2, 3) * scale, dim=-1)
        return (weights @ v).transpose(1, 2)

    return run


def sdpa(q: Any, k: Any, v: Any) -> Run:
    """The backend that torch itself chooses."""
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    return lambda: functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)


def _sdpa_by(backend: str) -> Callable[[Any, Any, Any], Run]:
    def prepare(q: Any, k: Any, v: Any) -> Run:
        from torch.nn.attention import SDPBackend, sdpa_kernel

        run = sdpa(q, k, v)

        def chosen() -> Any:
            with sdpa_kernel(getattr(SDPBackend, backend)):
                return run()

        return chosen

    return prepare


def flash3(q: Any, k: Any, v: Any) -> Run:
    function = find("flash_attn_interface").flash_attn_func

    def run() -> Any:
        made = function(q, k, v)
        return made[0] if isinstance(made, tuple) else made  # earlier versions return the log-sum-exp, too

    return run


def flashinfer(q: Any, k: Any, v: Any) -> Run:
    function = find("flashinfer").single_prefill_with_kv_cache
    return lambda: torch.stack([function(*rows, causal=False) for rows in zip(q, k, v, strict=True)])


BASELINES: dict[str, Callable[[Any, Any, Any], Run]] = {
    "eager": eager,
    "sdpa": sdpa,
    "sdpa-flash": _sdpa_by("FLASH_ATTENTION"),
    "sdpa-cudnn": _sdpa_by("CUDNN_ATTENTION"),
    "flash3": flash3,
    "flashinfer": flashinfer,
}


def baselines(parts: Callable[..., tuple[Any, Any, Any]], names: tuple[str, ...] = tuple(BASELINES)) -> dict[str, Any]:
    """Baselines of an op; ``parts(**roles and attributes)`` returns its q, k and v in the shapes above."""

    def prepare(name: str) -> Callable[..., Run]:
        return lambda **given: BASELINES[name](*parts(**given))

    return {name: prepare(name) for name in names}
