"""The stages of a session one by one, for research and for checking: encode, denoise, decode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from penstock.frames import as_frames
from penstock.runtime.config import Config
from penstock.runtime.engine import Session as Core
from penstock.runtime.errors import PenstockError, is_number
from penstock.runtime.schedule import sigma_of


class Stages:
    """The first call of each stage works on the first chunk (5 frames, 2 latents), every later one on the next chunk
    (4 frames, 1 latent). A session is driven either by its stages or by `push`; `reset` allows the other."""

    config: Config

    def __init__(self, core: Core, config: Config):
        self.config = config
        self._core: Core | None = core
        self._driver: str | None = None  # what drives this stream: frames or stages
        self._calls: Counter[str] = Counter()  # of the stages

    def _open(self) -> Core:
        if self._core is None:
            raise PenstockError("the session is closed")
        return self._core

    def _drive(self, driver: str) -> Core:
        core = self._open()
        if self._driver not in (None, driver):
            raise PenstockError(f"the session is driven by {self._driver}; reset it to drive it by {driver}")
        self._driver = driver
        return core

    def _suffix(self, stage: str) -> str:
        return "" if self._calls[stage] else "_first"

    def encode(self, frames: Any) -> np.ndarray:
        """Latents float32 [F, 16, height/8, width/8] of a chunk's frames; its noise level is set too."""
        core, suffix = self._drive("stages"), self._suffix("encode")
        if not self.config.encodes:
            raise PenstockError("encode: this configuration takes no frames")
        array = as_frames(frames, self.config.height, self.config.width)
        if len(array) != (count := core.engine.tensor_info(f"frames{suffix}").shape[0]):
            raise PenstockError(f"encode: expected the {count} frames of a chunk, got {len(array)}")
        core.write(f"frames{suffix}", array)
        core.run(f"encode{suffix}")
        self._calls["encode"] += 1
        return core.read(f"latents{suffix}")

    def denoise(self, latents: Any = None, noise: Any = None, timestep: int | None = None) -> np.ndarray:
        """x0 float32 [slots, F, 16, height/8, width/8] of every slot; the last slot's is finished.

        latents: clean ones of a new chunk, default those of the last `encode`. noise: float
        [passes, F, 16, height/8, width/8] in the draw order of spec 4.5, default drawn. timestep: the first one of this
        chunk in place of the list's.
        """
        core, suffix = self._drive("stages"), self._suffix("denoise")
        if latents is not None:
            core.write(f"latents{suffix}", _finite("latents", latents))
        with self._given_noise(noise, suffix), self._given_timestep(timestep):
            core.run(f"denoise{suffix}")
        self._calls["denoise"] += 1
        return core.read(f"x0{suffix}")

    def decode(self, latents: Any = None) -> np.ndarray:
        """Frames float32 [n, height, width, 3] in [0, 1] of a chunk's latents [F, 16, height/8, width/8].

        latents: default the finished ones of the last `denoise`.
        """
        core, suffix = self._drive("stages"), self._suffix("decode")
        if self.config.decoder == "none":
            raise PenstockError("decode: this configuration has no decoder")
        if latents is not None:
            x0 = core.read(f"x0{suffix}")
            values = _finite("latents", latents)
            if values.shape != x0.shape[1:]:
                raise PenstockError(f"decode: expected latents {list(x0.shape[1:])}, got {list(values.shape)}")
            x0[-1] = values
            core.write(f"x0{suffix}", x0)
        core.run(f"decode{suffix}")
        self._calls["decode"] += 1
        decoded = core.read_floats(f"decoded{suffix}")
        decoded = decoded[-core.engine.tensor_info(f"video{suffix}").shape[0] :]  # TAEHV's first frames are dropped
        return np.clip(decoded if self.config.decoder == "taehv" else decoded * 0.5 + 0.5, 0.0, 1.0)

    @contextmanager
    def _given_noise(self, noise: Any, suffix: str) -> Iterator[None]:
        core = self._open()
        if noise is None:
            yield
            return
        core.write(f"noise{suffix}", _finite("noise", noise))
        core.write("noise_given", [1])
        try:
            yield
        finally:
            core.write("noise_given", [0])

    @contextmanager
    def _given_timestep(self, timestep: int | None) -> Iterator[None]:
        core = self._open()
        if timestep is None:
            yield
            return
        if not is_number(timestep) or not 0 <= timestep <= 1000:
            raise PenstockError(f"timestep: expected 0 to 1000, got {timestep!r:.80}")
        before = {name: core.read(name) for name in ("timestep", "sigma")}
        core.write("timestep", [timestep, *before["timestep"][1:]])
        core.write("sigma", [sigma_of(timestep), *before["sigma"][1:]])
        try:
            yield
        finally:
            for name, values in before.items():
                core.write(name, values)


def _finite(what: str, values: Any) -> np.ndarray:
    try:
        array = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise PenstockError(f"{what}: expected floats, got {type(values).__name__} ({error})") from None
    if not np.isfinite(array).all():
        raise PenstockError(f"{what}: expected finite values, got {int((~np.isfinite(array)).sum())} others")
    return array
