"""The Wan 2.1 causal diffusion transformer as a plan (spec 4.3, 4.4).

One forward runs S slots of F latent frames each (M = S * F * rows * columns tokens of width d) against a rolling KV
cache per layer and slot. Exact savings taken: per-prompt constants are computed once in the phase ``set_prompt``; the
identical padding rows of the text are folded into one; modulation sums are made once per forward for all layers.
"""

from __future__ import annotations

from ..config import Config
from ..dit_spec import DitSpec
from ..pack import Constant, Packed
from ..plan import PlanBuilder, Tensor
from ..rope import POSITIONS, rope_table
from .batch import Batch
from .rolling_cache import RollingCache


class WanDit:
    """Declares the network's weights and caches once; :meth:`set_prompt` and :meth:`forward` add ops to a phase."""

    def __init__(self, plan: PlanBuilder, spec: DitSpec, config: Config, prompt_length: Tensor):
        self.plan, self.spec, self.config, self.prompt_length = plan, spec, config, prompt_length
        d, heads, head_dim = spec.dim, spec.heads, spec.head_dim
        self._weights: dict[str, Tensor] = {}
        rope = plan.weight("rope", (POSITIONS, head_dim), Constant(rope_table(head_dim)), dtype="f32")
        tables = tuple(f"blocks.{i}.modulation" for i in range(spec.layers))
        self.block_tables = self._weight("block_modulation", (spec.layers, 6, d), tables)
        self.head_table = self._weight("head.modulation", (2, d))
        self.cache = RollingCache(plan, config, spec.layers, heads, head_dim, rope)
        text = (spec.text_len, heads, head_dim)
        self.k_text = [plan.state(f"blocks.{i}.k_text", text) for i in range(spec.layers)]
        self.v_text = [plan.state(f"blocks.{i}.v_text", text) for i in range(spec.layers)]

    def _weight(self, name: str, shape: tuple[int, ...], keys: tuple[str, ...] = ()) -> Tensor:
        """A weight of the checkpoint, declared at its first use; ``keys`` if it packs tensors of other names."""
        if name not in self._weights:
            sources = tuple(f"dit.{key}" for key in keys or (name,))
            self._weights[name] = self.plan.weight(f"dit.{name}", shape, Packed(sources))
        return self._weights[name]

    def _linear_weights(
        self, name: str, out_dim: int, in_dim: int, keys: tuple[str, ...] = ()
    ) -> tuple[Tensor, Tensor]:
        """Weight [N, K] and bias [N] of a linear layer, several layers packed into one if ``keys`` names them."""
        weight = self._weight(f"{name}.weight", (out_dim, in_dim), tuple(f"{key}.weight" for key in keys))
        return weight, self._weight(f"{name}.bias", (out_dim,), tuple(f"{key}.bias" for key in keys))

    def _linear(self, x: Tensor, y: Tensor, name: str, keys: tuple[str, ...] = (), activation: str = "none") -> Tensor:
        """y = activation(x Wᵀ + b)."""
        weight, bias = self._linear_weights(name, y.shape[-1], x.shape[-1], keys)
        self.plan.op("gemm", {"x": x, "weight": weight, "bias": bias}, {"y": y}, activation=activation)
        return y

    # ---- per prompt ---------------------------------------------------------------------------------------------

    def set_prompt(self, embeddings: Tensor) -> None:
        """Text keys and values of every layer from embeddings [text_len, text_dim], zero past the prompt."""
        plan, spec = self.plan, self.spec
        rows, d = spec.text_len, spec.dim
        hidden = self._linear(embeddings, plan.scratch("text_hidden", (rows, d)), "text_embedding.0",
                              activation="gelu_tanh")  # fmt: skip
        context = self._linear(hidden, plan.scratch("context", (rows, d)), "text_embedding.2")
        for i in range(spec.layers):
            block = f"blocks.{i}.cross_attn"
            raw = self._linear(context, plan.scratch(f"{block}.k", (rows, d)), f"{block}.k")
            norm = self._weight(f"{block}.norm_k.weight", (d,))
            keys = plan.view(self.k_text[i], (rows, d))
            plan.op("rms_norm", {"x": raw, "weight": norm}, {"y": keys}, eps=spec.eps)
            self._linear(context, plan.view(self.v_text[i], (rows, d)), f"{block}.v")

    # ---- per forward --------------------------------------------------------------------------------------------

    def forward(self, name: str, x: Tensor, flow: Tensor, batch: Batch) -> None:
        """flow = model(x): both f32 [S, F, C, height, width] latents. ``name`` prefixes the scratch tensors."""
        plan, spec = self.plan, self.spec
        d, tokens = spec.dim, batch.slots * batch.frames * self.config.frame_tokens
        patches = plan.scratch(f"{name}.patches", (tokens, 4 * spec.in_channels))
        plan.op("patchify", {"x": x}, {"tokens": patches})
        hidden = self._linear(patches, plan.scratch(f"{name}.hidden", (tokens, d)), "patch_embedding")
        blocks, head = self._modulation(name, batch)
        normed = plan.scratch(f"{name}.normed", (tokens, d))
        shift, scale = self._row(blocks, 0, 0), self._row(blocks, 0, 1)
        plan.op("layernorm_modulate", {"x": hidden, "shift": shift, "scale": scale}, {"y": normed}, eps=spec.eps)
        for i in range(spec.layers):
            last = i + 1 == spec.layers
            next_norm = (head, 0) if last else (blocks, i + 1)
            normed = self._block(f"{name}.blocks.{i}", i, hidden, normed, blocks, next_norm, batch)
        out = self._linear(normed, plan.scratch(f"{name}.head", (tokens, 4 * spec.out_channels)), "head.head")
        plan.op("unpatchify", {"tokens": out}, {"x": flow})

    def _modulation(self, name: str, batch: Batch) -> tuple[Tensor, Tensor]:
        """Shift, scale and gate vectors of all layers [layers, 6, S, d] and of the head [1, 2, S, d]."""
        plan, spec, d = self.plan, self.spec, self.spec.dim
        fc1 = self._linear_weights("time_embedding.0", d, spec.freq_dim)
        fc2 = self._linear_weights("time_embedding.2", d, d)
        projection = self._linear_weights("time_projection.1", 6 * d, d)
        blocks = plan.scratch(f"{name}.block_modulation", (spec.layers, 6, batch.slots, d))
        head = plan.scratch(f"{name}.head_modulation", (2, batch.slots, d))
        plan.op(
            "time_embed",
            {"timestep": batch.timestep, "fc1_weight": fc1[0], "fc1_bias": fc1[1], "fc2_weight": fc2[0],
             "fc2_bias": fc2[1], "proj_weight": projection[0], "proj_bias": projection[1],
             "block_tables": self.block_tables, "head_table": self.head_table},
            {"block_modulation": blocks, "head_modulation": head},
        )  # fmt: skip
        return blocks, head

    def _row(self, modulation: Tensor, block: int, index: int) -> Tensor:
        """One modulation vector per slot, [S, d]: index 0..5 = shift1, scale1, gate1, shift2, scale2, gate2."""
        rows, slots, d = modulation.shape[-3:]
        return self.plan.view(modulation, (slots, d), (block * rows + index) * slots * d)

    def _block(self, name: str, layer: int, hidden: Tensor, normed: Tensor, blocks: Tensor,
               next_norm: tuple[Tensor, int], batch: Batch) -> Tensor:  # fmt: skip
        """One transformer block. ``normed`` enters as the modulated norm of ``hidden``; returns the next block's."""
        plan, spec, d = self.plan, self.spec, self.spec.dim
        tokens = hidden.shape[0]
        key = f"blocks.{layer}"

        def buffer(part: str, width: int = d) -> Tensor:
            return plan.scratch(f"{name}.{part}", (tokens, width))

        attention = self._self_attention(name, layer, normed, batch)
        update = self._linear(attention, buffer("self_attn.out"), f"{key}.self_attn.o")
        norm3 = buffer("norm3")
        affine = {
            "scale": self._weight(f"{key}.norm3.weight", (1, d)),
            "shift": self._weight(f"{key}.norm3.bias", (1, d)),
        }
        plan.op("gate_residual_layernorm", {"update": update, "gate": self._row(blocks, layer, 2), **affine},
                {"y": norm3}, {"x": hidden}, eps=spec.eps, norm="affine")  # fmt: skip

        query = self._linear(norm3, buffer("cross_attn.q"), f"{key}.cross_attn.q")
        query_normed = buffer("cross_attn.q_normed")
        norm_q = self._weight(f"{key}.cross_attn.norm_q.weight", (d,))
        plan.op("rms_norm", {"x": query, "weight": norm_q}, {"y": query_normed}, eps=spec.eps)
        cross = buffer("cross_attn.attended")
        text = {"k_text": self.k_text[layer], "v_text": self.v_text[layer], "prompt_length": self.prompt_length}
        plan.op("cross_attention", {"q": query_normed, **text}, {"out": cross})
        update = self._linear(cross, buffer("cross_attn.out"), f"{key}.cross_attn.o")
        norm2 = buffer("norm2")
        modulation = {"scale": self._row(blocks, layer, 4), "shift": self._row(blocks, layer, 3)}
        plan.op("gate_residual_layernorm", {"update": update, **modulation}, {"y": norm2}, {"x": hidden},
                eps=spec.eps, norm="modulate")  # fmt: skip

        up = self._linear(norm2, buffer("ffn.up", spec.ffn_dim), f"{key}.ffn.0", activation="gelu_tanh")
        update = self._linear(up, buffer("ffn.down"), f"{key}.ffn.2")
        out = buffer("next_norm")
        table, block = next_norm
        modulation = {"shift": self._row(table, block, 0), "scale": self._row(table, block, 1)}
        plan.op("gate_residual_layernorm", {"update": update, "gate": self._row(blocks, layer, 5), **modulation},
                {"y": out}, {"x": hidden}, eps=spec.eps, norm="modulate")  # fmt: skip
        return out

    def _self_attention(self, name: str, layer: int, normed: Tensor, batch: Batch) -> Tensor:
        """Attention of the chunk's tokens over the rolling cache, which receives their keys and values."""
        plan, d, tokens, key = self.plan, self.spec.dim, normed.shape[0], f"blocks.{layer}.self_attn"
        qkv = self._linear(normed, plan.scratch(f"{name}.qkv", (tokens, 3 * d)), f"{key}.qkv",
                           tuple(f"{key}.{part}" for part in "qkv"))  # fmt: skip
        q = plan.scratch(f"{name}.q", (tokens, d))
        norms = {part: self._weight(f"{key}.{part}.weight", (d,)) for part in ("norm_q", "norm_k")}
        cached = self.cache.update(layer, {"qkv": qkv, **norms}, q, batch, self.spec.eps)
        attended = plan.scratch(f"{name}.attended", (tokens, d))
        attention = "rolling_attention_fp8" if self.config.fp8_attention else "rolling_attention"
        plan.op(attention, {"q": q, **cached}, {"out": attended}, frame_tokens=self.config.frame_tokens)
        return attended
