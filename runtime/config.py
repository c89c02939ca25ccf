"""The denoising configuration: one Config = one plan = one set of graphs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .errors import PenstockError, is_number
from .rope import POSITIONS
from .schedule import CLEAN_TIMESTEP, TEXT_TO_VIDEO_TIMESTEPS, step_list

VAE_STRIDE = 8  # pixels per latent row or column
PATCH = 2  # latent rows or columns per token
MODES = ("stream_batch", "sequential")
HISTORIES = ("shared", "per_step")
CACHE_POLICIES = ("sink", "streamdiffusionv2")
SOURCES = ("video", "noise")
CODERS = ("wan", "taehv")
DECODERS = (*CODERS, "none")
LATENT_NORMS = ("raw", "normalized")
SCHEDULES = ("latency", "throughput")  # of an engine, not of a plan
PRECISIONS = ("fp8_attention", "fp8_vae")  # parts of the model that may be computed in fewer bits
_LOWEST_CONTROLLED_NOISE = 0.1  # the controller takes up to 0.1 off the noise scale
_CHOICES = {"mode": MODES, "history": HISTORIES, "source": SOURCES, "encoder": CODERS, "decoder": DECODERS,
            "latent_norm": LATENT_NORMS, "cache_policy": CACHE_POLICIES}  # fmt: skip
_TYPES = {"int": "an integer", "float": "a number", "str": "text", "bool": "True or False"}


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

    source: ``video`` mixes noise into encoded frames; ``noise`` is text-to-video (see :meth:`text_to_video`). encoder,
    decoder: the video autoencoder in front and behind; decoder ``none`` leaves both out, latents go in and out.
    latent_norm: whether encoded latents are the ``raw`` mean of the Wan VAE, as published, or ``normalized``.
    noise_scale: share of noise in the input; with noise_controller the motion of the frames takes up to 0.1 off it and
    the first timestep follows (spec 2.7). clean_context: one more pass at timestep 0, whose keys and values stay in the
    cache, as checkpoints of CausVid and Self-Forcing need it. precision: which parts are computed in fewer bits than
    the others, none by default; names, or one text with commas. ``fp8_attention``: attention over the rolling cache
    with 8-bit floats. ``fp8_vae``: the convolutions of the Wan VAE that are behind a norm, likewise. Both on GPUs of
    compute capability 8.9 and later; the CPU backend rounds as they do.
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
    source: str = "video"
    encoder: str = "wan"
    decoder: str = "wan"
    latent_norm: str = "raw"
    noise_scale: float = 0.8
    noise_controller: bool = True
    clean_context: bool = False
    precision: tuple[str, ...] = ()
    schedule: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._check_types()
        object.__setattr__(self, "precision", _parse_precision(self.precision))
        unit = VAE_STRIDE * PATCH
        for name in ("height", "width"):
            value = getattr(self, name)
            if value < unit or value % unit:
                nearest = max(unit, round(value / unit) * unit)
                raise PenstockError(f"{name}: expected a multiple of {unit} pixels, got {value} (nearest: {nearest})")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise PenstockError(f"{name}: expected one of {', '.join(choices)}, got {getattr(self, name)!r:.80}")
        if not -1.0 <= self.sink_threshold <= 1.0:
            raise PenstockError(f"sink_threshold: expected a cosine, -1 to 1, got {self.sink_threshold}")
        default = TEXT_TO_VIDEO_TIMESTEPS if self.source == "noise" else None
        schedule = step_list(self.steps, default if self.timesteps is None else self.timesteps)
        object.__setattr__(self, "schedule", (*schedule, CLEAN_TIMESTEP) if self.clean_context else schedule)
        self._check_noise()
        self._check_coders()
        self._check_cache()
        self._check_placement()

    def _check_types(self) -> None:
        for entry in fields(self):
            if entry.name in ("schedule", "timesteps", "precision"):
                continue
            value = getattr(self, entry.name)
            good = is_number(value) if entry.type == "float" else type(value).__name__ == entry.type
            if not good:
                raise PenstockError(f"{entry.name}: expected {_TYPES[entry.type]}, got {value!r:.80}")

    def _check_noise(self) -> None:
        if not self.lowest_noise_scale <= self.noise_scale <= 1.0:
            expected = f"{self.lowest_noise_scale} to 1" + (" with noise_controller" if self.controls_noise else "")
            raise PenstockError(f"noise_scale: expected {expected}, got {self.noise_scale}")
        if self.source == "noise" and self.noise_scale != 1.0:
            raise PenstockError(f"noise_scale: expected 1 with source noise, got {self.noise_scale}")

    def _check_coders(self) -> None:
        if self.encoder == "taehv" and self.latent_norm != "normalized":
            raise PenstockError("latent_norm: expected normalized with encoder taehv, whose latents are, got raw")
        coders = {self.decoder, self.encoder} if self.encodes else {self.decoder}
        if self.fp8_vae and "wan" not in coders:
            raise PenstockError(f"precision: fp8_vae needs an encoder or decoder wan, got {', '.join(sorted(coders))}")

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

    @classmethod
    def text_to_video(cls, **fields: Any) -> Config:
        """Text-to-video as published (spec 2.10): blocks of 3 latents, a cache of 21, a clean-context pass."""
        published: dict[str, Any] = {
            "source": "noise", "steps": 4, "chunk_latents": 3, "first_latents": 3, "cache_frames": 21,
            "sink_frames": 0, "noise_scale": 1.0, "clean_context": True,
        }  # fmt: skip
        return cls(**published | fields)

    @property
    def encodes(self) -> bool:
        """Whether frames go in, and not latents or noise."""
        return self.source == "video" and self.decoder != "none"

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases of the plan, in the order of their first run."""
        stages = ["encode"] * self.encodes + ["denoise"] + ["decode"] * (self.decoder != "none")
        return ("set_prompt", *(f"{stage}_first" for stage in stages), *stages)

    @property
    def controls_noise(self) -> bool:
        """Whether the motion of the frames sets the noise level."""
        return self.noise_controller and self.encodes

    @property
    def lowest_noise_scale(self) -> float:
        """The smallest noise_scale that is allowed, now and while the stream runs."""
        return _LOWEST_CONTROLLED_NOISE if self.controls_noise else 0.0

    @property
    def passes(self) -> int:
        """Forwards that a chunk goes through: the steps, and the clean-context pass."""
        return len(self.schedule)

    @property
    def adaptive_sinks(self) -> bool:
        """Whether a chunk may replace a sink."""
        return self.sink_threshold > -1.0 and self.sink_frames > 0 and self.chunk_latents == 1

    @property
    def fp8_attention(self) -> bool:
        """Whether attention over the rolling cache is computed with 8-bit floats."""
        return "fp8_attention" in self.precision

    @property
    def fp8_vae(self) -> bool:
        """Whether the Wan VAE multiplies 8-bit floats behind its norms."""
        return "fp8_vae" in self.precision

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
        """Rows of the stream batch: one per pass, or one in sequential mode."""
        return self.passes if self.mode == "stream_batch" else 1

    @property
    def cache_slots(self) -> int:
        """Rolling caches per layer."""
        return self.passes if self.mode == "stream_batch" or self.history == "per_step" else 1

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the plan; ``schedule`` is the resolved step list."""
        record = asdict(self)
        del record["timesteps"]
        return record | {"schedule": list(self.schedule), "precision": list(self.precision)}


def _parse_precision(value: Any) -> tuple[str, ...]:
    """Names of PRECISIONS, each once and in their order, from a text with commas or a sequence of names."""
    names = [name for name in value.split(",") if name] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple, set, frozenset)) or not set(map(str, names)) <= set(PRECISIONS):
        raise PenstockError(f"precision: expected names of {', '.join(PRECISIONS)}, or none, got {value!r:.80}")
    return tuple(name for name in PRECISIONS if name in names)
