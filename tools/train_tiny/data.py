"""Training clips: procedural ones, and pans and zooms over still pictures if a folder of such is given.

A sample is a function of (seed, step, index) alone, so that a resumed run sees what an uninterrupted one would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from penstock.evaluation.clips import HELD_OUT, ProceduralClip
from penstock.evaluation.styles import STYLES

_PICTURE_SHARE = 0.4
T = TypeVar("T")


class ClipSource:
    """Random clips. pictures: a folder, searched through, of still pictures; their share of the clips is 40%."""

    def __init__(self, pictures: Path | None = None, seed: int = 0):
        files = [] if pictures is None else sorted(p for p in pictures.rglob("*") if p.suffix in (".png", ".jpg"))
        opened = [Image.open(path).convert("RGB") for path in files]
        self.pictures = [picture for picture in opened if min(picture.size) >= 256]
        self.seed = seed

    def clip(self, step: int, index: int, frames: int, height: int, width: int) -> np.ndarray:
        """float32 [T, H, W, 3], 0 to 1."""
        rng = np.random.default_rng((self.seed, step, index))
        pictured = self.pictures and rng.random() < _PICTURE_SHARE
        clip = (self._pictured if pictured else _procedural)(rng, frames, height, width)
        return _recoloured(clip, rng)

    def _pictured(self, rng: np.random.Generator, frames: int, height: int, width: int) -> np.ndarray:
        """A window that moves over a still picture and zooms, sampled with antialiasing."""
        picture = self.pictures[rng.integers(len(self.pictures))]
        limit = min(picture.width / width, picture.height / height)
        scale = np.exp(rng.uniform(0, np.log(max(limit, 1.0)))) if limit > 1 else limit
        zoom = np.exp(rng.normal(0, 0.01))
        area = np.array([picture.height, picture.width], np.float64)
        start, speed = rng.uniform(0, 1, 2), rng.normal(0, 1.2, 2) * rng.choice([0.0, 1.0, 1.0]) * scale
        shots = []
        for index in range(frames):
            size = np.minimum(np.array([height, width]) * scale * zoom**index, area)
            top, left = np.clip(start * (area - size) + speed * index, 0, area - size)
            box = (left, top, min(left + size[1], area[1]), min(top + size[0], area[0]))
            shots.append(np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR, box=box)))
        return np.stack(shots).astype(np.float32) / 255


@dataclass(frozen=True)
class _Samples(Dataset, Generic[T]):
    make: Callable[[int], T]

    def __getitem__(self, index: int) -> T:
        return self.make(index)


def prefetched(make: Callable[[int], T], indices: Iterable[int], workers: int) -> Iterator[T]:
    """make(index) for all indices in their order, by processes that work ahead: a GPU is faster than they are."""
    return iter(DataLoader(_Samples(make), batch_size=None, sampler=indices, num_workers=workers))


def styled(clip: np.ndarray, rng: np.random.Generator, plain: float) -> np.ndarray:
    """The clip as it is with probability ``plain``, else in one of the styles."""
    if rng.random() < plain:
        return clip
    return np.clip(STYLES[rng.integers(len(STYLES))].apply(clip), 0, 1)


def _procedural(rng: np.random.Generator, frames: int, height: int, width: int) -> np.ndarray:
    """A window of a clip that may be larger than it."""
    factor = rng.choice([1, 1, 2, 3])
    whole = ProceduralClip(factor * height, factor * width, int(rng.integers(HELD_OUT)))
    top, left = (int(rng.integers((factor - 1) * side + 1)) for side in (height, width))
    begin = int(rng.integers(1000))
    return np.stack([whole.render(begin + i, (top, left, height, width))[0] for i in range(frames)])


def _recoloured(clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirrored, its channels swapped, its contrast and gamma changed, each at random."""
    if rng.random() < 0.5:
        clip = clip[:, :, ::-1]
    if rng.random() < 0.3:
        clip = clip[..., rng.permutation(3)]
    if rng.random() < 0.5:
        clip = np.clip(0.5 + (clip - 0.5) * np.float32(rng.uniform(0.6, 1.3)) + np.float32(rng.normal(0, 0.08)), 0, 1)
        clip = clip ** np.float32(np.exp(rng.normal(0, 0.2)))
    return np.ascontiguousarray(clip, np.float32)
