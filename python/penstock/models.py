"""Loading models: `penstock.load` and what comes of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from penstock.runtime.build import create_engine
from penstock.runtime.config import Config
from penstock.runtime.engine import Engine, Queue
from penstock.runtime.errors import PenstockError
from penstock.runtime.model import PRESETS, ModelDir, load_model
from penstock.runtime.prompt import Prompt
from penstock.runtime.stream_settings import load_stream_settings
from penstock.runtime.text import cache_directory, embed_for_model
from penstock.session import Session

TINY = "tiny"  # the packaged model
_PACKAGED = Path(__file__).resolve().parent / "weights"


class Model:
    """A model directory, from which sessions are made. The engine of the last configuration is kept for the next."""

    def __init__(self, directory: ModelDir):
        self.directory = directory
        self._engine: tuple[tuple[Config, str, int, str], Engine] | None = None

    @property
    def name(self) -> str:
        return self.directory.spec.name

    @property
    def settings(self) -> dict[str, Any]:
        """Fields of Config that the model recommends for video-to-video; see `penstock.runtime.stream_settings`."""
        return load_stream_settings(self.directory.path)

    def embed(self, prompt: str) -> Prompt:
        """The text embeddings of a prompt, from the cache or by the model's text encoder, which is let go of after."""
        (embedded,) = embed_for_model(self.directory.path, [prompt], cache=cache_directory())
        return embedded

    def session(
        self,
        prompt: str | Prompt = "",
        *,
        config: Config | None = None,
        device: str = "auto",
        threads: int = 0,
        seed: int = 0,
        schedule: str = "latency",
        queue: Queue | None = None,
        output: str = "host",
        configurations: Iterable[Mapping[str, Any]] = (),
        **fields: Any,
    ) -> Session:
        """A new stream.

        prompt: text, or embeddings read by `penstock.runtime.prompt.read_prompt`. config: the whole configuration, or
        fields of it by name: height, width, steps, mode, decoder, noise_scale, ... (see Config), beside those that the
        model itself recommends (`settings`). device: auto, cpu or cuda. threads of the CPU backend, 0 for all cores.
        seed: key of all noise. schedule: "latency", a chunk's frames come out of the push that completes it, or
        "throughput", two chunks later and at a higher rate. queue: how `submit` behaves when frames come faster than
        the model runs. output: where finished frames are, "host" as numpy arrays, or "cuda" as `DeviceFrame`s, which
        torch and others read where they lie. configurations: what the stream is to be switched to (`Session.switch`),
        each as the fields in which it differs; made ready here, with the one that the session begins with, so that a
        switch costs less than a chunk. Raises PenstockError.
        """
        if config is not None and fields:
            raise PenstockError(f"session: expected config or its fields, got config and {', '.join(sorted(fields))}")
        if unknown := sorted(fields.keys() - Config.__dataclass_fields__.keys()):
            raise PenstockError(f"session: unknown settings: {', '.join(unknown)}")
        if not isinstance(prompt, str | Prompt):
            raise PenstockError(f"prompt: expected text or a Prompt, got {type(prompt).__name__}")
        if config is None:
            recommended = {} if fields.get("source") == "noise" else self.settings
            config = Config(**recommended | fields)
        embedded = self.embed(prompt) if isinstance(prompt, str) else prompt  # before the engine takes memory
        embedded.check_fits(self.directory.spec.dit.text_len, self.directory.spec.dit.text_dim)

        def engine_for(configuration: Config) -> Engine:
            return self._engine_for(configuration, device, threads, schedule)

        session = Session(engine_for, config, embedded, self.embed, seed, queue, output)
        session.prepare(*configurations)
        return session

    def _engine_for(self, config: Config, device: str, threads: int, schedule: str) -> Engine:
        key = (config, device, threads, schedule)
        if self._engine is None or self._engine[0] != key:
            earlier = self._engine[1] if self._engine and self._engine[0][1:3] == key[1:3] else None
            self._engine = None
            self._engine = key, create_engine(self.directory, config, device, threads, earlier, schedule)
        return self._engine[1]


def model_path(model: str | os.PathLike[str]) -> Path:
    """The directory of a model; "tiny", where nothing else has that name, comes with the package."""
    path = Path(model)
    return _PACKAGED / TINY if str(model) == TINY and not path.exists() else path


def load(model: str | os.PathLike[str]) -> Model:
    """The model in a directory that `penstock convert` or `penstock synth` wrote, or "tiny".

    "tiny" comes with the package: small, trained by the project on a few styles (docs/quality.md). Raises PenstockError
    where there is no model.
    """
    path = model_path(model)
    if str(model) in PRESETS and not path.exists():
        raise PenstockError(
            f"{model}: a preset, not a directory; convert its weights, or try penstock synth {model} DIR"
        )
    return Model(load_model(path))
