"""What a model makes of held-out clips in the known styles, measured frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from penstock.models import Model
from penstock.runtime.config import Config
from penstock.runtime.vae_spec import FRAMES_PER_LATENT
from penstock.session import Session

from .clips import HELD_OUT, ProceduralClip
from .measures import followed, psnr, squared_error, ssim, unit, warp_error
from .styles import STYLES, Style

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Clip:
    """Frames uint8 [n, H, W, 3] and their motion [n, H, W, 2] where it is known."""

    name: str
    frames: np.ndarray
    motion: np.ndarray | None = None

    @classmethod
    def procedural(cls, index: int, frames: int, size: tuple[int, int]) -> Clip:
        """The held-out clip of that index."""
        source = ProceduralClip(*size, HELD_OUT + index)
        pictures, motion = zip(*(source.render(i) for i in range(frames)), strict=True)
        return cls(f"procedural {index}", np.round(255 * np.stack(pictures)).astype(np.uint8), np.stack(motion))


@dataclass(frozen=True)
class StyleScore:
    """Means over the frames of one style: PSNR in dB and SSIM against the known picture; the share of the frames that
    are nearer to it than to any other style's and to the input; the warp errors of output and known picture (of clips
    with known motion; NaN without), in 255ths."""

    style: str
    frames: int
    psnr: float
    ssim: float
    nearest: float
    warp: float
    warp_known: float

    def to_json(self) -> dict[str, Any]:
        return {name: None if value != value else value for name, value in asdict(self).items()}


def styled(frames: np.ndarray, style: Style) -> np.ndarray:
    """The known pictures float32 [n, H, W, 3] of frames uint8."""
    return np.clip(style.apply(unit(frames)), 0, 1)


def score_styles(
    model: Model, clips: Sequence[Clip], fields: dict[str, Any], say: Progress
) -> tuple[list[StyleScore], list[list[np.ndarray]]]:
    """Every style over every clip, each in a stream of its own; per style also the middle output frame of each clip."""
    scores, middles = [], []
    for style in STYLES:
        outputs = [run_clip(model, style, clip.frames, fields) for clip in clips]
        scores.append(_score(style, clips, outputs))
        middles.append([output[len(output) // 2] for output in outputs])
        say(f"{style.name}: {scores[-1].psnr:.2f} dB, nearest in {scores[-1].nearest:.1%} of {scores[-1].frames}")
    return scores, middles


def run_clip(model: Model, style: Style, frames: np.ndarray, fields: dict[str, Any]) -> np.ndarray:
    """The output uint8 [n, H, W, 3] of a stream over all frames."""
    height, width = frames.shape[1:3]
    with model.session(style.prompt, height=height, width=width, **fields) as session:
        return np.concatenate([session.push(frames), session.flush()])


def _score(style: Style, clips: Sequence[Clip], outputs: Sequence[np.ndarray]) -> StyleScore:
    rows = []
    warps: list[tuple[float, float]] = []
    for clip, output in zip(clips, outputs, strict=True):
        known = styled(clip.frames, style)
        rows += [(psnr(*pair), ssim(*pair)) for pair in zip(output, known, strict=True)]
        warps += warp_errors(clip, output, known)
    nearest = [hit for clip, output in zip(clips, outputs, strict=True) for hit in nearest_is(style, clip, output)]
    mean_psnr, mean_ssim = np.mean(rows, 0)
    warp = np.mean(warps, 0) if warps else (float("nan"), float("nan"))
    return StyleScore(style.name, len(rows), float(mean_psnr), float(mean_ssim), float(np.mean(nearest)),
                      *(255 * float(value) for value in warp))  # fmt: skip


def nearest_is(style: Style, clip: Clip, output: np.ndarray) -> list[bool]:
    """Per frame whether the style's picture is the nearest one, of all styles' and the input."""
    others = [clip.frames, *(styled(clip.frames, other) for other in STYLES if other is not style)]
    own = styled(clip.frames, style)
    return [
        squared_error(frame, own[i]) < min(squared_error(frame, other[i]) for other in others)
        for i, frame in enumerate(output)
    ]


def warp_errors(clip: Clip, output: np.ndarray, known: np.ndarray) -> list[tuple[float, float]]:
    """Per pair of frames the warp errors of the output and of the known pictures; none without the true motion."""
    if clip.motion is None:
        return []
    pairs = []
    for i in range(len(output) - 1):
        motion, visible = clip.motion[i], followed(clip.motion[i], clip.motion[i + 1])
        pairs.append((warp_error(output[i], output[i + 1], motion, visible),
                      warp_error(known[i], known[i + 1], motion, visible)))  # fmt: skip
    return pairs


def score_vae(model: Model, clips: Sequence[Clip], fields: dict[str, Any]) -> float:
    """PSNR in dB of clips that go through the video autoencoder alone, mean over all frames."""
    values = []
    for clip in clips:
        height, width = clip.frames.shape[1:3]
        with model.session(STYLES[0].prompt, height=height, width=width, **fields) as session:
            for frames in _chunks(clip.frames, session.config):
                decoded = session.decode(session.encode(frames))
                values += [psnr(*pair) for pair in zip(decoded, frames, strict=True)]
    return float(np.mean(values))


def _chunks(frames: np.ndarray, config: Config) -> Iterator[np.ndarray]:
    """The frames of the first chunk and of all whole ones after it."""
    start, stop = 0, FRAMES_PER_LATENT * (config.first_latents - 1) + 1
    while stop <= len(frames):
        yield frames[start:stop]
        start, stop = stop, stop + FRAMES_PER_LATENT * config.chunk_latents


@dataclass(frozen=True)
class Drift:
    """A long stream: mean PSNR in dB of its first 50 chunks, of its last 50, and the PSNR of every 50 chunks."""

    chunks: int
    first: float
    last: float
    course: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def score_drift(model: Model, style: Style, chunks: int, size: tuple[int, int], fields: dict[str, Any],
                index: int = 0, part: int = 50) -> Drift:  # fmt: skip
    """One procedural clip that never ends through one stream of at least ``part`` chunks."""
    source = ProceduralClip(*size, HELD_OUT + index)
    values: list[float] = []
    with model.session(style.prompt, height=size[0], width=size[1], **fields) as session:
        frames = (
            FRAMES_PER_LATENT * (session.config.first_latents - 1 + (chunks - 1) * session.config.chunk_latents) + 1
        )
        for output, frame in _streamed(session, (source.frame(i) for i in range(frames))):
            values.append(psnr(output, styled(frame, style)))
    parts = np.array_split(np.array(values), max(1, chunks // part))
    course = tuple(float(np.mean(values)) for values in parts)
    return Drift(chunks, course[0], course[-1], course)


def _streamed(session: Session, source: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every finished frame with the one it was made of; no more frames are held than the stream holds back."""
    waiting: list[np.ndarray] = []
    for frame in source:
        waiting.append(frame)
        for output in session.push(frame):
            yield output, waiting.pop(0)
    for output in session.flush():
        yield output, waiting.pop(0)


def prompt_change(model: Model, size: tuple[int, int], fields: dict[str, Any], before: Style, after: Style,
                  index: int = 0, chunks: int = 12) -> int | None:  # fmt: skip
    """Chunks from a new prompt until every frame of a chunk is nearer to the new style's picture than to the old one's.

    The prompt is changed in mid-stream. 0: the first chunk that is pushed after it; None: never within the stream.
    """
    clip = Clip.procedural(index, 5 + 4 * (chunks - 1), size)
    half = 5 + 4 * (chunks // 2 - 1)
    with model.session(before.prompt, height=size[0], width=size[1], **fields) as session:
        parts = [session.push(clip.frames[:half])]
        session.prompt = after.prompt
        output = np.concatenate([*parts, session.push(clip.frames[half:]), session.flush()])
    old, new = styled(clip.frames, before), styled(clip.frames, after)
    closer = np.array(
        [squared_error(*pair[:2]) < squared_error(*pair[::2]) for pair in zip(output, new, old, strict=True)]
    )
    for chunk, start in enumerate(range(half, len(output), 4)):
        if closer[start:].all():
            return chunk
    return None
