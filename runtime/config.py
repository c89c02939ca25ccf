"""The denoising configuration: one Config = one plan = one set of graphs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from .errors import PenstockError
from .rope import POSITIONS
from .schedule import step_list

VAE_STRIDE = 8  # pixels per latent row or column
PATCH = 2  # latent rows or columns per token
MODES = ("stream_batch", "sequential")
HISTORIES = ("shared", "per_step")
CACHE_POLICIES = ("sink", "streamdiffusionv2")


@dataclass(frozen=True)
class Config:
    """What a plan is built for, beside the model.

    height, width: pixels, multiples of 16. steps: denoising steps per chunk; ``timesteps`` is the list whose first
    ``steps`` entries are used (None: the video-to-video list of spec 2.9). mode: ``stream_batch`` runs all steps as one
    batch of slots, each on its own chunk; ``sequential`` runs them one after the other on one chunk, with one cache
    (history ``shared``) or one per step (``per_step``). chunk_latents, first_latents: latent frames per chunk and in
    the first chunk. cache_frames, sink_frames: latent frames in the rolling cache, and how many of them are pinned.
    refresh_frames: position at which the rotary positions start again behind the cache (spec 2.6).
    cache_policy: where chunks go in a full cache; ``sink`` keeps the sinks and replaces the oldest of the others,
    ``streamdiffusionv2`` does what the published code does, quirks included (spec 2.5.3). sink_threshold: a sink gives
    way to a chunk of one frame that resembles all sinks less than this, by the cosine of their keys and values;
    -1: never.
    """

    height: int = 480
    width: int = 832
    steps: int = 2
    timesteps: tuple[int, ...] | None = None
    mode: str = "stream_batch"
    history: str = "shared"
    chunk_latents: int = 1
    first_latents: int = 2
    cache_frames: int = 6
    sink_frames: int = 3
    refresh_frames: int = 50
    cache_policy: str = "sink"
    sink_threshold: float = 0.2
    noise_scale: float = 0.8
    schedule: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        unit = VAE_STRIDE * PATCH
        for name in ("height", "width"):
            value = getattr(self, name)
            if value < unit or value % unit:
                nearest = max(unit, round(value / unit) * unit)
                raise PenstockError(f"{name}: expected a multiple of {unit} pixels, got {value} (nearest: {nearest})")
        if self.mode not in MODES:
            raise PenstockError(f"mode: expected one of {', '.join(MODES)}, got {self.mode!r}")
        if self.history not in HISTORIES:
            raise PenstockError(f"history: expected one of {', '.join(HISTORIES)}, got {self.history!r}")
        if self.cache_policy not in CACHE_POLICIES:
            expected = ", ".join(CACHE_POLICIES)
            raise PenstockError(f"cache_policy: expected one of {expected}, got {self.cache_policy!r}")
        if not -1.0 <= self.sink_threshold <= 1.0:
            raise PenstockError(f"sink_threshold: expected a cosine, -1 to 1, got {self.sink_threshold}")
        if not 0.0 <= self.noise_scale <= 1.0:
            raise PenstockError(f"noise_scale: expected 0 to 1, got {self.noise_scale}")
        object.__setattr__(self, "schedule", step_list(self.steps, self.timesteps))
        self._check_cache()
        self._check_placement()

    def _check_cache(self) -> None:
        chunk, first, cache, sinks = self.chunk_latents, self.first_latents, self.cache_frames, self.sink_frames
        if not cache < self.refresh_frames <= POSITIONS - chunk:
            limits = f"{cache + 1} to {POSITIONS - chunk} with {cache} cache frames"
            raise PenstockError(f"refresh_frames: expected {limits}, got {self.refresh_frames}")
        if chunk < 1 or first < 1 or cache < max(chunk, first):
            raise PenstockError(f"cache_frames: expected at least one chunk ({max(chunk, first)} frames), got {cache}")
        if not 0 <= sinks <= cache - chunk:
            raise PenstockError(f"sink_frames: expected 0 to {cache - chunk} with {cache} cache frames, got {sinks}")
        if (cache - sinks) % chunk or (first - sinks) % chunk:
            raise PenstockError(
                f"cache_frames {cache}, sink_frames {sinks}: chunks of {chunk} frames would wrap in the rolling part"
            )

    def _check_placement(self) -> None:
        """What the cache policies need of the first chunk, in a cache that is otherwise possible."""
        chunk, first, cache = self.chunk_latents, self.first_latents, self.cache_frames
        if self.cache_policy == "sink":
            if self.adaptive_sinks and first >= cache:
                raise PenstockError(
                    f"first_latents: expected at most {cache - 1} with {cache} cache frames and adaptive sinks "
                    f"(sink_threshold {self.sink_threshold}), got {first}"
                )
            return
        # The published queue is empty once the cache is full, or begins before the cache does.
        queued = first + 2 * chunk <= cache or self.sink_frames < 2 * first <= cache
        if first < chunk or not queued:
            raise PenstockError(
                f"first_latents: streamdiffusionv2 needs at least one chunk ({chunk}), and room for two more "
                f"in the cache ({cache} frames), got {first}"
            )

    @property
    def adaptive_sinks(self) -> bool:
        """Whether a chunk may replace a sink."""
        return self.sink_threshold > -1.0 and self.sink_frames > 0 and self.chunk_latents == 1

    @property
    def latent_height(self) -> int:
        return self.height // VAE_STRIDE

    @property
    def latent_width(self) -> int:
        return self.width // VAE_STRIDE

    @property
    def token_rows(self) -> int:
        return self.latent_height // PATCH

    @property
    def token_columns(self) -> int:
        return self.latent_width // PATCH

    @property
    def frame_tokens(self) -> int:
        """Tokens per latent frame."""
        return self.token_rows * self.token_columns

    @property
    def slots(self) -> int:
        """Rows of the stream batch: one per step, or one in sequential mode."""
        return self.steps if self.mode == "stream_batch" else 1

    @property
    def cache_slots(self) -> int:
        """Rolling caches per layer."""
        return self.steps if self.mode == "stream_batch" or self.history == "per_step" else 1

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the plan; ``schedule`` is the resolved step list."""
        record = asdict(self)
        del record["timesteps"]
        return record | {"schedule": list(self.schedule)}
