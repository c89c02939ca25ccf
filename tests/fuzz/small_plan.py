"""Writes the plan of a very small DiT, which has every op: the seed of the plan fuzzer.

small_plan.py FILE
"""

from __future__ import annotations

import sys
from pathlib import Path

from penstock.runtime.config import Config
from penstock.runtime.dit_spec import DitSpec
from penstock.runtime.model import ModelSpec
from penstock.runtime.models.stream import denoising_plan


def main() -> None:
    dit = DitSpec(dim=16, ffn_dim=16, heads=1, layers=1, text_len=4, text_dim=8, freq_dim=8)
    plan = denoising_plan(ModelSpec("small", dit), Config(height=16, width=16, steps=2))
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(plan.to_json(), encoding="utf-8")


if __name__ == "__main__":
    main()
