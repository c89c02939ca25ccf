"""The Wan VAE's convolutions on a device, in both forms, at production shapes, against torch in float32.

When the form "cuda" passes here on a Hopper, kIsVerifiedOnDevice of csrc/ops/causal_conv3d/choice.h may be set.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference_vae
from penstock.kernels.nvcc import obstacle
from tests.helpers import relative_l2
from tests.ops.test_causal_conv3d import LAYERS

from .test_ops import EngineOp, Tensors

FORMS = ["triton", pytest.param("cuda", marks=pytest.mark.skipif(obstacle() is not None, reason=str(obstacle())))]
# Layer, input and output channels, picture in positions, new frames of x.
PRODUCTION = {
    "96, 480x832": ("residual block", (96, 96), (480, 832), 4),
    "192, 240x416": ("residual block", (192, 192), (240, 416), 4),
    "384, 120x208": ("residual block", (384, 384), (120, 208), 2),
    "384, 60x104": ("residual block", (384, 384), (60, 104), 1),
    "96 to 192": ("residual block", (96, 192), (240, 416), 4),
    "shortcut": ("shortcut", (96, 192), (240, 416), 4),
    "down2d": ("down2d", (96, 96), (240, 416), 4),
    "down3d in time": ("down3d in time", (384, 384), (60, 104), 2),
    "up3d in time": ("up3d in time", (384, 384), (120, 208), 2),
    "up2d to 192": ("up2d", (384, 192), (120, 208), 4),
    "up2d to 96": ("up2d", (192, 96), (240, 416), 4),
    "512x512": ("residual block", (96, 96), (512, 512), 4),
    "ragged": ("residual block", (96, 192), (37, 51), 2),
    "ragged doubled": ("up2d", (192, 96), (11, 19), 2),
    "TAEHV": ("memory block", (64, 64), (240, 416), 2),
}
NORMED = {"96, 480x832", "192, 240x416", "up2d to 96", "down2d", "ragged", "TAEHV"}  # with gamma, and raw beside y


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", PRODUCTION)
def test_production_shape(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, name: str, form: str) -> None:
    """Rings that wrap, bias and residual; frames that are of no use are NaN. A second run gives the same bits."""
    monkeypatch.setenv("PENSTOCK_IMPL", f"causal_conv3d={form}")
    kind, channels, picture, frames = PRODUCTION[name]
    layer = LAYERS[kind]
    x_shape, y_shape = layer.shapes(channels, picture)
    out, x_frames = layer.out_frames(frames), frames + layer.halo + 1
    torch.manual_seed(int(rng.integers(1 << 31)))
    seen = torch.from_numpy(rng.integers(0, 50, (2, 1)))
    inputs = {
        "x": normal(x_frames, *x_shape),
        "x_frame": seen[0],
        "weight": normal(*layer.weight_shape(*channels)) / (4 * channels[0]) ** 0.5,
        "bias": normal(layer.interleave * channels[1]),
        "residual": normal(out, *y_shape),
        "y_frame": seen[1],
    }
    inputs["x"][(int(seen[0]) + frames) % x_frames] = float("nan")  # in front of the halo
    if name in NORMED:
        inputs |= {"gamma": normal(channels[1]), "raw_frame": seen[0]}
    attributes = {"frames": frames, "activation": "silu" if name in NORMED else "none", **layer.attributes}
    made, again = (run(inputs, (out + 1, *y_shape), attributes) for _ in range(2))
    exact, plain = (expect(inputs, dtype, out + 1, attributes) for dtype in (torch.float32, torch.bfloat16))
    for role, values in made.items():
        assert torch.equal(values.view(torch.int16), again[role].view(torch.int16))
        assert torch.equal(values.isnan(), exact[role].isnan())
        error, yardstick = (relative_l2(one.nan_to_num(), exact[role].nan_to_num()) for one in (values, plain[role]))
        print(f"{name}, {role}: relative L2 {error:.1e}, plain bf16 {yardstick:.1e}")
        assert error <= 2 * yardstick


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.bfloat16, device="cuda")


def run(inputs: Tensors, y_shape: tuple[int, ...], attributes: dict[str, int | str]) -> Tensors:
    roles = ("y", "raw") if "raw_frame" in inputs else ("y",)
    outputs = {role: torch.full(y_shape, float("nan"), dtype=torch.bfloat16, device="cuda") for role in roles}
    EngineOp("causal_conv3d", dict.fromkeys(roles, y_shape), {})(**inputs, **outputs, **attributes)
    return outputs


def expect(inputs: Tensors, dtype: torch.dtype, y_frames: int, attributes: dict[str, int | str]) -> Tensors:
    tensors = {role: tensor.to(dtype) if tensor.is_floating_point() else tensor for role, tensor in inputs.items()}
    raw_frames = y_frames if "raw_frame" in inputs else None
    with torch.backends.cudnn.flags(allow_tf32=False), torch.device("cuda"):
        outputs = reference_vae.causal_conv3d(**tensors, y_frames=y_frames, raw_frames=raw_frames, **attributes)
    return {role: values.float() for role, values in outputs.items()}
