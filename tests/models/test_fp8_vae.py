"""The Wan VAE with 8-bit floats against diffusers' AutoencoderKLWan whose convolutions behind a norm are rounded alike.

A value on the border between two codes takes the one or the other by its last bits, which moves it by 1/16, and more of
them behind it. Where no value lies on one, the networks agree as without rounding; that can be had of few pixels and
some draws. Where many do, they differ by less than the rounded network does from the unrounded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanResidualBlock, WanRMS_norm
from torch import nn

from penstock.runtime.models.frame_network import CoderSize
from penstock.runtime.models.wan_vae import wan_vae_plan
from penstock.runtime.vae_spec import WanVaeSpec
from tests.helpers import normal, relative_l2
from tests.models.random_coder import (
    RandomCoder,
    assert_reset_starts_afresh,
    decode_stream,
    encode_stream,
    random_frames,
)
from tests.models.test_wan_vae import FULL_WIDTH, TINY, diffusers_vae, draw

SMALL = WanVaeSpec(base_dim=32, dim_mult=(1, 2, 8, 1))  # norms as part of a convolution, and over 256 alone
DRAWS = 14  # about every second one agrees


def power_of_two(largest: torch.Tensor) -> torch.Tensor:
    """The smallest with which ``largest`` is at most 448 times as large."""
    return torch.exp2(torch.ceil(torch.log2(largest.double() / 448))).float()


def rounded(values: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return (values / scale).to(torch.float8_e4m3fn).float() * scale


def round_inputs(conv: nn.Module, norm: WanRMS_norm) -> None:
    """Makes a convolution multiply 8-bit floats: its weight now, what it gets (and cached before) when it runs."""
    if conv.in_channels % 32:
        return
    largest = norm.gamma.abs().max() * conv.in_channels**0.5
    conv.weight.data = rounded(conv.weight, power_of_two(conv.weight.abs().amax((1, 2, 3, 4), keepdim=True)))

    def hook(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(rounded(x, power_of_two(largest)) if isinstance(x, torch.Tensor) else x for x in args)

    conv.register_forward_pre_hook(hook)


def rounded_vae(spec: WanVaeSpec, coder: RandomCoder) -> AutoencoderKLWan:
    vae = diffusers_vae(spec, coder)
    with torch.no_grad():
        for block in vae.modules():
            if isinstance(block, WanResidualBlock):
                round_inputs(block.conv1, block.norm1)
                round_inputs(block.conv2, block.norm2)
        for half in (vae.encoder, vae.decoder):
            round_inputs(half.conv_out, half.norm_out)
    return vae


def encoders(rng: np.random.Generator, spec: WanVaeSpec, size: CoderSize, count: int) -> tuple[float, float]:
    """Relative L2 of our latents of ``count`` frames from the rounded network's, and of those from the unrounded's."""
    coder, frames = draw(spec, rng), random_frames(rng, count, size.picture)
    ours = encode_stream(coder.session(wan_vae_plan(spec, size, floats=True, fp8=True)), frames)
    clip = (torch.from_numpy(frames).float() / 127.5 - 1).permute(3, 0, 1, 2)[None]
    with torch.inference_mode():
        alike, plain = (vae(spec, coder).encode(clip).latent_dist.mean[0].transpose(0, 1)
                        for vae in (rounded_vae, diffusers_vae))  # fmt: skip
    return relative_l2(ours, alike), relative_l2(alike, plain)


def decoders(rng: np.random.Generator, spec: WanVaeSpec, size: CoderSize, count: int) -> tuple[float, float]:
    """The same of ``count`` frames that are decoded."""
    coder, latents = draw(spec, rng), normal(rng, (count + 3) // 4, spec.z_dim, *size.latent_picture)
    _, ours = decode_stream(coder.session(wan_vae_plan(spec, size, floats=True, fp8=True)), latents)
    mean, std = (torch.tensor(values)[:, None, None] for values in (spec.mean, spec.std))
    z = (torch.from_numpy(latents) * std + mean).transpose(0, 1)[None]
    with torch.inference_mode():
        alike, plain = (vae(spec, coder).decode(z).sample[0].permute(1, 2, 3, 0)
                        for vae in (rounded_vae, diffusers_vae))  # fmt: skip
    return relative_l2(ours.clip(-1, 1), alike), relative_l2(alike, plain)


each_half = pytest.mark.parametrize("errors", [encoders, decoders])


@each_half
def test_equal_where_no_value_lies_on_a_border(rng: np.random.Generator, errors: Callable) -> None:
    size = CoderSize(8, 8, first_latents=1)
    for _ in range(DRAWS):
        error, effect = errors(rng, SMALL, size, 5)
        print(f"relative L2 {error:.1e} of {effect:.1e}")
        assert effect > 0.01
        if error < 1e-5:
            return
    pytest.fail(f"none of {DRAWS} draws agreed")


@each_half
def test_alike_where_many_do(rng: np.random.Generator, errors: Callable) -> None:
    error, effect = errors(rng, TINY, CoderSize(16, 24), 9)
    print(f"relative L2 {error:.1e} from the rounded network, which is {effect:.1e} from the other")
    assert error < 0.9 * effect and 0.01 < effect < 0.3


def test_reset_starts_a_stream_of_the_same_bits(rng: np.random.Generator) -> None:
    size = CoderSize(16, 24)
    assert_reset_starts_afresh(draw(TINY, rng).session(wan_vae_plan(TINY, size, floats=True, fp8=True)), rng, size)


def test_what_is_coded() -> None:
    """Both 3x3x3 convolutions of the residual blocks and the last one, 28 + 1 in the decoder and 20 + 1 in the encoder,
    and nothing else; the rings between them are bytes."""
    plan = wan_vae_plan(FULL_WIDTH, CoderSize(480, 832), fp8=True)
    plan.validate()
    ops = [op for phase in ("encode", "decode") for op in plan.phases[phase] if op.op == "causal_conv3d"]
    coded = Counter(op.inputs["weight"].split(".")[1] for op in {op.inputs["weight"]: op for op in ops}.values()
                    if "sum_scale" in op.inputs)  # fmt: skip
    assert coded == {"encoder": 2 * 10 + 1, "decoder": 2 * 14 + 1}
    for op in ops:
        kernel = plan.tensor(op.inputs["weight"])
        is_cube = kernel.shape[1:4] == (3, 3, 3) and kernel.shape[4] > 16
        assert is_cube == (kernel.dtype == plan.tensor(op.inputs["x"]).dtype == "u8")
        is_video = op.attributes.get("y_range", "none") != "none"
        assert ("y_scale" in op.inputs) == (plan.tensor(op.outputs["y"]).dtype == "u8" and not is_video)
