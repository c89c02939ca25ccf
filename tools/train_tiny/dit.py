"""The Wan causal DiT in plain torch, for training: the parameters are those of `dit_parameters`, under the same keys.

All frames of a clip go through at once under a mask that lets each see what the rolling cache would hold, with its
noise level, position and prompt each (specification 4.3, 4.4).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from penstock.runtime.dit_spec import DitSpec, dit_parameters
from penstock.runtime.rope import axis_pairs, rope_table

FLOW_GAIN = 8.0  # flows are large where little noise is asked for; the exported head is multiplied by it


class WanDit(nn.Module):
    """flow = model(x, timesteps, positions, context, prompts): see `forward`."""

    def __init__(self, spec: DitSpec):
        super().__init__()
        self.spec = spec
        for key, shape in dit_parameters(spec).items():
            self.register_parameter(key.replace(".", "/"), nn.Parameter(_initial(key, shape)))
        self.register_buffer("rope", torch.from_numpy(rope_table(spec.head_dim)).unflatten(1, (-1, 2)), False)

    def weights(self) -> dict[str, Tensor]:
        """The parameters under the keys of the original checkpoint, the head's gain included."""
        values = {key.replace("/", "."): value.detach() for key, value in self.named_parameters()}
        return values | {key: FLOW_GAIN * values[key] for key in ("head.head.weight", "head.head.bias")}

    def _p(self, key: str) -> Tensor:
        return getattr(self, key.replace(".", "/"))

    def _linear(self, key: str, x: Tensor) -> Tensor:
        return F.linear(x, self._p(f"{key}.weight"), self._p(f"{key}.bias"))

    def _rms(self, key: str, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], self._p(f"{key}.weight"), self.spec.eps)

    def _layer_norm(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], eps=self.spec.eps)

    def forward(self, x: Tensor, timesteps: Tensor, positions: Tensor, context: Tensor, prompts: Tensor) -> Tensor:
        """Flow of noisy latents x [N, T, C, h, w].

        timesteps, positions, prompts [N, T]: of every frame its timestep, its temporal position and the row of
        ``context`` [P, text_len, text_dim] that holds its prompt's embeddings, zero past their end.
        """
        n, t, _, h, w = x.shape
        rows, columns = h // 2, w // 2
        tokens = F.conv2d(x.flatten(0, 1), self._p("patch_embedding.weight")[:, :, 0],
                          self._p("patch_embedding.bias"), stride=2)  # fmt: skip
        hidden = tokens.flatten(2).transpose(1, 2).unflatten(0, (n, t))  # [N, T, tokens, d]
        time, modulation = self._time(timesteps)
        rotation = self._rotation(positions, rows, columns)
        mask = _visible(t, rows * columns).to(x.device)
        text = self._linear("text_embedding.2", F.gelu(self._linear("text_embedding.0", context), approximate="tanh"))
        for layer in range(self.spec.layers):
            hidden = self._block(layer, hidden, modulation, rotation, mask, text, prompts)
        shift, scale = (self._p("head.modulation") + time.unsqueeze(2)).unsqueeze(3).unbind(2)
        out = FLOW_GAIN * self._linear("head.head", self._layer_norm(hidden) * (1 + scale) + shift)
        out = out.reshape(n, t, rows, columns, 2, 2, -1).permute(0, 1, 6, 2, 4, 3, 5)
        return out.reshape(n, t, -1, h, w)

    def _time(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """e [N, T, d] and e0 [N, T, 6, d]."""
        half = self.spec.freq_dim // 2
        angles = timesteps.unsqueeze(-1) * 10000.0 ** (-torch.arange(half, device=timesteps.device) / half)
        wave = torch.cat([angles.cos(), angles.sin()], -1)
        time = self._linear("time_embedding.2", F.silu(self._linear("time_embedding.0", wave)))
        return time, self._linear("time_projection.1", F.silu(time)).unflatten(-1, (6, self.spec.dim))

    def _rotation(self, positions: Tensor, rows: int, columns: int) -> Tensor:
        """cos and sin [N, 1, T*tokens, pairs, 2] of every token."""
        temporal, down, _ = axis_pairs(self.spec.head_dim)
        n, t = positions.shape
        shape = (n, t, rows, columns)
        frames = self.rope[positions, :temporal][:, :, None, None].expand(*shape, -1, -1)
        vertical = self.rope[:rows, temporal : temporal + down][None, None, :, None].expand(*shape, -1, -1)
        across = self.rope[:columns, temporal + down :][None, None, None].expand(*shape, -1, -1)
        return torch.cat([frames, vertical, across], -2).flatten(1, 3).unsqueeze(1)

    def _block(self, layer: int, hidden: Tensor, time: Tensor, rotation: Tensor, mask: Tensor, text: Tensor,
               prompts: Tensor) -> Tensor:  # fmt: skip
        key = f"blocks.{layer}"
        modulation = (self._p(f"{key}.modulation") + time).unsqueeze(3)
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation.unbind(2)
        normed = self._layer_norm(hidden) * (1 + scale1) + shift1
        hidden = hidden + gate1 * self._self_attention(f"{key}.self_attn", normed, rotation, mask)
        normed = self._layer_norm(hidden) * self._p(f"{key}.norm3.weight") + self._p(f"{key}.norm3.bias")
        hidden = hidden + self._cross_attention(f"{key}.cross_attn", normed, text, prompts)
        up = self._linear(f"{key}.ffn.0", self._layer_norm(hidden) * (1 + scale2) + shift2)
        return hidden + gate2 * self._linear(f"{key}.ffn.2", F.gelu(up, approximate="tanh"))

    def _self_attention(self, key: str, x: Tensor, rotation: Tensor, mask: Tensor) -> Tensor:
        n, t, tokens, d = x.shape
        x = x.flatten(1, 2)
        q, k = (_rotated(self._heads(self._rms(f"{key}.norm_{part}", self._linear(f"{key}.{part}", x))), rotation)
                for part in "qk")  # fmt: skip
        out = F.scaled_dot_product_attention(q, k, self._heads(self._linear(f"{key}.v", x)), mask)
        return self._linear(f"{key}.o", out.transpose(1, 2).reshape(n, t, tokens, d))

    def _cross_attention(self, key: str, x: Tensor, text: Tensor, prompts: Tensor) -> Tensor:
        """All rows of the text, the padding too."""
        k = self._heads(self._rms(f"{key}.norm_k", self._linear(f"{key}.k", text)))[prompts.flatten()]
        v = self._heads(self._linear(f"{key}.v", text))[prompts.flatten()]
        q = self._heads(self._rms(f"{key}.norm_q", self._linear(f"{key}.q", x.flatten(0, 1))))
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        return self._linear(f"{key}.o", out)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.spec.heads, -1)).transpose(1, 2)


