"""A session as a user sees it: frames in, frames out, with a prompt and live controls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from penstock.frames import as_any_frames
from penstock.runtime.config import Config
from penstock.runtime.device_array import DeviceArray, DeviceFrame
from penstock.runtime.engine import Engine, Queue
from penstock.runtime.errors import PenstockError, is_number
from penstock.runtime.prompt import Prompt
from penstock.runtime.schedule import step_list
from penstock.stages import Stages

Frames = np.ndarray | list[DeviceFrame]  # finished ones, on the host or on the device

RING_FIELDS = ("chunk", "row_chunk", "frame_position", "ring_write", "ring_length", "ring_next", "sink_shift",
               "queue", "queue_size", "global_end", "local_end", "current_step")  # fmt: skip


class Session(Stages):
    """One live stream over an engine; a context manager. One thread at a time.

    Push frames and take what is finished (`push`, `flush`), or hand over a whole source (`stream`). `prompt`,
    `noise_scale`, `seed` and `timesteps` may be set between any two calls and count from the next chunk on. The stages
    can also be driven one by one, see `Stages`. Made by `Model.session`.
    """

    def __init__(
        self, engine_for: Callable[[Config], Engine], config: Config, prompt: Prompt, embed: Callable[[str], Prompt],
        seed: int = 0, queue: Queue | None = None, output: str = "host",
    ):  # fmt: skip
        self._engines = {config: engine_for(config)}
        super().__init__(self._engines[config].session(queue, output), config)
        self._engine_for = engine_for
        self._embed = embed
        self._initial = (prompt, seed)
        self._start()

    def _start(self) -> None:
        prompt, seed = self._initial
        self._noise_scale, self._timesteps = self.config.noise_scale, self.config.schedule[: self.config.steps]
        self.seed = seed
        self._set_prompt(prompt)

    # ---- frames -------------------------------------------------------------------------------------------------

    @property
    def height(self) -> int:
        """Pixels of the frames."""
        return self.config.height

    @property
    def width(self) -> int:
        """Pixels of the frames."""
        return self.config.width

    def push(self, frames: Any, noise: Any = None, stream: Any = None) -> Frames:
        """Takes frames and returns those that are finished, uint8 [n, height, width, 3], perhaps none.

        frames: one [height, width, 3] or several [n, height, width, 3], uint8 RGB or float in [0, 1]. On a CUDA engine
        they may lie in its memory (uint8, by DLPack or `__cuda_array_interface__`) and are read there in the order of
        `stream`, a CUDA stream (torch's, cupy's, or a handle; None: the default stream), behind which they may be
        changed again. Finished frames of a session with output "cuda" are a list of `DeviceFrame`. The first chunk
        needs 5 frames, every later one 4; what does not complete a chunk waits. noise: float
        [passes, latents, 16, height/8, width/8] for the next chunk, in the draw order of spec 4.5 (the input's noise,
        then that of each re-noising); the frames must then complete exactly that chunk.
        """
        if not self.config.encodes:
            raise PenstockError("push: this configuration takes no frames")
        core = self._drive("frames")
        array = as_any_frames(frames, self.height, self.width, stream)
        if noise is None:
            core.push(array)
        else:
            self._push_with_noise(array, noise)
        return core.pull()

    def _push_with_noise(self, frames: np.ndarray | DeviceArray, noise: Any) -> None:
        core = self._drive("frames")
        stats = core.stats()
        suffix = "" if stats["chunks"] else "_first"
        needed = core.engine.tensor_info(f"frames{suffix}").shape[0]
        before = stats["frames_in"] - self._frames_of(stats["chunks"])
        if before + len(frames) != needed:
            raise PenstockError(f"noise: expected the {needed - before} frames that complete one chunk, "
                                f"got {len(frames)}")  # fmt: skip
        with self._given_noise(noise, suffix):
            core.push(frames)

    def _frames_of(self, chunks: int) -> int:
        first, later = (self._core.engine.tensor_info(name).shape[0] for name in ("frames_first", "frames"))
        return first + (chunks - 1) * later if chunks else 0

    def generate(self, blocks: int = 1) -> Frames:
        """Text-to-video: makes so many blocks from noise and returns the frames that are finished."""
        if type(blocks) is not int or blocks < 0:
            raise PenstockError(f"generate: expected a number of blocks, got {blocks!r:.80}")
        if self.config.source != "noise":
            raise PenstockError("generate: this configuration is video-to-video, push frames instead")
        core = self._drive("frames")
        core.generate(blocks)
        return core.pull()

    def flush(self) -> Frames:
        """Ends the stream and returns the remaining frames: as many frames went out as came in."""
        core = self._drive("frames")
        core.flush()
        return core.pull()

    def stream(self, source: Iterable[Any]) -> Iterator[Frames]:
        """Yields finished frames, as `push` returns them, of a source of frames, to its end.

        source: an iterable of frames or of arrays of frames, for instance `penstock.read_video(...)`.
        """
        for frames in source:
            if len(finished := self.push(frames)):
                yield finished
        if len(finished := self.flush()):
            yield finished

    # ---- live: a thread of the session runs the model ------------------------------------------------------------

    def submit(
        self, frames: Any, timestamps: Iterable[int] | None = None, timeout: float | None = None, stream: Any = None
    ) -> int:
        """Puts frames into the session's queue and returns how many it took; the model runs beside the caller.

        frames, stream: as in `push`. timestamps: an integer for each, which comes out again with the frame in its
        place. timeout: seconds to wait for room for each frame under the policy "block"; None for ever. What a full
        queue does is the `queue` of `Model.session`. A stream is fed by `push` or by `submit`. May be called from any
        thread, as may `end`, `wait`, `pull`, `cancel` and `stats`; the controls wait for the chunk that runs.
        """
        if not self.config.encodes:
            raise PenstockError("submit: this configuration takes no frames")
        core = self._drive("frames")
        array = as_any_frames(frames, self.height, self.width, stream)
        return core.submit(array, None if timestamps is None else list(timestamps), _milliseconds(timeout))

    def end(self) -> None:
        """The frame submitted last was the last one: what is left comes out behind it. Does not wait."""
        self._open().submit_end()

    def wait(self, timeout: float | None = None) -> int | None:
        """Waits for finished frames: how many there are, 0 at the stream's end, None after `timeout` seconds."""
        return self._open().wait(_milliseconds(timeout))

    def pull(self) -> tuple[Frames, list[int]]:
        """The finished frames as `push` returns them, perhaps none, and their timestamps. Does not wait."""
        return self._open().pull_stamped()

    def cancel(self) -> None:
        """Stops what runs, on whatever thread, before its next phase; then only `reset` lets the session go on."""
        self._open().cancel()

    # ---- configurations -----------------------------------------------------------------------------------------

    def switch(self, **fields: Any) -> Frames:
        """Goes on with another configuration from the next chunk on: switch(steps=4), switch(mode="sequential").

        fields: those that change, of steps, timesteps, mode, history, clean_context, noise_scale, sink_threshold; all
        others must stay. Returns the frames of the chunks in flight, which are finished first: none is lost. The
        picture goes on; `timesteps` are the configuration's own. A configuration that was not made ready is made here.
        """
        config = self._changed(fields)
        core = self._drive("frames")
        if config != self.config:
            core.switch(self._engine(config))
            self.config = config
            self._timesteps = config.schedule[: config.steps]
        if "noise_scale" in fields:
            self.noise_scale = config.noise_scale
        return core.pull()

    def prepare(self, *configurations: Mapping[str, Any]) -> None:
        """Makes configurations ready for `switch`, and the present one for coming back to it; each as the fields in
        which it differs from the present one."""
        configs = [self._changed(fields) for fields in configurations]
        for config in [self.config, *configs] if configs else []:
            self._open().prepare(self._engine(config))

    def _changed(self, fields: Mapping[str, Any]) -> Config:
        if unknown := sorted(fields.keys() - Config.__dataclass_fields__.keys()):
            raise PenstockError(f"switch: unknown settings: {', '.join(unknown)}")
        return replace(self.config, **fields)

    def _engine(self, config: Config) -> Engine:
        if config not in self._engines:
            self._engines[config] = self._engine_for(config)
        return self._engines[config]

    # ---- controls -----------------------------------------------------------------------------------------------

    @property
    def prompt(self) -> str:
        """The text; setting it takes effect at the next chunk, and the stream goes on."""
        return self._prompt.text

    @prompt.setter
    def prompt(self, prompt: str | Prompt) -> None:
        if not isinstance(prompt, str | Prompt):
            raise PenstockError(f"prompt: expected text or a Prompt, got {type(prompt).__name__}")
        self._set_prompt(self._embed(prompt) if isinstance(prompt, str) else prompt)

    def _set_prompt(self, prompt: Prompt) -> None:
        self._open().set_prompt(prompt.embeddings)
        self._prompt = prompt

    @property
    def noise_scale(self) -> float:
        """Share of noise in the input, 0 (0.1 under the noise controller) to 1; higher follows the prompt more."""
        return self._noise_scale

    @noise_scale.setter
    def noise_scale(self, value: float) -> None:
        lowest = self.config.lowest_noise_scale
        if self.config.source == "noise":
            raise PenstockError("noise_scale: text-to-video starts from pure noise, it cannot be set")
        if not is_number(value) or not lowest <= value <= 1:
            raise PenstockError(f"noise_scale: expected {lowest:g} to 1, got {value!r:.80}")
        self._open().write("noise_scale", [value])
        self._noise_scale = float(value)

    @property
    def seed(self) -> int:
        """Key of all noise; the same seed, inputs and settings give the same frames to the bit."""
        return self._seed

    @seed.setter
    def seed(self, value: int) -> None:
        if type(value) is not int or not 0 <= value < 2**64:
            raise PenstockError(f"seed: expected an integer from 0 to 2**64 - 1, got {value!r:.80}")
        self._open().write("seed", [value])
        self._seed = value

    @property
    def timesteps(self) -> tuple[int, ...]:
        """One timestep for each denoising step; under the noise controller the first one follows the motion.

        Chunks already in a stream batch go on by the new list with the noise that they have.
        """
        return self._timesteps

    @timesteps.setter
    def timesteps(self, values: Iterable[int]) -> None:
        given = tuple(values) if isinstance(values, Iterable) else values
        if not isinstance(given, tuple) or len(given) != self.config.steps:
            raise PenstockError(f"timesteps: expected {self.config.steps}, one for each step, got {values!r:.80}")
        timesteps = step_list(self.config.steps, given)
        self._open().set_timesteps(timesteps)
        self._timesteps = timesteps

    # ---- state --------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Begins a new stream: everything is as it was when the session was made, its prompt and settings too."""
        self._open().reset()
        self._driver = None
        self._calls.clear()
        self._start()

    def ring(self) -> dict[str, np.ndarray]:
        """The state of the rolling caches, read back for debugging: the fields of RING_FIELDS that the plan has."""
        core = self._open()
        return {name: core.read(name) for name in RING_FIELDS if core.engine.has_tensor(name)}

    def stats(self) -> dict[str, Any]:
        """frames_in, frames_out, chunks, phases_run, graph_replays, memory_bytes (of the session, without weights),
        delay_chunks (that a stream batch holds back), and per phase runs, last_ms and total_ms. Of the queue:
        frames_queued, frames_dropped before the model, outputs_dropped because nobody pulled them, deadline_misses,
        last_latency_ms and max_latency_ms."""
        core = self._open()
        counts = core.stats()
        del counts["last_phase_ms"]
        return counts | {
            "memory_bytes": core.engine.session_memory_required(),
            "delay_chunks": self.config.slots - 1,
            "phases": self.phase_stats(),
        }

    def phase_stats(self) -> dict[str, dict[str, Any]]:
        """Per phase runs, last_ms and total_ms; the part of `stats` that is cheap enough for every chunk."""
        core = self._open()
        return {phase: core.phase_stats(phase) for phase in self.config.phases}

    def close(self) -> None:
        """Lets go of the device memory; nothing but close may follow."""
        self._core = None
        self._engines.clear()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _milliseconds(timeout: float | None) -> int:
    """As the C ABI counts: negative for ever."""
    if timeout is None:
        return -1
    if not is_number(timeout) or not 0 <= timeout < 1e9:
        raise PenstockError(f"timeout: expected seconds or None, got {timeout!r:.80}")
    return round(1e3 * timeout)
