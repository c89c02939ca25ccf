"""The streaming TAEHV against the published network on the whole clip, in plain torch with the same random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from penstock.runtime.models.frame_network import CoderSize
from penstock.runtime.models.taehv import taehv_plan
from penstock.runtime.vae_spec import TaehvSpec, taehv_parameters
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

TINY = TaehvSpec(encoder_dim=8, decoder_dims=(32, 16, 8, 8))
TOLERANCE = 1e-5

# spec, size, chunks after the first
CASES = {
    "tiny": (TINY, CoderSize(32, 48), 3),
    "one_latent_row": (TINY, CoderSize(8, 40), 3),
    "long_chunks": (TINY, CoderSize(16, 24, first_latents=3, chunk_latents=3), 2),
    "one_frame_first": (TINY, CoderSize(16, 24, first_latents=1), 4),
    "uneven_levels": (TaehvSpec(z_dim=4, encoder_dim=6, decoder_dims=(12, 20, 8, 10)), CoderSize(16, 24), 2),
    "full_width": (TaehvSpec(), CoderSize(32, 48), 3),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


class WholeClip:
    """The published network over a whole clip at once, frames [T, C, Y, X], in the checkpoint's own weights."""

    def __init__(self, weights: dict[str, Tensor]):
        self.weights = weights

    def conv(self, key: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = self.weights[f"{key}.weight"]
        return F.conv2d(x, weight, self.weights.get(f"{key}.bias"), stride, weight.shape[-1] // 2)

    def memory(self, key: str, x: Tensor) -> Tensor:
        past = torch.cat([torch.zeros_like(x[:1]), x[:-1]])
        y = self.conv(f"{key}.conv.0", torch.cat([x, past], 1)).relu()
        y = self.conv(f"{key}.conv.2", y).relu()
        return (self.conv(f"{key}.conv.4", y) + x).relu()

    def memories(self, network: str, first: int, x: Tensor) -> Tensor:
        for index in range(first, first + 3):
            x = self.memory(f"{network}.{index}", x)
        return x

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [F, z, y, x] -> frames [4F, 3, Y, X]."""
        x = self.conv("decoder.1", 3 * torch.tanh(latents / 3)).relu()
        for first in (3, 9, 15):
            x = F.interpolate(self.memories("decoder", first, x), scale_factor=2, mode="nearest")
            grown = self.conv(f"decoder.{first + 4}.conv", x)
            x = self.conv(f"decoder.{first + 5}", grown.reshape(-1, *x.shape[1:]))
        return self.conv("decoder.22", x.relu())

    def encode(self, frames: Tensor) -> Tensor:
        """Frames [4F, 3, Y, X] -> latents [F, z, y, x]."""
        x = self.conv("encoder.0", frames).relu()
        for first in (2, 7, 12):
            factor = self.weights[f"encoder.{first}.conv.weight"].shape[1] // x.shape[1]
            x = self.conv(f"encoder.{first}.conv", x.reshape(-1, factor * x.shape[1], *x.shape[2:]))
            x = self.memories("encoder", first + 2, self.conv(f"encoder.{first + 1}", x, stride=2))
        return self.conv("encoder.17", x)


def draw(spec: TaehvSpec, rng: np.random.Generator) -> RandomCoder:
    """Random weights; the decoder's last bias centres the frames in [0, 1]."""
    coder = RandomCoder.draw("taehv", taehv_parameters(spec), rng)
    coder.weights["decoder.22.bias"] += 0.5
    return coder


@each_case
def test_streamed_decode_equals_the_whole_clip(rng: np.random.Generator, case: tuple) -> None:
    spec, size, chunks = case
    coder = draw(spec, rng)
    count = latent_count(size, chunks)
    latents = 3 * normal(rng, count, spec.z_dim, *size.latent_picture)  # large enough for the clamp to show
    video, decoded = decode_stream(coder.session(taehv_plan(spec, size, floats=True)), latents)
    with torch.inference_mode():
        expected = WholeClip(coder.weights).decode(torch.from_numpy(latents)).permute(0, 2, 3, 1).numpy()
    assert expected.shape == (4 * count, *size.picture, 3)
    kept = expected[3:]
    errors = [relative_l2(ours, theirs) for ours, theirs in zip(decoded, kept, strict=True)]
    print(f"relative L2 by frame: {', '.join(f'{error:.1e}' for error in errors)}")
    assert max(errors) <= TOLERANCE
    assert 0.1 < np.mean((kept > 0) & (kept < 1)) < 1, "the test needs values inside and outside of the range"
    assert_rounded(video, kept.clip(0, 1) * 255)


@each_case
def test_streamed_encode_equals_the_whole_clip(rng: np.random.Generator, case: tuple) -> None:
    spec, size, chunks = case
    coder = draw(spec, rng)
    frames = random_frames(rng, 4 * latent_count(size, chunks) - 3, size.picture)
    latents = encode_stream(coder.session(taehv_plan(spec, size, floats=True)), frames)
    clip = torch.from_numpy(frames[[0, 0, 0, *range(len(frames))]]).float() / 255
    with torch.inference_mode():
        expected = WholeClip(coder.weights).encode(clip.permute(0, 3, 1, 2))
    errors = [relative_l2(ours, theirs) for ours, theirs in zip(latents, expected, strict=True)]
    print(f"relative L2 by latent: {', '.join(f'{error:.1e}' for error in errors)}")
    assert max(errors) <= TOLERANCE


def test_reset_starts_a_stream_of_the_same_bits(rng: np.random.Generator) -> None:
    """Encoding and decoding alternate in one session and leave nothing behind a reset."""
    size = CoderSize(16, 24)
    assert_reset_starts_afresh(draw(TINY, rng).session(taehv_plan(TINY, size, floats=True)), rng, size)


def test_the_first_chunk_is_five_frames() -> None:
    plan = taehv_plan(TaehvSpec(), CoderSize(480, 832))
    plan.validate()
    assert plan.tensor("video_first").shape == (5, 480, 832, 3)
    assert plan.tensor("video").shape == (4, 480, 832, 3)
