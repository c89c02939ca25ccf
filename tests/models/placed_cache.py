"""The DiT of :mod:`block_causal` with caches in which the contents decide where a chunk goes.

A cache is a list of entries, each with raw keys, values and the temporal position at which its keys are seen. Two rules
place chunks: the intended one of adaptive sinks, and the published one (specification 2.5.2, 2.5.3, 8 #2).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from penstock.kernels.reference_cache import PublishedRing
from penstock.runtime.config import Config
from tests.models.block_causal import BlockCausalDit, attention

Rotate = Callable[[Tensor, int], Tensor]


@dataclass
class Entry:
    """One frame in a cache: k [T, H, D] before rotation, v [T, H, D]."""

    key: Tensor
    value: Tensor
    position: int


class SinkCache:
    """The intended rule: a full cache takes a frame unlike its sinks into the least alike sink, any other one in the

    place of the oldest rolling frame. All passes over it go where the chunk's first pass went.
    """

    def __init__(self, config: Config, rotate: Rotate):
        self.config, self.rotate = config, rotate
        self.entries: list[Entry] = []
        self.rolling: list[int] = []  # places in the order in which they are taken
        self.chunk, self.places = 0, list(range(config.first_latents))
        self.refreshes: list[tuple[int, int]] = []  # (chunk, sink)
        self.least: list[float] = []  # similarity of the least alike sink, by decision
        self.margin = float("inf")  # how close a decision was

    def add(self, chunk: int, new: list[Entry]) -> None:
        if chunk == 0:
            self.entries = new
            return
        if chunk != self.chunk:
            self.start_positions_again(new[0].position)
            self.chunk, self.places = chunk, self.choose(new)
        for place, entry in zip(self.places, new, strict=True):
            self.entries[place : place + 1] = [entry]
        self.newest = new[-1].position

    def start_positions_again(self, position: int) -> None:
        """At a refresh the sinks are seen at the begin again, all others at their distance."""
        if self.chunk and position <= self.newest:
            for place, entry in enumerate(self.entries):
                moved = place if place < self.config.sink_frames else entry.position + position - self.newest - 1
                self.entries[place] = replace(entry, position=moved)

    def choose(self, new: list[Entry]) -> list[int]:
        sinks, filled = self.config.sink_frames, len(self.entries)
        if filled < self.config.cache_frames:
            return list(range(filled, filled + len(new)))
        self.rolling = self.rolling or list(range(sinks, filled))
        alike = self.similarities(new[0], sinks)
        least = min(alike)
        self.watch_margin(alike)
        if least < self.config.sink_threshold:
            self.refreshes.append((self.chunk + 1, alike.index(least)))
            return [alike.index(least)]
        self.rolling.append(self.rolling.pop(0))
        return self.rolling[-1:]

    def similarities(self, new: Entry, sinks: int) -> list[float]:
        def direction(entry: Entry) -> tuple[Tensor, Tensor]:
            means = self.rotate(entry.key, entry.position).mean(dim=0), entry.value.mean(dim=0)
            return tuple(mean.flatten() / mean.norm() for mean in means)

        key, value = direction(new)
        directions = [direction(entry) for entry in self.entries[:sinks]]
        return [float(key @ sink_key + value @ sink_value) / 2 for sink_key, sink_value in directions]

    def watch_margin(self, alike: list[float]) -> None:
        ordered = sorted(alike)
        self.least.append(ordered[0])
        self.margin = min(self.margin, abs(ordered[0] - self.config.sink_threshold))
        if ordered[0] < self.config.sink_threshold and len(ordered) > 1:
            self.margin = min(self.margin, ordered[1] - ordered[0])


class PublishedCache(SinkCache):
    """The published rule, for every pass anew. Keys stay at the position at which they were written."""

    def __init__(self, config: Config, rotate: Rotate):
        super().__init__(config, rotate)
        passes = config.steps if config.cache_slots == 1 else 1
        self.ring = PublishedRing(config.first_latents, config.cache_frames, config.sink_frames, passes,
                                  config.sink_threshold)  # fmt: skip

    def add(self, chunk: int, new: list[Entry]) -> None:
        if chunk == 0:
            self.entries = new
            return
        alike = None
        if self.config.adaptive_sinks:
            filled = min(self.config.sink_frames, len(self.entries))
            alike = self.similarities(new[0], filled) + [0.0] * (self.config.sink_frames - filled)
            self.watch_margin(alike)
        place = self.ring.place(new[0].position, len(new), alike)
        self.entries[place : place + len(new)] = new
        assert len(self.entries) == self.ring.local_end


class PlacedDit(BlockCausalDit):
    """One cache for every history and layer, by the config's policy."""

    def __init__(self, *arguments: object):
        super().__init__(*arguments)
        rule = PublishedCache if self.config.cache_policy == "streamdiffusionv2" else SinkCache
        self.caches = {(history, layer): rule(self.config, self.rotate)
                       for history in range(self.config.cache_slots) for layer in range(self.spec.layers)}  # fmt: skip

    def self_attention(self, layer: int, u: Tensor, first_frame: int, history: int) -> Tensor:
        name, cache = f"blocks.{layer}.self_attn", self.caches[history, layer]
        q, k, v = (self.linear(f"{name}.{part}", u) for part in "qkv")
        q, k, v = self.heads(self.rms(f"{name}.norm_q", q)), self.heads(self.rms(f"{name}.norm_k", k)), self.heads(v)
        positions = [self.position(first_frame) + frame for frame in range(len(u))]
        chunk = (first_frame - self.config.first_latents) // self.config.chunk_latents + 1 if first_frame else 0
        cache.add(chunk, [Entry(*entry) for entry in zip(k, v, positions, strict=True)])
        queries = torch.cat([self.rotate(rows, position) for rows, position in zip(q, positions, strict=True)])
        keys = torch.cat([self.rotate(entry.key, entry.position) for entry in cache.entries])
        values = torch.cat([entry.value for entry in cache.entries])
        return self.linear(f"{name}.o", attention(queries, keys, values).reshape(u.shape))

    def share_history(self, histories: int) -> None:
        for layer in range(self.spec.layers):
            for history in range(1, histories):
                self.caches[history, layer].entries = list(self.caches[0, layer].entries)

    def refreshes(self) -> dict[tuple[int, int], list[tuple[int, int]]]:
        """(chunk, sink) of every refresh, by history and layer."""
        return {key: cache.refreshes for key, cache in self.caches.items()}

    def usual_similarity(self) -> float:
        """Median over all decisions of what the threshold was compared with."""
        return statistics.median(least for cache in self.caches.values() for least in cache.least)

    def margin(self) -> float:
        return min(cache.margin for cache in self.caches.values())
