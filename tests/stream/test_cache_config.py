"""Cache policies in a Config: what is adaptive, and one clear line about what cannot be."""

from __future__ import annotations

import math

import pytest

from penstock.runtime.config import Config
from penstock.runtime.errors import PenstockError

TEXT_TO_VIDEO = {"chunk_latents": 3, "first_latents": 3, "cache_frames": 21, "sink_frames": 0}
PUBLISHED = {"cache_policy": "streamdiffusionv2"}


@pytest.mark.parametrize(
    ("fields", "adaptive"),
    [({}, True), ({"sink_threshold": -1}, False), ({"sink_threshold": -0.9}, True), ({"sink_frames": 0}, False),
     (TEXT_TO_VIDEO, False), (PUBLISHED, True), ({**PUBLISHED, **TEXT_TO_VIDEO}, False)],
)  # fmt: skip
def test_adaptive_sinks(fields: dict[str, float], adaptive: bool) -> None:
    assert Config(**fields).adaptive_sinks == adaptive


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cache_policy": "lru"}, "cache_policy: expected one of sink, streamdiffusionv2, got 'lru'"),
        ({"sink_threshold": 1.1}, "sink_threshold: expected a cosine, -1 to 1, got 1.1"),
        ({"sink_threshold": -2.0}, "sink_threshold: expected a cosine"),
        ({"sink_threshold": math.nan}, "sink_threshold: expected a cosine"),
        ({"first_latents": 6}, "first_latents: expected at most 5 with 6 cache frames and adaptive sinks"),
        ({**PUBLISHED, "first_latents": 5}, "first_latents: streamdiffusionv2 needs"),
        ({**PUBLISHED, "first_latents": 6, "sink_threshold": -1.0}, "first_latents: streamdiffusionv2 needs"),
        ({**PUBLISHED, "first_latents": 1, "chunk_latents": 3, "sink_frames": 1, "cache_frames": 7}, "first_latents"),
    ],
)
def test_what_cannot_be(fields: dict[str, object], message: str) -> None:
    with pytest.raises(PenstockError) as error:
        Config(**fields)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("first", [1, 2, 3, 4])
def test_first_chunks_that_the_published_queue_takes(first: int) -> None:
    assert Config(first_latents=first, **PUBLISHED).first_latents == first


def test_a_first_chunk_that_fills_the_cache() -> None:
    assert Config(first_latents=6, sink_threshold=-1.0).first_latents == 6
