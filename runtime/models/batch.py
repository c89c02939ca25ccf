"""What one forward of the diffusion transformer works on."""

from __future__ import annotations

from dataclasses import dataclass

from ..plan import Tensor


@dataclass(frozen=True)
class Batch:
    """The step-state fields of a forward's slots and which rolling caches they use.

    frames is F. timestep f32 [S]; frame_position, rebase i32 [S]; row_chunk i64 [S]. first_cache is the cache of
    slot 0. revisits: a pass before this one put the same chunk into the same cache. first_chunk: a stream begins with
    it.
    """

    frames: int
    timestep: Tensor
    frame_position: Tensor
    row_chunk: Tensor
    rebase: Tensor
    first_cache: int = 0
    revisits: bool = False
    first_chunk: bool = False

    @property
    def slots(self) -> int:
        return self.timestep.size
