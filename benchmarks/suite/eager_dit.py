"""The causal DiT's forward in plain eager torch, float32: what a PyTorch user would write, as a yardstick for speed.

The same work as the plan's: S slots of one frame each, steady state (the rolling cache is full), text keys cached.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from penstock.runtime.config import Config
from penstock.runtime.dit_spec import DitSpec, dit_parameters
from penstock.runtime.rope import rope_table
from penstock.runtime.weights import WeightSet


class EagerDit:
    """Weights by Wan key, caches [S, tokens, heads, head_dim] and text keys per layer."""

    def __init__(self, spec: DitSpec, config: Config, weights: WeightSet, prompt: torch.Tensor):
        self.spec, self.config = spec, config
        self.w = {key: torch.from_numpy(weights.numpy(f"dit.{key}")) for key in dit_parameters(spec)}
        shape = (config.slots, config.cache_frames * config.frame_tokens, spec.heads, spec.head_dim)
        self.k_cache = [torch.randn(shape) for _ in range(spec.layers)]
        self.v_cache = [torch.randn(shape) for _ in range(spec.layers)]
        context = F.gelu(self.linear("text_embedding.0", prompt), approximate="tanh")
        context = self.linear("text_embedding.2", context)
        self.text = []
        for i in range(spec.layers):
            keys = self.rms(f"blocks.{i}.cross_attn.norm_k.weight", self.linear(f"blocks.{i}.cross_attn.k", context))
            self.text.append((self.heads(keys, 1), self.heads(self.linear(f"blocks.{i}.cross_attn.v", context), 1)))
        self.rotation = self.rotation_of(7)

    def linear(self, key: str, x: torch.Tensor) -> torch.Tensor:
        weight = self.w[f"{key}.weight"]
        return F.linear(x, weight.flatten(1), self.w[f"{key}.bias"])

    def rms(self, key: str, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.w[key], self.spec.eps)

    def norm(self, x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, (x.shape[-1],), eps=self.spec.eps) * (1 + scale) + shift

    def heads(self, x: torch.Tensor, rows: int) -> torch.Tensor:
        return x.view(rows, -1, self.spec.heads, self.spec.head_dim)

    def rotation_of(self, frame: int) -> torch.Tensor:
        """Complex rotations [tokens, 1, head_dim/2] of one frame's tokens."""
        c, d = self.config, self.spec.head_dim
        table = torch.view_as_complex(torch.from_numpy(rope_table(d)).view(-1, d // 2, 2))
        spatial = d // 6
        t, y, x = torch.split(table, [d // 2 - 2 * spatial, spatial, spatial], dim=1)
        grid = (c.token_rows, c.token_columns, -1)
        parts = (
            t[frame].expand(*grid),
            y[: c.token_rows, None].expand(*grid),
            x[None, : c.token_columns].expand(*grid),
        )
        return torch.cat(parts, dim=-1).reshape(-1, 1, d // 2)

    def rope(self, x: torch.Tensor) -> torch.Tensor:
        pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * self.rotation).flatten(-2)

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        out = F.scaled_dot_product_attention(*(part.transpose(1, 2) for part in (q, k, v)))
        return out.transpose(1, 2).flatten(2)

    def block(self, i: int, x: torch.Tensor, e0: torch.Tensor, write: int) -> torch.Tensor:
        """One block on x [S, tokens, d]; writes the new keys and values to cache frame ``write``."""
        slots, tokens = x.shape[0], x.shape[1]
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.w[f"blocks.{i}.modulation"] + e0).chunk(6, dim=1)
        key = f"blocks.{i}.self_attn"
        u = self.norm(x, shift1, scale1)
        q = self.heads(self.rms(f"{key}.norm_q.weight", self.linear(f"{key}.q", u)), slots)
        k = self.heads(self.rms(f"{key}.norm_k.weight", self.linear(f"{key}.k", u)), slots)
        span = slice(write * tokens, (write + 1) * tokens)
        self.k_cache[i][:, span] = self.rope(k)
        self.v_cache[i][:, span] = self.heads(self.linear(f"{key}.v", u), slots)
        x = x + gate1 * self.linear(f"{key}.o", self.attend(self.rope(q), self.k_cache[i], self.v_cache[i]))

        key = f"blocks.{i}.cross_attn"
        norm3 = F.layer_norm(x, (x.shape[-1],), self.w[f"blocks.{i}.norm3.weight"], self.w[f"blocks.{i}.norm3.bias"],
                             self.spec.eps)  # fmt: skip
        q = self.heads(self.rms(f"{key}.norm_q.weight", self.linear(f"{key}.q", norm3)), slots)
        text = (part.expand(slots, -1, -1, -1) for part in self.text[i])
        x = x + self.linear(f"{key}.o", self.attend(q, *text))
        up = F.gelu(self.linear(f"blocks.{i}.ffn.0", self.norm(x, shift2, scale2)), approximate="tanh")
        return x + gate2 * self.linear(f"blocks.{i}.ffn.2", up)

    def time(self, timestep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(e0 [S, 6, d], e [S, 1, d])"""
        half = self.spec.freq_dim // 2
        angles = timestep[:, None] * 10000.0 ** (-torch.arange(half) / half)
        e = self.linear("time_embedding.0", torch.cat([angles.cos(), angles.sin()], dim=1))
        e = self.linear("time_embedding.2", F.silu(e))
        return self.linear("time_projection.1", F.silu(e)).unflatten(1, (6, -1)), e[:, None]

    @torch.inference_mode()
    def forward(self, latents: torch.Tensor, timestep: torch.Tensor, write: int) -> torch.Tensor:
        """Flow of latents [S, 16, h, w] at timestep [S]."""
        slots, channels = latents.shape[:2]
        c = self.config
        patches = latents.view(slots, channels, c.token_rows, 2, c.token_columns, 2).permute(0, 2, 4, 1, 3, 5)
        x = self.linear("patch_embedding", patches.reshape(slots, -1, channels * 4))
        e0, e = self.time(timestep)
        for i in range(self.spec.layers):
            x = self.block(i, x, e0, write)
        shift, scale = (self.w["head.modulation"] + e).chunk(2, dim=1)
        y = self.linear("head.head", self.norm(x, shift, scale))
        y = y.view(slots, c.token_rows, c.token_columns, 2, 2, -1).permute(0, 5, 1, 3, 2, 4)
        return y.reshape(latents.shape)
