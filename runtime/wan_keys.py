"""Names of DiT weights: from the layouts found in the wild to the original Wan names, and back.

Layouts: `wan` is the original one (specification 4.10), each key with or without the prefix `model.`; `diffusers` is
that of `WanTransformer3DModel`. Shapes are the same in both, so renaming is all there is to do.
"""

from __future__ import annotations

import re
from typing import Literal

Layout = Literal["wan", "diffusers"]

# (diffusers, Wan); an entry that ends in "." renames a prefix, any other a whole key.
_OUTSIDE_BLOCKS = (
    ("patch_embedding.", "patch_embedding."),
    ("condition_embedder.text_embedder.linear_1.", "text_embedding.0."),
    ("condition_embedder.text_embedder.linear_2.", "text_embedding.2."),
    ("condition_embedder.time_embedder.linear_1.", "time_embedding.0."),
    ("condition_embedder.time_embedder.linear_2.", "time_embedding.2."),
    ("condition_embedder.time_proj.", "time_projection.1."),
    ("scale_shift_table", "head.modulation"),
    ("proj_out.", "head.head."),
)
_IN_A_BLOCK = (
    ("scale_shift_table", "modulation"),
    ("attn1.to_q.", "self_attn.q."),
    ("attn1.to_k.", "self_attn.k."),
    ("attn1.to_v.", "self_attn.v."),
    ("attn1.to_out.0.", "self_attn.o."),
    ("attn1.norm_q.", "self_attn.norm_q."),
    ("attn1.norm_k.", "self_attn.norm_k."),
    ("attn2.to_q.", "cross_attn.q."),
    ("attn2.to_k.", "cross_attn.k."),
    ("attn2.to_v.", "cross_attn.v."),
    ("attn2.to_out.0.", "cross_attn.o."),
    ("attn2.norm_q.", "cross_attn.norm_q."),
    ("attn2.norm_k.", "cross_attn.norm_k."),
    # Wan calls its norms in the order norm1, norm3, norm2; diffusers numbers them in calling order. Only the one
    # before cross attention has parameters.
    ("norm2.", "norm3."),
    ("ffn.net.0.proj.", "ffn.0."),
    ("ffn.net.2.", "ffn.2."),
)
_MODEL_PREFIX = "model."
_BLOCK_KEY = re.compile(r"(blocks\.[0-9]+\.)(.+)", re.DOTALL)


def to_wan_key(layout: Layout, key: str) -> str | None:
    """The original Wan name of a key of `layout`, without `model.`; None where the layout has no such key.

    In the layout `wan` an unknown key is returned as it is: only the model's dimensions tell which keys there are.
    """
    if layout == "wan":
        return key.removeprefix(_MODEL_PREFIX)
    return _rename(key, _OUTSIDE_BLOCKS, _IN_A_BLOCK)


def to_diffusers_key(wan_key: str) -> str | None:
    """The diffusers name of an original Wan key without `model.`; None where diffusers has no such key."""
    outside, inside = (tuple((wan, diffusers) for diffusers, wan in table) for table in (_OUTSIDE_BLOCKS, _IN_A_BLOCK))
    return _rename(wan_key, outside, inside)


def _rename(key: str, outside: tuple[tuple[str, str], ...], inside: tuple[tuple[str, str], ...]) -> str | None:
    match = _BLOCK_KEY.fullmatch(key)
    block, rest, table = (match[1], match[2], inside) if match else ("", key, outside)
    for old, new in table:
        if rest == old or (old.endswith(".") and rest.startswith(old)):
            return block + new + rest[len(old) :]
    return None
