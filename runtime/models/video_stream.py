"""The whole stream as one plan: encode, denoise, decode (spec 2.7, 4.9).

Around the phases of the denoising stream stand those of the video autoencoders, whose latents never leave the device:

    encode_first, encode    frames_first, frames u8 [T, height, width, 3] -> latents, and the noise level of the chunk
    decode_first, decode    x0 of the last slot -> video_first, video u8, and decoded_first, decoded before rounding

Step state beside that of stream.py, under the noise controller:

    noise_level_bits   i64 [1]   the level as the bits of a double, which decides timesteps
    first_timestep     f32 [1]   of the first chunk; later ones follow the level
"""

from __future__ import annotations

import numpy as np

from ..config import Config
from ..errors import PenstockError
from ..model import ModelSpec
from ..pack import Constant
from ..plan import Plan, PlanBuilder, Tensor
from ..schedule import sigma_table
from ..vae_spec import FRAMES_PER_LATENT
from .frame_network import VideoCoder, frame_slice
from .stream import DenoisingStream, denoising_plan
from .taehv import Taehv
from .wan_vae import WanVae


def stream_plan(model: ModelSpec, config: Config) -> Plan:
    """The plan of a model for one configuration; PenstockError if the model lacks an autoencoder that it names."""
    if config.decoder == "none":
        return denoising_plan(model, config)
    stream = DenoisingStream(model, config)
    names = dict.fromkeys([config.encoder, config.decoder] if config.encodes else [config.decoder])
    coders = {name: _coder(name, stream.plan, model, config) for name in names}
    if config.encodes:
        _add_encoding(stream, coders[config.encoder])
    stream.add_phases()
    _add_decoding(stream, coders[config.decoder])
    return stream.plan.finish()


def _coder(name: str, plan: PlanBuilder, model: ModelSpec, config: Config) -> VideoCoder:
    spec = model.taehv if name == "taehv" else model.vae
    if spec is None:
        what = "TAEHV" if name == "taehv" else "VAE"
        raise PenstockError(f"model {model.name!r}: expected a {what}, found none; add one with penstock convert")
    if not spec.z_dim == model.dit.in_channels == model.dit.out_channels:
        channels = f"{model.dit.in_channels} in and {model.dit.out_channels} out"
        raise PenstockError(f"model {model.name!r}: the {name} codec has {spec.z_dim} channels, the DiT {channels}")
    return Taehv(plan, spec) if name == "taehv" else WanVae(plan, spec, config.latent_norm, fp8=config.fp8_vae)


def _video_shape(config: Config, first: bool) -> tuple[int, int, int, int]:
    latents = config.first_latents if first else config.chunk_latents
    frames = FRAMES_PER_LATENT * latents - (FRAMES_PER_LATENT - 1 if first else 0)
    return frames, config.height, config.width, 3


def _add_encoding(stream: DenoisingStream, coder: VideoCoder) -> None:
    plan, config = stream.plan, stream.config
    controller = NoiseController(stream) if config.controls_noise else None
    for suffix, latents, first in (("_first", stream.latents_first, True), ("", stream.latents, False)):
        frames = plan.input(f"frames{suffix}", _video_shape(config, first), "u8")
        with plan.phase(f"encode{suffix}"):
            if controller:
                controller.set_level(frames, first)
            coder.encode(frames, latents, first)


def _add_decoding(stream: DenoisingStream, coder: VideoCoder) -> None:
    plan, config = stream.plan, stream.config
    last_slot = frame_slice(plan, stream.x0, stream.x0.shape[0] - 1, 1)
    for suffix, x0, first in (("_first", stream.x0_first, True), ("", last_slot, False)):
        shape = _video_shape(config, first)
        video = plan.output(f"video{suffix}", shape, "u8")
        decoded = plan.output(f"decoded{suffix}", shape, "compute")
        with plan.phase(f"decode{suffix}"):
            coder.decode(plan.view(x0, x0.shape[1:]), video, first, decoded)


class NoiseController:
    """Sets noise level and first timestep of a chunk from the motion of its frames."""

    def __init__(self, stream: DenoisingStream):
        self.stream = stream
        plan, config = stream.plan, stream.config
        self.level_bits = plan.step("noise_level_bits", "i64", (1,))
        self.first_timestep = plan.step("first_timestep", "f32", (1,), (float(config.schedule[0]),), "own")
        self.previous = plan.state("previous_frame", (1, config.height, config.width, 3), "u8")
        self.tables = {
            f"table_{name}": plan.weight(f"schedule.{name}", values.shape, Constant(values.astype(np.float32)), "f32")
            for name, values in zip(("sigmas", "timesteps"), sigma_table(), strict=True)
        }

    def set_level(self, frames: Tensor, first: bool) -> None:
        stream, plan = self.stream, self.stream.plan
        inputs = {"frames": frames, "initial_scale": stream.noise_scale, **self.tables}
        if first:
            inputs["first_timestep"] = self.first_timestep
        entry = {"timestep": plan.view(stream.timestep, (1,)), "sigma": plan.view(stream.sigma, (1,))}
        plan.op("motion_noise", inputs, {"noise_scale": stream.noise_level, **entry},
                {"previous": self.previous, "level_bits": self.level_bits},
                phase="first" if first else "next")  # fmt: skip
