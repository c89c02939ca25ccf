"""The streaming Wan VAE on a device, in bf16, against the whole clip in float64; the yardstick is plain torch in bf16.

The network in torch is the one that `tiny` is trained with, which tests/train compares with diffusers. It gets weights,
frames and latents that bf16 holds. Latents have no statistics here, so that all of them lose alike.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from penstock.runtime.models.frame_network import CoderSize
from penstock.runtime.models.wan_vae import wan_vae_plan
from penstock.runtime.vae_spec import WanVaeSpec, wan_vae_parameters
from tests.helpers import in_bf16, normal, relative_l2
from tests.models.random_coder import RandomCoder, decode_stream, encode_stream, random_frames
from tools.train_tiny.vae import WanVae

DEVICE = os.environ.get("PENSTOCK_OPS_DEVICE", "cuda")
PLAIN = {"mean": (0.0,) * 16, "std": (1.0,) * 16}
CASES = {
    "tiny": (WanVaeSpec(base_dim=16, **PLAIN), CoderSize(48, 80)),
    "full_width": (WanVaeSpec(**PLAIN), CoderSize(64, 96)),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
LATENTS, ATOL = 4, 1e-3  # a first chunk of two and two more; rounding to bf16 once is 2e-3


def draw(spec: WanVaeSpec, rng: np.random.Generator) -> RandomCoder:
    coder = RandomCoder.draw("vae", wan_vae_parameters(spec), rng)
    coder.weights = {name: values.bfloat16().float() for name, values in coder.weights.items()}
    return coder


def network(spec: WanVaeSpec, coder: RandomCoder, dtype: torch.dtype) -> WanVae:
    vae = WanVae(spec)
    vae.load_state_dict({key.replace(".", "/"): value for key, value in coder.weights.items()}, strict=True)
    return vae.to(DEVICE, dtype)


def check(actual: np.ndarray, exact: torch.Tensor, plain: torch.Tensor) -> None:
    error, yardstick = relative_l2(actual, exact.cpu()), relative_l2(plain.double().cpu(), exact.cpu())
    print(f"relative L2 {error:.1e}, plain bf16 {yardstick:.1e}")
    assert error <= 2 * yardstick + ATOL


@each_case
@torch.inference_mode()
def test_encode(rng: np.random.Generator, case: tuple[WanVaeSpec, CoderSize]) -> None:
    spec, size = case
    coder, frames = draw(spec, rng), random_frames(rng, 4 * LATENTS - 3, size.picture)
    latents = encode_stream(coder.session(wan_vae_plan(spec, size, floats=True), device=DEVICE), frames)
    clip = (torch.from_numpy(frames).double() / 127.5 - 1).permute(0, 3, 1, 2)[None].to(DEVICE)
    exact, plain = (network(spec, coder, dtype).encode(clip.to(dtype))[0] for dtype in (torch.double, torch.bfloat16))
    check(latents, exact, plain)


@each_case
@torch.inference_mode()
def test_decode(rng: np.random.Generator, case: tuple[WanVaeSpec, CoderSize]) -> None:
    spec, size = case
    coder, latents = draw(spec, rng), in_bf16(normal(rng, LATENTS, spec.z_dim, *size.latent_picture))
    _, decoded = decode_stream(coder.session(wan_vae_plan(spec, size, floats=True), device=DEVICE), latents)
    z = torch.from_numpy(latents)[None].to(DEVICE)
    exact, plain = (network(spec, coder, dtype).decode(z.to(dtype))[0].permute(0, 2, 3, 1)
                    for dtype in (torch.double, torch.bfloat16))  # fmt: skip
    check(decoded, exact, plain)
