"""The Wan DiT and its denoising stream over a whole clip, written once more without any of the runtime's machinery.

Plain torch in float64 (or float32, as the yardstick of what that precision gives). No ring and no slots: the keys and
values of every frame are kept for ever, un-rotated, and attention picks the frames that the rolling cache is meant to
hold. Formulas: specification 2.2, 2.5.3, 4.3 to 4.5, 4.9.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

import torch
import torch.nn.functional as nnf
from torch import Tensor

from penstock.kernels.reference import INPUT_NOISE, RENOISE, philox_normals
from penstock.runtime.config import Config
from penstock.runtime.dit_spec import DitSpec
from penstock.runtime.schedule import sigma_of

THETA = 10000.0


class BlockCausalDit:
    """The network with a history of keys and values; ``forward`` of a chunk adds its frames to one history."""

    def __init__(self, spec: DitSpec, config: Config, weights: Mapping[str, Tensor], text: Tensor, dtype: torch.dtype):
        """weights: by Wan name. text: embeddings [rows <= text_len, text_dim], padded with zero rows here."""
        self.spec, self.config, self.dtype = spec, config, dtype
        self.weights = {name: values.to(dtype) for name, values in weights.items()}
        padded = torch.zeros(spec.text_len, spec.text_dim, dtype=dtype)
        padded[: len(text)] = text.to(dtype)
        hidden = nnf.gelu(self.linear("text_embedding.0", padded), approximate="tanh")
        context = self.linear("text_embedding.2", hidden)
        self.text = [self.text_keys_and_values(f"blocks.{layer}.cross_attn", context) for layer in range(spec.layers)]
        self.rotations: dict[int, tuple[Tensor, Tensor]] = {}
        # (history, layer) -> frame -> (k [T, H, D] before rotation, v [T, H, D])
        self.frames: dict[tuple[int, int], dict[int, tuple[Tensor, Tensor]]] = defaultdict(dict)

    def linear(self, name: str, x: Tensor) -> Tensor:
        return nnf.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def rms(self, name: str, x: Tensor) -> Tensor:
        return nnf.rms_norm(x, x.shape[-1:], self.weights[f"{name}.weight"], self.spec.eps)

    def norm(self, x: Tensor) -> Tensor:
        return nnf.layer_norm(x, x.shape[-1:], eps=self.spec.eps)

    def heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.spec.heads, self.spec.head_dim))

    def kept_frames(self, last: int) -> list[int]:
        """Frames in the cache once frame ``last`` is: the pinned first ones and the newest ones of the rolling part."""
        rolling = self.config.cache_frames - self.config.sink_frames
        return [frame for frame in range(last + 1) if frame < self.config.sink_frames or frame > last - rolling]

    def position(self, first_frame: int) -> int:
        """Rotary position of the chunk that begins at ``first_frame``: the stream's, played from its start."""
        if first_frame == 0:
            return 0
        position = frame = self.config.first_latents
        while frame < first_frame:
            frame, position = frame + self.config.chunk_latents, position + self.config.chunk_latents
            if position >= self.config.refresh_frames:
                position = self.config.cache_frames - self.config.chunk_latents
        return position

    def rotary_position(self, frame: int, first_frame: int) -> int:
        """A frame's position as seen by the chunk at ``first_frame``: pinned, or at its distance from the chunk."""
        return frame if frame < self.config.sink_frames else self.position(first_frame) + frame - first_frame

    def rotate(self, x: Tensor, position: int) -> Tensor:
        """x [T, H, D] of one frame, each pair of adjacent components turned by its position's angle."""
        cos, sin = self.rotation(position)
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)

    def rotation(self, position: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines [T, 1, D/2] of the tokens of a frame at a temporal position."""
        if position not in self.rotations:
            side = self.spec.head_dim // 6
            sides = torch.arange(self.config.token_rows), torch.arange(self.config.token_columns)
            row, column = torch.meshgrid(*sides, indexing="ij")
            axes = [(torch.full_like(row, position), self.spec.head_dim // 2 - 2 * side), (row, side), (column, side)]
            angles = torch.cat([place.reshape(-1, 1, 1) * THETA ** (-torch.arange(pairs, dtype=torch.float64) / pairs)
                                for place, pairs in axes], dim=-1)  # fmt: skip
            self.rotations[position] = angles.cos().to(self.dtype), angles.sin().to(self.dtype)
        return self.rotations[position]

    def forward(self, latents: Tensor, timestep: float, first_frame: int, history: int) -> Tensor:
        """latents [F, C, h, w] at frames first_frame, ... -> flow of the same shape."""
        weight = self.weights["patch_embedding.weight"][:, :, 0]
        x = nnf.conv2d(latents, weight, self.weights["patch_embedding.bias"], stride=2).flatten(2).transpose(1, 2)
        half = self.spec.freq_dim // 2
        angles = timestep * THETA ** (-torch.arange(half, dtype=torch.float64) / half)
        sinusoid = torch.cat([angles.cos(), angles.sin()]).to(self.dtype)
        e = self.linear("time_embedding.2", nnf.silu(self.linear("time_embedding.0", sinusoid)))
        e0 = self.linear("time_projection.1", nnf.silu(e)).reshape(6, -1)
        for layer in range(self.spec.layers):
            x = self.block(layer, x, e0, first_frame, history)
        shift, scale = self.weights["head.modulation"][0] + e
        out = self.linear("head.head", self.norm(x) * (1 + scale) + shift)
        patches = out.reshape(len(x), self.config.token_rows, self.config.token_columns, 2, 2, -1)
        return patches.permute(0, 5, 1, 3, 2, 4).reshape(latents.shape)

    def block(self, layer: int, x: Tensor, e0: Tensor, first_frame: int, history: int) -> Tensor:
        """One transformer block on x [F, T, d]."""
        name = f"blocks.{layer}"
        shift1, scale1, gate1, shift2, scale2, gate2 = self.weights[f"{name}.modulation"][0] + e0
        update = self.self_attention(layer, self.norm(x) * (1 + scale1) + shift1, first_frame, history)
        x = x + gate1 * update
        affine = (self.weights[f"{name}.norm3.weight"], self.weights[f"{name}.norm3.bias"])
        x = x + self.cross_attention(layer, nnf.layer_norm(x, x.shape[-1:], *affine, eps=self.spec.eps))
        hidden = self.linear(f"{name}.ffn.0", self.norm(x) * (1 + scale2) + shift2)
        return x + gate2 * self.linear(f"{name}.ffn.2", nnf.gelu(hidden, approximate="tanh"))

    def self_attention(self, layer: int, u: Tensor, first_frame: int, history: int) -> Tensor:
        name, frames = f"blocks.{layer}.self_attn", self.frames[history, layer]
        q, k, v = (self.linear(f"{name}.{part}", u) for part in "qkv")
        q, k, v = self.heads(self.rms(f"{name}.norm_q", q)), self.heads(self.rms(f"{name}.norm_k", k)), self.heads(v)
        numbers = range(first_frame, first_frame + len(u))
        frames.update(zip(numbers, zip(k, v, strict=True), strict=True))
        kept = self.kept_frames(numbers[-1])
        places = {frame: self.rotary_position(frame, first_frame) for frame in {*numbers, *kept}}
        queries = torch.cat([self.rotate(rows, places[frame]) for rows, frame in zip(q, numbers, strict=True)])
        keys = torch.cat([self.rotate(frames[frame][0], places[frame]) for frame in kept])
        values = torch.cat([frames[frame][1] for frame in kept])
        return self.linear(f"{name}.o", attention(queries, keys, values).reshape(u.shape))

    def cross_attention(self, layer: int, u: Tensor) -> Tensor:
        name = f"blocks.{layer}.cross_attn"
        q = self.heads(self.rms(f"{name}.norm_q", self.linear(f"{name}.q", u))).flatten(0, 1)
        return self.linear(f"{name}.o", attention(q, *self.text[layer]).reshape(u.shape))

    def text_keys_and_values(self, name: str, context: Tensor) -> tuple[Tensor, Tensor]:
        keys = self.rms(f"{name}.norm_k", self.linear(f"{name}.k", context))
        return self.heads(keys), self.heads(self.linear(f"{name}.v", context))

    def share_history(self, histories: int) -> None:
        """Every history becomes a copy of history 0."""
        for layer in range(self.spec.layers):
            for history in range(1, histories):
                self.frames[history, layer] = dict(self.frames[0, layer])


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q [N, H, D], k and v [L, H, D] -> [N, H, D], every query over every key."""
    scores = torch.einsum("nhd,lhd->hnl", q, k) / math.sqrt(q.shape[-1])
    return torch.einsum("hnl,lhd->nhd", scores.softmax(dim=-1), v)


class ClipDenoiser:
    """Denoises a clip chunk after chunk, all steps of a chunk before the next chunk, as the modes are meant to be.

    Slots of a stream batch and ``per_step`` mean: a history of its own for every step. One history otherwise.
    """

    def __init__(self, dit: BlockCausalDit, seed: int = 0):
        self.dit, self.config, self.seed = dit, dit.config, seed

    def denoise(self, chunk: int, latents: Tensor, noise_scale: float, noise: Tensor | None,
                first_timestep: float | None = None) -> list[Tensor]:  # fmt: skip
        """x0 of every pass. latents [F, C, h, w]; noise [passes, F, C, h, w]: the input draw, then the re-noise draws,

        or None for Philox noise. Chunk 0 is the first chunk, whose passes all use one history that is then shared.
        first_timestep stands in for the schedule's first entry.
        """
        config, dtype = self.config, self.dit.dtype
        latents = latents.to(dtype)
        draws = [self.draw(chunk, step, latents) if noise is None else noise[step].to(dtype)
                 for step in range(config.passes)]  # fmt: skip
        schedule = config.schedule if first_timestep is None else (first_timestep, *config.schedule[1:])
        sigmas = [sigma_of(timestep) for timestep in schedule]
        first_frame = config.first_latents + (chunk - 1) * config.chunk_latents if chunk else 0
        x = noise_scale * draws[0] + (1 - noise_scale) * latents
        results = []
        for step, timestep in enumerate(schedule):
            history = step if chunk and config.cache_slots > 1 else 0
            results.append(x - sigmas[step] * self.dit.forward(x, timestep, first_frame, history))
            if step + 1 < config.passes:
                x = (1 - sigmas[step + 1]) * results[-1] + sigmas[step + 1] * draws[step + 1]
        if chunk == 0:
            self.dit.share_history(config.cache_slots)
        return results

    def draw(self, chunk: int, step: int, like: Tensor) -> Tensor:
        """Draw 0 is the input noise; draw i the noise that takes step i - 1 to step i."""
        purpose, slot = (RENOISE, step - 1) if step else (INPUT_NOISE, 0)
        return philox_normals(self.seed, chunk, slot, purpose, like)
