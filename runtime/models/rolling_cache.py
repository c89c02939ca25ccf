"""The rolling cache of keys and values, and what decides where a chunk goes in it (spec 2.5).

A plan has one of two cache policies (``Config.cache_policy``), in one of these forms:

    sink, threshold -1    ring_advance places the chunks, alike in all layers; they are written as they are computed
    sink, adaptive        a chunk waits outside of the cache until sink_refresh, which compares it with the layer's
                          sinks, has placed it; all passes over one cache go where the first one did
    streamdiffusionv2     ring_queue places every pass by the queue of the published code, adaptive or not

Step state of the latter two, for every layer and cache slot, beside ring_write and ring_length:

    ring_next                            i32 [layers, slots]     rolling frame that the next chunk takes
    sink_shift                           i32 [layers, slots, Z]  position of what lies in a sink, less the sink's own
    global_end, local_end, current_step  i32 [layers, slots]     the published code's counters, see ring_queue
    queue, queue_size                    i32 [layers, slots, Q], i32 [layers, slots]
    staging_frame                        i32 [S]                 always 0: a waiting chunk is written from its begin

With ``fp8_attention`` each cache has a copy in 8 bits (quantized_cache.py), which is what attention reads.
"""

from __future__ import annotations

from math import prod

from ..config import Config
from ..plan import PlanBuilder, Tensor
from .batch import Batch
from .quantized_cache import QuantizedCache


