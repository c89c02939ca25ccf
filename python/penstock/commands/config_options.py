"""The command line's options for a denoising configuration, shared by run and build."""

from __future__ import annotations

import argparse
from typing import Any

from penstock.runtime.config import CACHE_POLICIES, CODERS, DECODERS, HISTORIES, LATENT_NORMS, MODES, PRECISIONS
from penstock.runtime.errors import PenstockError

# Option → field of Config; what is not given keeps the configuration's own default.
_FIELDS = ("steps", "mode", "history", "encoder", "decoder", "latent_norm", "noise_scale",
           "cache_policy", "sink_threshold", "cache_frames", "sink_frames", "refresh_frames", "precision")  # fmt: skip


def add_config_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    parser.add_argument("--size", default="480x832", metavar="HxW", help="pixels, multiples of 16 (default 480x832)")
    parser.add_argument("--steps", type=int, help="denoising steps per chunk (default 2; 4 in text-to-video)")
    parser.add_argument("--timesteps", metavar="T,T,...", help="list of timesteps to take the steps from (default: "
                        "the model's, else 700,500,400,200; 1000,750,500,250 in text-to-video)")  # fmt: skip
    parser.add_argument("--mode", choices=MODES, help="how the steps run (default stream_batch)")
    parser.add_argument("--history", choices=HISTORIES, help="caches of sequential mode (default shared)")
    parser.add_argument("--decoder", choices=DECODERS, help="video decoder (default wan)")
    parser.add_argument("--encoder", choices=CODERS, help="video encoder (default wan)")
    parser.add_argument("--latent-norm", choices=LATENT_NORMS, help="of encoded latents (default raw, as published)")
    parser.add_argument("--noise-scale", type=float, help="share of noise in the input (default: what the model "
                        "recommends, else 0.8)")  # fmt: skip
    parser.add_argument("--no-noise-controller", action="store_true", help="do not follow the motion of the frames")
    parser.add_argument("--clean-context", action="store_true", default=None, help="one more pass at timestep 0")
    parser.add_argument("--cache-policy", choices=CACHE_POLICIES, help="of the rolling cache (default sink)")
    parser.add_argument("--sink-threshold", type=float, help="similarity below which a sink is replaced; -1 never "
                        "(default 0.2)")  # fmt: skip
    parser.add_argument("--cache-frames", type=int, help="latent frames in the rolling cache (default 6)")
    parser.add_argument("--sink-frames", type=int, help="how many of them are pinned (default 3)")
    parser.add_argument("--refresh-frames", type=int, help="position at which positions start again (default 50)")
    parser.add_argument("--precision", metavar="NAME,...", help="parts to compute in fewer bits, of "
                        f"{', '.join(PRECISIONS)} (default none)")  # fmt: skip


def config_fields(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of Config that were given, less height and width."""
    fields = {name: getattr(options, name) for name in (*_FIELDS, "clean_context")}
    if options.timesteps is not None:
        fields["timesteps"] = _parse_timesteps(options.timesteps)
    if options.no_noise_controller:
        fields["noise_controller"] = False
    return {name: value for name, value in fields.items() if value is not None}


def _parse_timesteps(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise PenstockError(f"--timesteps: expected numbers such as 700,500, got {text!r:.80}") from None
