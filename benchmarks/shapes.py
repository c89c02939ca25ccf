"""Named shapes: a model at a size. The calls of an op at a shape are those that the model's plan makes there.

1.3b-480x832-2        the stream of the 1.3B model at 480x832 with 2 slots (denoising steps), 6 cache frames
14b-720x1280-4-c21    likewise, 21 cache frames
wan-512x512           the Wan VAE alone; wan-512x512-fp8_vae: in that precision; taehv-512x512: TAEHV
tiny-...              the tiny preset, for machines without a GPU
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from penstock.runtime.config import Config
from penstock.runtime.errors import PenstockError
from penstock.runtime.model import ModelSpec, preset
from penstock.runtime.models.video_stream import stream_plan
from penstock.runtime.plan import Plan

from .cost import Call

MODELS = {"1.3b": "wan2.1-t2v-1.3b", "14b": "wan2.1-t2v-14b", "tiny": "tiny"}
SIZES = ((480, 832), (512, 512), (720, 1280))
TINY_SIZES = ((64, 96), (128, 192))
SLOTS = (1, 2, 3, 4)
CACHES = (6, 21)
# The name in front of the size, and behind it.
CODERS = {("wan", ""): {"decoder": "wan"}, ("wan", "-fp8_vae"): {"decoder": "wan", "precision": "fp8_vae"},
          ("taehv", ""): {"encoder": "taehv", "decoder": "taehv", "latent_norm": "normalized"}}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """A model and a configuration. ``phases``: what every chunk runs; ``rare``: other phases of interest."""

    name: str
    model: ModelSpec
    config: Config
    phases: tuple[str, ...]
    rare: tuple[str, ...]

    def calls(self, op: str, settings: Mapping[str, Any], compute_bytes: int) -> list[tuple[Call, int]]:
        """The distinct calls of an op and how many a chunk makes of each, in the order of the first.

        ``settings``: fields of the config that the op needs. An op that no chunk runs is looked for in the rare phases.
        """
        plan = _plan(self.model, replace(self.config, timesteps=None, **settings))
        counts: dict[str, tuple[Call, int]] = {}
        for phases in (self.phases, self.rare):
            for entry in (entry for phase in phases for entry in plan.phases[phase] if entry.op == op):
                call = Call.of(plan, entry, compute_bytes=compute_bytes)
                key = repr(call)
                counts[key] = call, counts.get(key, (call, 0))[1] + 1
            if counts:
                break
        return list(counts.values())


@cache
def _plan(model: ModelSpec, config: Config) -> Plan:
    return stream_plan(model, config)


def _shapes() -> dict[str, Shape]:
    found = {}
    for model, name in MODELS.items():
        for height, width in TINY_SIZES if model == "tiny" else SIZES:
            for slots in SLOTS:
                for frames in CACHES:
                    shape = f"{model}-{height}x{width}-{slots}" + (f"-c{frames}" if frames != 6 else "")
                    config = Config(height, width, steps=slots, cache_frames=frames)
                    found[shape] = Shape(shape, preset(name), config, ("denoise",), ("set_prompt", "denoise_first"))
    for prefix, model, sizes in (("", "1.3b", SIZES), ("tiny-", "tiny", TINY_SIZES)):
        for (coder, suffix), settings in CODERS.items():
            for height, width in sizes:
                shape, config = f"{prefix}{coder}-{height}x{width}{suffix}", Config(height, width, **settings)
                found[shape] = Shape(shape, preset(MODELS[model]), config, ("encode", "decode"), ())
    return found


SHAPES = _shapes()

# What is measured where nothing else is asked for, by kind of op and device.
STANDARD = {
    ("dit", "cuda"): ("1.3b-480x832-2", "1.3b-480x832-4", "1.3b-512x512-2", "14b-480x832-2"),
    ("coder", "cuda"): ("wan-480x832", "taehv-480x832", "wan-480x832-fp8_vae"),
    ("dit", "cpu"): ("tiny-64x96-2",),
    ("coder", "cpu"): ("tiny-wan-64x96",),
}


def find_shape(name: str) -> Shape:
    """The shape of that name; PenstockError listing the known ones where there is none."""
    if name not in SHAPES:
        raise PenstockError(f"shape: expected one of {', '.join(SHAPES)}, got {name!r:.80}")
    return SHAPES[name]
