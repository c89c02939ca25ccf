"""What published checkpoints hold, told by the names of their weights, and the original names of these weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from . import wan_keys, wan_vae_keys
from .errors import PenstockError


@dataclass(frozen=True)
class Layout:
    """A way to name the weights of a model's component.

    `mark` finds names that no other layout has; `original_key` gives the original name of a weight, or None where the
    layout has no such weight. Original names come back as they are: only the dimensions tell which ones there are.
    """

    component: str
    mark: re.Pattern[str]
    original_key: Callable[[str], str | None]


def _unchanged(key: str) -> str:
    return key


LAYOUTS: dict[str, Layout] = {
    "wan dit": Layout(
        "dit",
        re.compile(r"^(model\.)?(text_embedding\.|time_embedding\.|head\.|blocks\.[0-9]+\.(self|cross)_attn\.)"),
        partial(wan_keys.to_wan_key, "wan"),
    ),
    "diffusers dit": Layout(
        "dit",
        re.compile(r"^condition_embedder\.|^proj_out\.|\.attn[12]\.to_"),
        partial(wan_keys.to_wan_key, "diffusers"),
    ),
    "wan vae": Layout("vae", re.compile(r"^(en|de)coder\.(middle|downsamples|upsamples)\."), _unchanged),
    "diffusers vae": Layout(
        "vae", re.compile(r"^(en|de)coder\.(mid_block|down_blocks|up_blocks)\."), wan_vae_keys.to_wan_key
    ),
    "taehv": Layout("taehv", re.compile(r"^(en|de)coder\.[0-9]+\."), _unchanged),
}


def detect_layout(keys: Iterable[str]) -> str:
    """The name of the layout that most of the keys belong to; PenstockError where no key belongs to any."""
    keys = list(keys)
    counts = {name: sum(layout.mark.search(key) is not None for key in keys) for name, layout in LAYOUTS.items()}
    name = max(counts, key=lambda layout: counts[layout])
    if not counts[name]:
        found = f"{len(keys)} others, such as {keys[0]!r:.80}" if keys else "none"
        raise PenstockError(f"expected the keys of a Wan DiT, a Wan VAE or a TAEHV, got {found}")
    return name
