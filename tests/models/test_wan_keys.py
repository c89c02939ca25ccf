"""Names of weights: against the renaming that diffusers itself applies to original Wan checkpoints."""

from __future__ import annotations

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

from penstock.runtime.dit_spec import dit_parameters
from penstock.runtime.errors import PenstockError
from penstock.runtime.layouts import detect_layout
from penstock.runtime.model import preset
from penstock.runtime.wan_keys import to_diffusers_key, to_wan_key


def test_the_names_are_those_diffusers_gives() -> None:
    keys = list(dit_parameters(preset("wan2.1-t2v-1.3b").dit))
    # The position of a key travels through their conversion as the value of its tensor.
    theirs = convert_wan_transformer_to_diffusers({key: torch.tensor(i) for i, key in enumerate(keys)})
    names = {keys[int(position)]: name for name, position in theirs.items()}
    assert len(names) == len(keys) == 825
    for key, name in names.items():
        assert to_diffusers_key(key) == name
        assert to_wan_key("diffusers", name) == key
    assert detect_layout(keys) == "wan dit" and detect_layout(theirs) == "diffusers dit"


def test_the_norm_before_cross_attention_and_both_tables_are_renamed() -> None:
    for theirs, ours in {
        "blocks.3.norm2.weight": "blocks.3.norm3.weight",
        "blocks.3.attn1.to_out.0.bias": "blocks.3.self_attn.o.bias",
        "blocks.3.attn2.norm_q.weight": "blocks.3.cross_attn.norm_q.weight",
        "blocks.3.scale_shift_table": "blocks.3.modulation",
        "scale_shift_table": "head.modulation",
        "condition_embedder.time_proj.weight": "time_projection.1.weight",
        "proj_out.bias": "head.head.bias",
    }.items():
        assert to_wan_key("diffusers", theirs) == ours and to_diffusers_key(ours) == theirs
    for key in ("blocks.3.norm3.weight", "blocks.x.norm2.weight", "blocks.3.scale_shift_table.x", "norm2.weight", ""):
        assert to_wan_key("diffusers", key) is None


def test_layouts() -> None:
    assert to_wan_key("wan", "model.head.modulation") == to_wan_key("wan", "head.modulation") == "head.modulation"
    assert detect_layout(["model.blocks.0.self_attn.q.weight"]) == detect_layout(["head.head.bias"]) == "wan dit"
    with pytest.raises(PenstockError, match=r"got 1 others, such as 'conv1.weight'"):
        detect_layout(["conv1.weight"])
    with pytest.raises(PenstockError, match=r"got none"):
        detect_layout([])