class RollingCache:
    """Declares the caches and their state; its methods add the ops that move them to the open phase."""

    def __init__(self, plan: PlanBuilder, config: Config, layers: int, heads: int, head_dim: int, rope: Tensor):
        self.plan, self.config, self.layers, self.rope = plan, config, layers, rope
        self.published = config.cache_policy == "streamdiffusionv2"
        self.places_itself = self.published or config.adaptive_sinks
        slots = config.cache_slots
        cache = (slots, config.cache_frames * config.frame_tokens, heads, head_dim)
        self.k_cache = [plan.state(f"blocks.{i}.k_cache", cache, carry="slots") for i in range(layers)]
        self.v_cache = [plan.state(f"blocks.{i}.v_cache", cache, carry="slots") for i in range(layers)]
        self.quantized = QuantizedCache(plan, config, layers, heads, head_dim) if config.fp8_attention else None
        by_layer = (layers, slots if self.places_itself else config.slots)
        self.ring_write = plan.step("ring_write", "i32", by_layer, carry="own")
        self.ring_length = plan.step("ring_length", "i32", by_layer, carry="own")
        self.sink_shift: Tensor | None = None
        if config.adaptive_sinks:
            waiting = (config.slots, config.frame_tokens, heads, head_dim)
            self.staging_frame = plan.step("staging_frame", "i32", (config.slots,), carry="own")
            self.staged = {role: plan.state(f"staged_{role}", waiting, carry="own") for role in "kv"}
        if self.published:
            names = ("global_end", "local_end", "current_step", "queue_size")
            self.rings = {name: self._ring_state(name, by_layer) for name in names}
            self.rings["queue"] = self._ring_state("queue", (*by_layer, self._queue_capacity()))
        elif config.adaptive_sinks:
            self.sink_shift = self._ring_state("sink_shift", (*by_layer, config.sink_frames))
            self.rings = {"ring_next": self._ring_state("ring_next", by_layer), "sink_shift": self.sink_shift}

    def _ring_state(self, name: str, shape: tuple[int, ...]) -> Tensor:
        return self.plan.step(name, "i32", shape, carry="slots", slot_axis=1)

    def _queue_capacity(self) -> int:
        """More than joins the queue while the cache fills, even if every pass and every placeholder brings a sink."""
        return (self.config.passes + 2) * self.config.cache_frames

    def ring_advance_fields(self) -> dict[str, Tensor]:
        """What ring_advance writes for this cache."""
        return {} if self.places_itself else {"ring_write": self.ring_write, "ring_length": self.ring_length}

    def begin_stream(self) -> None:
        """The state of every cache slot with the first chunk in it."""
        if self.places_itself:
            for layer in range(self.layers):
                self._place("first", layer, 0, self.config.cache_slots, {})

    def replicate(self, rebase: Tensor) -> None:
        """Every cache slot gets the first chunk, which was written to slot 0. rebase: 0 of that chunk, i32 [S]."""
        if self.config.cache_slots == 1:
            return
        for cache in (*self.k_cache, *self.v_cache):
            self.plan.op("replicate_slots", {}, updates={"x": cache})
        if self.quantized:
            for layer in range(self.layers):
                for slot in range(1, self.config.cache_slots):
                    self._quantize(layer, slot, self.config.first_latents, self.plan.view(rebase, (1,)))

    def rebase(self, rebase: Tensor) -> None:
        """Moves the keys of every cache at a refresh of the positions; the published code leaves them where they are.

        ``rebase`` is i32 [S]; the caches of all steps of a sequential chunk share its one value.
        """
        if self.published:
            return
        slots = rebase.size
        for layer, cache in enumerate(self.k_cache):
            for first in range(0, self.config.cache_slots, slots):
                keys = {"k_cache": self._slots(cache, first, slots)}
                if self.sink_shift:
                    keys["sink_shift"] = self._ring(self.sink_shift, layer, first, slots)
                self.plan.op("rebase_keys", {"rope": self.rope, "rebase": rebase}, updates=keys,
                             frame_tokens=self.config.frame_tokens, sinks=self.config.sink_frames)  # fmt: skip

    def update(self, layer: int, qkv: dict[str, Tensor], q: Tensor, batch: Batch, eps: float) -> dict[str, Tensor]:
        """Writes a chunk's keys and values to their place; returns the roles of the attention over the cache.

        qkv: the roles qkv, norm_q and norm_k of qk_norm_rope_cache, whose result is ``q``.
        """
        first, slots, position = batch.first_cache, batch.slots, {"frame_position": batch.frame_position}
        caches = self._caches(layer, first, slots)
        write, length = self._ring_state_of(layer, first, slots)
        if self.config.adaptive_sinks and not batch.first_chunk:
            waiting = {"k_cache": self.staged["k"], "v_cache": self.staged["v"]}
            self._project(qkv, q, batch, eps, self.staging_frame, waiting)
            if self.published:
                self._place("next", layer, first, slots, {**self.staged, **caches, **position})
            elif not batch.revisits:
                self._place("next", layer, first, slots,
                            {**self.staged, **caches, **position, "row_chunk": batch.row_chunk})  # fmt: skip
            self.plan.op("cache_write", {**self.staged, "ring_write": write}, updates=caches, frames=batch.frames,
                         frame_tokens=self.config.frame_tokens)  # fmt: skip
        else:
            if self.published and not batch.first_chunk:
                self._place("next", layer, first, slots, position)
            self._project(qkv, q, batch, eps, write, caches)
        if self.quantized:
            caches = self._quantize(layer, first, batch.frames, batch.rebase)
        return {**caches, "ring_length": length}

    def _quantize(self, layer: int, first: int, frames: int, rebase: Tensor) -> dict[str, Tensor]:
        """The newest ``frames`` frames of the slots from ``first`` on in 8 bits; returns the roles of attention."""
        slots = rebase.size
        write, length = self._ring_state_of(layer, first, slots)
        state = {"ring_write": write, "ring_length": length, "rebase": rebase}
        roles = {role: self._slots(tensors[layer], first, slots) for role, tensors in self.quantized.roles.items()}
        self.plan.op("quantize_cache", {**self._caches(layer, first, slots), **state}, updates=roles, frames=frames,
                     frame_tokens=self.config.frame_tokens)  # fmt: skip
        return roles

    def _project(
        self, qkv: dict[str, Tensor], q: Tensor, batch: Batch, eps: float, write: Tensor, caches: dict[str, Tensor]
    ) -> None:
        """Queries to ``q``, keys and values to frame ``write`` of ``caches``."""
        config = self.config
        self.plan.op(
            "qk_norm_rope_cache",
            {**qkv, "rope": self.rope, "frame_position": batch.frame_position, "ring_write": write},
            {"q": q}, caches, frames=batch.frames, height=config.token_rows, width=config.token_columns,
            frame_tokens=config.frame_tokens, eps=eps,
        )  # fmt: skip

    def _place(self, phase: str, layer: int, first: int, slots: int, inputs: dict[str, Tensor]) -> None:
        """Where the chunk goes that is in ``slots`` slots from ``first`` on."""
        config = self.config
        attributes = {"phase": phase, "first_frames": config.first_latents, "capacity": config.cache_frames,
                      "sinks": config.sink_frames, "threshold": config.sink_threshold}  # fmt: skip
        if self.published:
            passes = config.passes if config.cache_slots == 1 else 1
            attributes |= {"frames": config.chunk_latents, "passes": passes}
        fields = {"ring_write": self.ring_write, "ring_length": self.ring_length}
        outputs, state = (
            {name: self._ring(field, layer, first, slots) for name, field in named.items()}
            for named in (fields, self.rings)
        )
        self.plan.op("ring_queue" if self.published else "sink_refresh", inputs, outputs, state, **attributes)

    def _caches(self, layer: int, first: int, slots: int) -> dict[str, Tensor]:
        caches = {"k_cache": self.k_cache[layer], "v_cache": self.v_cache[layer]}
        return {role: self._slots(cache, first, slots) for role, cache in caches.items()}

    def _ring_state_of(self, layer: int, first: int, slots: int) -> tuple[Tensor, Tensor]:
        """ring_write and ring_length of these slots."""
        return self._ring(self.ring_write, layer, first, slots), self._ring(self.ring_length, layer, first, slots)

    def _slots(self, cache: Tensor, first: int, slots: int) -> Tensor:
        """The part of a tensor [slots, ...] of ``slots`` slots from ``first`` on."""
        per_slot = cache.shape[1:]
        return self.plan.view(cache, (slots, *per_slot), first * prod(per_slot))

    def _ring(self, field: Tensor, layer: int, first: int, slots: int) -> Tensor:
        """A layer's part of a field, [slots, ...]; steps that ring_advance places alike share the field's one slot."""
        _, rows, *rest = field.shape
        row = layer * rows + (first if rows > 1 else 0)
        return self.plan.view(field, (slots, *rest), row * prod(rest))
