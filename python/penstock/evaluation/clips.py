"""Procedural clips with known motion: textured shapes over a panned background, changing light, sensor noise.

Everything is a function of continuous coordinates, so that a clip moves by fractions of a pixel, never ends and is the
same for a seed at any length. Seeds from `HELD_OUT` on are not used in training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

HELD_OUT = 1 << 20
_WAVES = 5  # sinusoids of a texture


@dataclass(frozen=True)
class Texture:
    """Waves of colour: base [3], amplitudes [waves, 3], frequencies [waves, 2] in radians a pixel, phases [waves]."""

    base: np.ndarray
    amplitudes: np.ndarray
    frequencies: np.ndarray
    phases: np.ndarray
    sharpness: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> Texture:
        waves = int(rng.integers(1, _WAVES + 1))
        period = np.exp(rng.uniform(np.log(12), np.log(120), (waves, 1)))  # pixels
        angle = rng.uniform(0, 2 * np.pi, (waves, 1))
        return cls(
            base=rng.uniform(0.1, 0.9, 3),
            amplitudes=(rng.normal(0, 0.11, (waves, 3)) + rng.normal(0, 0.12, (waves, 1))) / np.sqrt(waves / 2),
            frequencies=2 * np.pi / period * np.concatenate([np.sin(angle), np.cos(angle)], 1),
            phases=rng.uniform(0, 2 * np.pi, waves),
            sharpness=float(rng.choice([0.0, 0.0, 3.0])),
        )

    def at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Colours [..., 3] at coordinates in pixels."""
        colours = np.broadcast_to(self.base.astype(np.float32), (*rows.shape, 3)).copy()
        for amplitude, (down, across), phase in zip(self.amplitudes, self.frequencies, self.phases, strict=True):
            wave = np.sin(np.float32(down) * rows + np.float32(across) * columns + np.float32(phase))
            if self.sharpness:
                wave = np.tanh(np.float32(self.sharpness) * wave)
            colours += wave[..., None] * amplitude.astype(np.float32)
        return colours


@dataclass(frozen=True)
class Shape:
    """A textured shape that bounces between walls; sizes in pixels, speed in pixels a frame, turning in radians."""

    kind: str
    size: np.ndarray
    start: np.ndarray
    speed: np.ndarray
    angle: float
    texture: Texture

    def centre(self, frame: int, area: np.ndarray) -> np.ndarray:
        """Position [row, column] in a frame."""
        period = 2.0 * area
        folded = (self.start + self.speed * frame) % period
        return np.minimum(folded, period - folded)

    def coverage(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """How much of each pixel the shape covers, 0 to 1, at coordinates relative to its centre."""
        cosine, sine = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        down, across = cosine * rows + sine * columns, cosine * columns - sine * rows
        height, width = (np.float32(side) for side in self.size)
        if self.kind == "ellipse":
            distance = (np.sqrt((down / height) ** 2 + (across / width) ** 2) - 1) * min(height, width)
        elif self.kind == "box":
            distance = np.maximum(abs(down) - height, abs(across) - width)
        else:
            distance = (
                np.maximum(abs(across) * np.float32(0.8) + down * np.float32(0.6), -down - height / 2) - height / 2
            )
        return np.clip(0.5 - distance, 0, 1)


class ProceduralClip:
    """A clip of the given size for a seed; `render` makes any part of any of its frames."""

    def __init__(self, height: int, width: int, seed: int):
        rng = np.random.default_rng(seed)
        self.height, self.width, self._seed = height, width, seed
        self.background = Texture.random(rng)
        self.pan = rng.normal(0, 1.2, 2) * rng.choice([0.0, 1.0, 1.0])  # pixels a frame
        self.light = (rng.uniform(0, 0.2), rng.uniform(0.02, 0.15), rng.uniform(0, 2 * np.pi))
        self.noise = float(rng.choice([0.0, 0.01, 0.02]))
        self.shapes = [self._shape(rng) for _ in range(int(rng.integers(2, 6)))]

    def _shape(self, rng: np.random.Generator) -> Shape:
        area = np.array([self.height, self.width])
        side = min(self.height, self.width)
        return Shape(
            kind=str(rng.choice(["ellipse", "box", "triangle"])),
            size=np.maximum(4.0, side * np.exp(rng.uniform(np.log(0.08), np.log(0.35), 2))),
            start=rng.uniform(0, area),
            speed=rng.normal(0, 1.5, 2),
            angle=float(rng.uniform(0, np.pi)),
            texture=Texture.random(rng),
        )

    def render(self, index: int, window: tuple[int, int, int, int] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Frame float32 [H, W, 3], 0 to 1, and its motion float32 [H, W, 2]: pixels (down, across) to the next frame.

        window: top, left, height and width of the part to render, all of it without.
        """
        area = np.array([self.height, self.width], np.float64)
        top, left, height, width = window or (0, 0, self.height, self.width)
        rows, columns = (
            np.arange(first, first + side, dtype=np.float32) for first, side in ((top, height), (left, width))
        )
        rows, columns = np.broadcast_arrays(rows[:, None], columns[None, :])
        offset = (self.pan * index).astype(np.float32)
        frame = self.background.at(rows - offset[0], columns - offset[1])
        motion = np.broadcast_to(self.pan.astype(np.float32), (height, width, 2)).copy()
        for shape in self.shapes:
            centre = shape.centre(index, area)
            down, across = rows - np.float32(centre[0]), columns - np.float32(centre[1])
            cover = shape.coverage(down, across)
            frame += cover[..., None] * (shape.texture.at(down, across) - frame)
            motion[cover > 0.5] = (shape.centre(index + 1, area) - centre).astype(np.float32)
        depth, rate, phase = self.light
        frame *= np.float32(1 + depth * (np.sin(rate * index + phase) - 0.5))
        if self.noise:
            noise = np.random.default_rng((self._seed, index)).standard_normal(frame.shape, np.float32)
            frame += np.float32(self.noise) * noise
        return np.clip(frame, 0, 1), motion

    def frame(self, index: int) -> np.ndarray:
        """Frame uint8 [H, W, 3]."""
        return np.round(255 * self.render(index)[0]).astype(np.uint8)
