"""The streaming Wan VAE against diffusers' AutoencoderKLWan on the whole clip, with the same random weights."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan

from penstock.runtime.errors import PenstockError
from penstock.runtime.models.frame_network import CoderSize
from penstock.runtime.models.wan_vae import wan_vae_plan
from penstock.runtime.plan import Plan
from penstock.runtime.vae_spec import WanVaeSpec, wan_vae_parameters
from penstock.runtime.wan_vae_keys import to_diffusers_key
from tests.helpers import normal, relative_l2
from tests.models.random_coder import (
    RandomCoder,
    assert_reset_starts_afresh,
    assert_rounded,
    decode_stream,
    encode_stream,
    latent_count,
    random_frames,
)

TINY, FULL_WIDTH = WanVaeSpec(base_dim=16), WanVaeSpec()
TOLERANCE = 1e-5

# spec, size, chunks after the first
CASES = {
    "tiny": (TINY, CoderSize(32, 48), 3),
    "one_latent_row": (TINY, CoderSize(8, 40), 3),
    "long_chunks": (TINY, CoderSize(16, 24, first_latents=3, chunk_latents=3), 2),
    "one_frame_first": (TINY, CoderSize(16, 24, first_latents=1), 4),
    "uneven_levels": (WanVaeSpec(base_dim=12, dim_mult=(2, 1, 3, 2)), CoderSize(16, 24), 2),
    "full_width": (FULL_WIDTH, CoderSize(32, 48), 3),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def diffusers_vae(spec: WanVaeSpec, coder: RandomCoder) -> AutoencoderKLWan:
    vae = AutoencoderKLWan(base_dim=spec.base_dim, z_dim=spec.z_dim, dim_mult=list(spec.dim_mult))
    vae.load_state_dict({to_diffusers_key(name): values for name, values in coder.weights.items()}, strict=True)
    return vae.eval()


def draw(spec: WanVaeSpec, rng: np.random.Generator) -> RandomCoder:
    """Random weights; the decoder's last convolution is large enough for some of the frames to be clamped."""
    coder = RandomCoder.draw("vae", wan_vae_parameters(spec), rng)
    coder.weights["decoder.head.2.weight"] *= 2
    return coder


def whole_clip_latents(spec: WanVaeSpec, coder: RandomCoder, frames: np.ndarray) -> torch.Tensor:
    """Latents [F, z, y, x] of the whole clip."""
    clip = (torch.from_numpy(frames).float() / 127.5 - 1).permute(3, 0, 1, 2)[None]
    with torch.inference_mode():
        return diffusers_vae(spec, coder).encode(clip).latent_dist.mean[0].transpose(0, 1)


@each_case
def test_streamed_encode_equals_the_whole_clip(rng: np.random.Generator, case: tuple) -> None:
    spec, size, chunks = case
    coder = draw(spec, rng)
    frames = random_frames(rng, 4 * latent_count(size, chunks) - 3, size.picture)
    latents = encode_stream(coder.session(wan_vae_plan(spec, size, floats=True)), frames)
    expected = whole_clip_latents(spec, coder, frames)
    errors = [relative_l2(ours, theirs) for ours, theirs in zip(latents, expected, strict=True)]
    print(f"relative L2 by latent: {', '.join(f'{error:.1e}' for error in errors)}")
    assert max(errors) <= TOLERANCE


@each_case
def test_streamed_decode_equals_the_whole_clip(rng: np.random.Generator, case: tuple) -> None:
    spec, size, chunks = case
    coder = draw(spec, rng)
    latents = normal(rng, latent_count(size, chunks), spec.z_dim, *size.latent_picture)
    video, decoded = decode_stream(coder.session(wan_vae_plan(spec, size, floats=True)), latents)
    mean, std = (torch.tensor(values)[:, None, None] for values in (spec.mean, spec.std))
    z = (torch.from_numpy(latents) * std + mean).transpose(0, 1)[None]
    with torch.inference_mode():
        expected = diffusers_vae(spec, coder).decode(z).sample[0].permute(1, 2, 3, 0).numpy()
    assert 0.2 < np.mean(np.abs(expected) < 1) < 1, "the test needs frames with values inside and outside of the range"
    errors = [relative_l2(ours.clip(-1, 1), theirs) for ours, theirs in zip(decoded, expected, strict=True)]
    print(f"relative L2 by frame: {', '.join(f'{error:.1e}' for error in errors)}")
    assert max(errors) <= TOLERANCE
    assert_rounded(video, (expected + 1) * 127.5)


