"""Reference of the ops that move the rolling cache: where chunks go, and where keys move (spec 2.2, 2.5, 2.6).

One function per op, as in :mod:`kernels.reference`. The state of a stream is kept here as Python values where that is
plainer than tensors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .reference import Outputs, scale_to_e4m3


def ring_advance(
    chunk: Tensor, phase: str, frames: int, first_frames: int, capacity: int, sinks: int, refresh: int, slots: int,
    layers: int,
) -> Outputs:  # fmt: skip
    """The step state of the next chunk; chunk [1] is the newest chunk so far (spec 2.5.3, 2.6, 9.1 T1, 9.4).

    phase first: chunk 0 of first_frames frames. next: one more chunk; slot i works on the chunk i calls back, and on
    chunk 1 as long as there is none. Returns chunk [1], frame_position [S], row_chunk [S], rebase [S], ring_write
    [layers, S] and ring_length [layers, S], all int64.
    """
    newest = 0 if phase == "first" else int(chunk[0]) + 1
    rows = [min(newest, max(newest - slot, 1)) for slot in range(slots)]
    writes, lengths = zip(*(ring_after(row, frames, first_frames, capacity, sinks) for row in rows), strict=True)
    places, shifts = zip(*(position_of(row, frames, first_frames, capacity, refresh) for row in rows), strict=True)
    return {
        "chunk": torch.tensor([newest]),
        "frame_position": torch.tensor(places),
        "row_chunk": torch.tensor(rows),
        "rebase": torch.tensor(shifts),
        "ring_write": torch.tensor([writes] * layers),
        "ring_length": torch.tensor([lengths] * layers),
    }


def position_of(chunk: int, frames: int, first_frames: int, capacity: int, refresh: int) -> tuple[int, int]:
    """(position of the chunk's first frame, what cached positions move by before it), by playing the stream."""
    position, shift, following = 0, 0, first_frames
    for _ in range(chunk):
        restart = following >= refresh
        position = capacity - frames if restart else following
        shift, following = position - following, position + frames
    return position, shift


def ring_after(chunk: int, frames: int, first_frames: int, capacity: int, sinks: int) -> tuple[int, int]:
    """(cache frame that receives the chunk, frames in the cache with it), by playing the ring from its start."""
    oldest_first = list(range(first_frames))
    write = 0
    for _ in range(chunk):
        if len(oldest_first) + frames <= capacity:
            write = len(oldest_first)
        else:
            write = next(frame for frame in oldest_first if frame >= sinks)
        fresh = list(range(write, write + frames))
        oldest_first = [frame for frame in oldest_first if frame not in fresh] + fresh
    return write, len(oldest_first)


def replicate_slots(x: Tensor) -> Outputs:
    """x [S, ...]: every slot becomes a copy of slot 0."""
    return {"x": x[:1].repeat(len(x), *[1] * (x.dim() - 1))}


def rebase_keys(
    k_cache: Tensor, rope: Tensor, rebase: Tensor, frame_tokens: int, sinks: int, sink_shift: Tensor | None = None
) -> Outputs:
    """Where rebase [S] is not 0: k_cache [S, K*T, H, D] with its rolling frames turned by rebase positions and every

    sink by minus its sink_shift [S, Z], which becomes 0. The angles are computed here, in float64, not taken from the
    table.
    """
    moved = k_cache.clone()
    shifts = torch.zeros(len(rebase), sinks, dtype=torch.int32) if sink_shift is None else sink_shift.clone()
    for slot in rebase.nonzero().flatten().tolist():
        turns = [*(-shifts[slot]).tolist(), *[int(rebase[slot])] * (k_cache.shape[1] // frame_tokens - sinks)]
        for frame, positions in enumerate(turns):
            tokens = slice(frame * frame_tokens, (frame + 1) * frame_tokens)
            moved[slot, tokens] = turn(k_cache[slot, tokens], positions)
        shifts[slot] = 0
    return {"k_cache": moved} if sink_shift is None else {"k_cache": moved, "sink_shift": shifts}


def turn(keys: Tensor, positions: int) -> Tensor:
    """keys [..., D] with their temporal pairs turned by the angles of so many positions."""
    if positions == 0:
        return keys  # to the bit, and poison may be in there
    temporal = keys.shape[-1] // 2 - 2 * (keys.shape[-1] // 6)
    frequencies = 10000.0 ** (-torch.arange(temporal, dtype=torch.float64) / temporal)
    angles = torch.polar(torch.ones(1, dtype=torch.float64), positions * frequencies)
    pairs = torch.view_as_complex(keys[..., : 2 * temporal].double().unflatten(-1, (-1, 2)).contiguous())
    turned = torch.view_as_real(pairs * angles).flatten(-2).to(keys)
    return torch.cat([turned, keys[..., 2 * temporal :]], dim=-1)


def cache_write(
    k: Tensor, v: Tensor, ring_write: Tensor, k_cache: Tensor, v_cache: Tensor, frames: int, frame_tokens: int
) -> Outputs:
    """k, v [S, F*T, H, D] over frames ring_write[s], ... of k_cache, v_cache [S, K*T, H, D]."""
    caches = {"k_cache": k_cache.clone(), "v_cache": v_cache.clone()}
    for slot, write in enumerate(ring_write.tolist()):
        tokens = slice(write * frame_tokens, (write + frames) * frame_tokens)
        caches["k_cache"][slot, tokens], caches["v_cache"][slot, tokens] = k[slot], v[slot]
    return caches


def quantize_cache(
    k_cache: Tensor, v_cache: Tensor, ring_write: Tensor, ring_length: Tensor, rebase: Tensor, k_codes: Tensor,
    v_codes: Tensor, k_mean: Tensor, k_scale: Tensor, v_scale: Tensor, frames: int, frame_tokens: int,
    smooth: bool = True,
) -> Outputs:  # fmt: skip
    """The codes, means and scales with those of the frames that changed; smooth False leaves the means at 0."""
    results = {"k_codes": k_codes.clone(), "v_codes": v_codes.clone(), "k_mean": k_mean.clone(),
               "k_scale": k_scale.clone(), "v_scale": v_scale.clone()}  # fmt: skip
    for slot, write in enumerate(ring_write.tolist()):
        changed = set(range(write, write + frames))
        if rebase[slot]:
            changed |= set(range(int(ring_length[slot])))
        for frame in changed:
            tokens = slice(frame * frame_tokens, (frame + 1) * frame_tokens)
            keys, values = (cache[slot, tokens].transpose(0, 1) for cache in (k_cache, v_cache))  # [H, T, D]
            mean = keys.mean(1) if smooth else torch.zeros_like(keys[:, 0])
            results["k_mean"][slot, frame] = mean
            for role, part in (("k", keys - mean[:, None]), ("v", values)):
                codes, scale = encode(part)
                results[f"{role}_codes"][slot, frame] = codes if role == "k" else codes.transpose(1, 2)
                results[f"{role}_scale"][slot, frame] = scale
    return results


def encode(x: Tensor) -> tuple[Tensor, Tensor]:
    """x [H, T, D] as codes u8 [H, 128*B, D], 0 beyond T, and scales [H, B]."""
    blocks = torch.nn.functional.pad(x, (0, 0, 0, -x.shape[1] % 128)).unflatten(1, (-1, 128))
    scale = scale_to_e4m3(blocks.abs().amax((2, 3)))
    codes = (blocks / scale[..., None, None]).float().to(torch.float8_e4m3fn).view(torch.uint8)
    return codes.flatten(1, 2), scale


def similarities(k: Tensor, v: Tensor, k_cache: Tensor, v_cache: Tensor, sinks: int) -> Tensor:
    """(cos of the mean keys + cos of the mean values) / 2 of a new frame k, v [T, H, D] and each sink (spec 2.5.2)."""

    def cosines(new: Tensor, cache: Tensor) -> Tensor:
        mean, means = new.flatten(1).mean(dim=0), cache.flatten(1).unflatten(0, (-1, len(new)))[:sinks].mean(dim=1)
        return torch.cosine_similarity(means, mean[None], dim=1)

    return (cosines(k, k_cache) + cosines(v, v_cache)) / 2


def sink_refresh(
    k: Tensor, v: Tensor, k_cache: Tensor, v_cache: Tensor, row_chunk: Tensor, frame_position: Tensor,
    ring_next: Tensor, sink_shift: Tensor, first_frames: int, capacity: int, sinks: int, threshold: float,
    phase: str = "next",
) -> Outputs:  # fmt: skip
    """The place of every slot's new frame, and the state after it: see the rule in the specification, 2.5.3, with sinks

    that are refreshed as 2.5 says. k, v [S, T, H, D]; ring_next, row_chunk, frame_position [S]; sink_shift [S, Z].
    """
    ring_next, sink_shift = ring_next.clone(), sink_shift.clone()
    writes, lengths = [], []
    for slot, chunk in enumerate(row_chunk.tolist()):
        before = first_frames + chunk - 1
        lengths.append(min(before + 1, capacity))
        if before < capacity:
            writes.append(before)
            continue
        alike = similarities(k[slot], v[slot], k_cache[slot], v_cache[slot], sinks)
        if alike.min() < threshold:
            sink = int(alike.argmin())
            writes.append(sink)
            sink_shift[slot, sink] = int(frame_position[slot]) - sink
        else:
            writes.append(sinks + int(ring_next[slot]))
            ring_next[slot] = (ring_next[slot] + 1) % (capacity - sinks)
    return {"ring_next": ring_next, "sink_shift": sink_shift, "ring_write": torch.tensor(writes),
            "ring_length": torch.tensor(lengths)}  # fmt: skip


class PublishedRing:
    """One cache slot's ring as the published code keeps it (spec 2.5.2), in frames; the queue is a list without end."""

    def __init__(self, first_frames: int, capacity: int, sinks: int, passes: int, threshold: float = -1.0):
        self.capacity, self.sinks, self.passes, self.threshold = capacity, sinks, passes, threshold
        self.global_end = self.local_end = 0
        self.current_step = passes
        self.queue: list[int] = []
        for _ in range(2):  # two passes over the first chunk, since all that follow change nothing
            self.place(0, first_frames)

    def place(self, position: int, frames: int, alike: list[float] | None = None) -> int:
        """The cache frame that takes the chunk's first frame. alike: similarity by sink, 0 for an empty one."""
        if alike and min(alike) < self.threshold:
            self.queue.insert(0, alike.index(min(alike)) + 1)
        end = position + frames
        if end > self.capacity or self.local_end >= self.capacity:
            self.local_end = self.capacity
            target = self.queue[0]
            self.turn()
        else:
            self.local_end += end - self.global_end
            target = self.local_end
            following = end + frames
            if self.sinks < following <= self.capacity and (not self.queue or self.queue[-1] != following):
                self.queue.append(following)
        self.global_end = end
        return target - frames

    def turn(self) -> None:
        if self.current_step > 1:
            self.current_step -= 1
            return
        self.current_step = self.passes
        front = self.queue.pop(0)
        if front > self.sinks:
            self.queue.append(front)
