"""One chunk on a fresh cache against diffusers' WanTransformer3DModel with the same random weights.

The first chunk attends to nothing but itself, in both directions: that is what diffusers computes for a whole clip.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import WanTransformer3DModel

from penstock.runtime.config import Config
from penstock.runtime.dit_spec import DitSpec
from penstock.runtime.engine import Session
from penstock.runtime.wan_keys import to_diffusers_key
from tests.helpers import relative_l2
from tests.models.random_dit import RandomDit, prompt

TINY = DitSpec(dim=48, ffn_dim=80, heads=2, layers=3, text_len=512, text_dim=40, freq_dim=32)
HEAD_128 = DitSpec(dim=256, ffn_dim=320, heads=2, layers=2, text_len=512, text_dim=64, freq_dim=256)
FULL_WIDTH = DitSpec(dim=1536, ffn_dim=8960, heads=12, layers=2, text_len=512, text_dim=4096, freq_dim=256)

# spec, pixels (height, width), latent frames, timestep, prompt rows
CASES = {
    "tiny": (TINY, (64, 96), 2, 700, 19),
    "one_row_prompt": (TINY, (64, 96), 1, 1000, 1),
    "full_prompt": (TINY, (32, 32), 3, 1, 512),
    "ragged": (HEAD_128, (48, 80), 2, 613, 77),
    "full_width": (FULL_WIDTH, (64, 80), 2, 500, 33),
}


class ExactSinusoid(torch.nn.Module):
    """The sinusoid of a timestep in float64, as in the published model (specification 4.3).

    diffusers takes timestep * frequency in float32. That costs up to 5e-6 of the result, more than all the rest.
    """

    def __init__(self, frequencies: int):
        super().__init__()
        self.half = frequencies // 2

    def forward(self, timestep: torch.Tensor) -> torch.Tensor:
        angles = timestep.double()[:, None] * 10000.0 ** (-torch.arange(self.half, dtype=torch.float64) / self.half)
        return torch.cat([angles.cos(), angles.sin()], dim=-1).float()


def diffusers_model(dit: RandomDit) -> WanTransformer3DModel:
    spec = dit.spec
    model = WanTransformer3DModel(
        patch_size=spec.patch, num_attention_heads=spec.heads, attention_head_dim=spec.head_dim, in_channels=16,
        out_channels=16, text_dim=spec.text_dim, freq_dim=spec.freq_dim, ffn_dim=spec.ffn_dim, num_layers=spec.layers,
        cross_attn_norm=True, qk_norm="rms_norm_across_heads", eps=spec.eps,
    )  # fmt: skip
    model.load_state_dict({to_diffusers_key(name): values for name, values in dit.weights.items()}, strict=True)
    return model.eval()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_one_chunk_equals_diffusers(rng: np.random.Generator, case: tuple) -> None:
    spec, (height, width), frames, timestep, rows = case
    dit = RandomDit.draw(spec, rng)
    config = Config(height=height, width=width, steps=1, timesteps=(timestep,), first_latents=frames)
    latents = rng.standard_normal((frames, 16, height // 8, width // 8), dtype=np.float32)
    text = prompt(spec, rows, rng)

    flow = run_chunk(dit.engine(config).session(), latents, text)
    padded = torch.zeros(1, spec.text_len, spec.text_dim)
    padded[0, :rows] = torch.from_numpy(text)
    inputs = torch.from_numpy(latents).transpose(0, 1)[None], torch.tensor([float(timestep)]), padded
    model = diffusers_model(dit)
    assert difference(flow, model, inputs) <= 1e-5
    model.condition_embedder.timesteps_proj = ExactSinusoid(spec.freq_dim)
    assert difference(flow, model, inputs) <= 3e-6


def difference(flow: np.ndarray, model: WanTransformer3DModel, inputs: tuple[torch.Tensor, ...]) -> float:
    with torch.inference_mode():
        expected = model(*inputs).sample[0].transpose(0, 1)
    error = relative_l2(flow[0], expected)
    print(f"relative L2 against diffusers: {error:.2e}")
    return error


def run_chunk(session: Session, latents: np.ndarray, *texts: np.ndarray) -> np.ndarray:
    """Flow of one chunk, after setting every prompt in turn."""
    for text in texts:
        session.set_prompt(text)
    session.write("noise_scale", [0.0])  # the model's input is then the latents
    session.write("latents_first", latents)
    session.run("denoise_first")
    return session.read("flow_first")


def test_nothing_but_the_prompt_and_the_latents_decides_a_bit(rng: np.random.Generator) -> None:
    """Not the number of threads, not an earlier chunk or a longer earlier prompt, not a reset."""
    dit = RandomDit.draw(HEAD_128, rng)
    config = Config(height=48, width=80, steps=1)
    latents, others = rng.standard_normal((2, 2, 16, 6, 10), dtype=np.float32)
    text, longer = prompt(HEAD_128, 9, rng), prompt(HEAD_128, 200, rng)
    session = dit.engine(config, threads=2).session()
    flow = run_chunk(session, latents, text)
    assert np.array_equal(run_chunk(dit.engine(config, threads=1).session(), latents, text), flow)
    assert not np.array_equal(run_chunk(session, others, longer), flow)
    assert np.array_equal(run_chunk(session, latents, longer, text), flow)
    session.reset()
    assert np.array_equal(run_chunk(session, latents, text), flow)