def _initial(key: str, shape: tuple[int, ...]) -> Tensor:
    """Residual branches and the head begin at zero, as do the gates' time dependence; gates begin at 1."""
    value = torch.zeros(shape)
    if key.endswith(("norm_q.weight", "norm_k.weight", "norm3.weight")):
        value.fill_(1.0)
    elif key.endswith("modulation"):
        value.normal_(0, 0.02)
        if shape[1] == 6:
            value[:, [2, 5]] = 1.0
    elif key.endswith("weight") and not key.startswith(("head.", "time_projection.")):
        fan_in = value[0].numel()
        value.normal_(0, fan_in**-0.5)
        if key.endswith((".o.weight", "ffn.2.weight")):
            value *= 0.2
    return value


def _rotated(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotary embedding of adjacent pairs; x [N, heads, tokens, head_dim]."""
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    cosine, sine = rotation.unbind(-1)
    return torch.stack([first * cosine - second * sine, first * sine + second * cosine], -1).flatten(-2)


def _visible(frames: int, tokens: int, first: int = 2, sinks: int = 3, rolling: int = 3) -> Tensor:
    """Which tokens each token sees [L, L]: the first chunk itself; later frames the sinks and the rolling frames."""
    query, key = torch.arange(frames)[:, None], torch.arange(frames)[None]
    seen = (key <= query) & ((key < sinks) | (key > query - rolling)) | ((query < first) & (key < first))
    return seen.repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)