def test_normalized_latents(rng: np.random.Generator) -> None:
    """latent_norm=normalized: diffusers' (latents - latents_mean) / latents_std, and decoding undoes it."""
    size = CoderSize(16, 24)
    coder = draw(TINY, rng)
    frames = random_frames(rng, 9, size.picture)
    latents = encode_stream(coder.session(wan_vae_plan(TINY, size, "normalized", floats=True)), frames)
    config = diffusers_vae(TINY, coder).config
    mean, std = (torch.tensor(values)[:, None, None] for values in (config.latents_mean, config.latents_std))
    assert relative_l2(latents, (whole_clip_latents(TINY, coder, frames) - mean) / std) <= TOLERANCE


def test_reset_starts_a_stream_of_the_same_bits(rng: np.random.Generator) -> None:
    """Encoding and decoding alternate in one session, as they do in a stream, and leave nothing behind a reset."""
    size = CoderSize(16, 24)
    assert_reset_starts_afresh(draw(TINY, rng).session(wan_vae_plan(TINY, size, floats=True)), rng, size)


def test_decode_reads_what_encode_wrote(rng: np.random.Generator) -> None:
    """The latents are state: a chunk can go through encode and decode without the host touching them."""
    size = CoderSize(16, 24)
    session = draw(TINY, rng).session(wan_vae_plan(TINY, size, floats=True))
    frames = random_frames(rng, 5, size.picture)
    session.write("frames_first", frames)
    for phase in ("encode_first", "decode_first"):
        session.run(phase)
    video = session.read("video_first")
    session.reset()
    assert np.array_equal(video, decode_stream(session, encode_stream(session, frames))[0])


@pytest.mark.parametrize("step_frames", [2, 4])
def test_steps_of_any_size_give_the_same_bits(rng: np.random.Generator, step_frames: int) -> None:
    size = CoderSize(16, 24)
    coder = draw(TINY, rng)
    frames, latents = random_frames(rng, 17, size.picture), normal(rng, 5, TINY.z_dim, *size.latent_picture)
    results = []
    for plan in (wan_vae_plan(TINY, size, floats=True, step_frames=count) for count in (1, step_frames)):
        session = coder.session(plan)
        results.append([encode_stream(session, frames), *decode_stream(session, latents)])
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(*results, strict=True))


@cache
def full_size_plan() -> Plan:
    plan = wan_vae_plan(FULL_WIDTH, CoderSize(480, 832))
    plan.validate()
    return plan


@pytest.mark.parametrize(("network", "rings", "megabytes"), [("encoder", 24, 1121), ("decoder", 32, 1889)])
def test_rings_hold_the_published_cache(network: str, rings: int, megabytes: int) -> None:
    """Specification 4.6: so many caches, and so many bytes in bf16 of 2 frames each, 1 for the two of down3d."""
    states = [state for state in full_size_plan().of_kind("state") if state.name.startswith(f"vae.{network}.")]
    assert len(states) == rings
    one_frame = ("downsamples.5.ring", "downsamples.8.ring")
    cached = sum(2 * s.size // s.shape[0] * (1 if s.name.endswith(one_frame) else 2) for s in states)
    assert round(cached / 1e6) == megabytes


def test_every_parameter_is_a_weight() -> None:
    """All but the rows of the encoder's last convolution that are not the mean; 16 taps for 9 behind a doubling."""
    unused = 16 * 32 + 16
    statistics = 2 * 16
    doublings = (384 * 192 + 384 * 192 + 192 * 96) * (16 - 9)
    parameters = sum(int(np.prod(shape)) for shape in wan_vae_parameters(FULL_WIDTH).values())
    assert (
        sum(weight.size for weight in full_size_plan().of_kind("weight"))
        == parameters - unused + statistics + doublings
    )


def test_bad_arguments_are_named() -> None:
    with pytest.raises(PenstockError, match="latent_norm: expected one of raw, normalized, got 'cooked'"):
        wan_vae_plan(TINY, CoderSize(16, 16), "cooked")
    with pytest.raises(PenstockError, match="width: expected a multiple of 8 pixels, got 20"):
        CoderSize(16, 20)
