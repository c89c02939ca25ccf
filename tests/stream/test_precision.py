"""The setting `precision`: off by default, and with fp8_attention a cache in 8 bits that always is the cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from penstock.evaluation.measures import psnr, unit
from penstock.models import Model
from penstock.runtime.config import Config
from penstock.runtime.errors import PenstockError
from penstock.runtime.models.video_stream import stream_plan
from penstock.session import Session
from tests.ops.quantized_cache import ROLES, check_frame
from tests.stream.conftest import random_clip
from tests.stream.test_session import open_session, run

FP8 = {"precision": "fp8_attention", "decoder": "taehv", "encoder": "taehv", "latent_norm": "normalized"}
STREAMS: dict[str, dict[str, Any]] = {
    "stream_batch": {"steps": 3, "refresh_frames": 8, "sink_threshold": -1.0},
    "adaptive_sinks": {"steps": 2, "refresh_frames": 8, "sink_threshold": 1.0},
    "shared": {"mode": "sequential", "steps": 2, "refresh_frames": 8},
    "per_step": {"mode": "sequential", "steps": 2, "refresh_frames": 8, "history": "per_step"},
    "published": {"steps": 2, "cache_policy": "streamdiffusionv2", "refresh_frames": 8},
    "long_chunks": {"steps": 2, "chunk_latents": 2, "cache_frames": 4, "sink_frames": 2, "refresh_frames": 8},
}


@pytest.mark.parametrize("name", STREAMS)
def test_the_copy_is_the_cache(model: Model, rng: np.random.Generator, name: str) -> None:
    """After every chunk: while the ring fills, when the positions start again, and after a switch."""
    with open_session(model, **FP8, **STREAMS[name]) as session:
        clip = random_clip(rng, 5 + 4 * 11 * session.config.chunk_latents)
        for index, frame in enumerate(clip):
            session.push(frame)
            if index % 8 == 4:
                check_cache(session)
            if index == len(clip) // 2 and name != "published":
                session.switch(steps=1)


def check_cache(session: Session) -> None:
    config, layers = session.config, session._core.read("ring_length")
    for layer, lengths in enumerate(layers):
        cache, copy = ({role: session._core.read(f"blocks.{layer}.{role}") for role in roles}
                       for roles in (("k_cache", "v_cache"), ROLES))  # fmt: skip
        for slot in range(config.cache_slots):
            for frame in range(lengths[slot % len(lengths)]):
                check_frame(cache, copy, slot, frame, config.frame_tokens)


def test_frames_are_nearly_the_same(model: Model, rng: np.random.Generator) -> None:
    clip = random_clip(rng, 29)
    plain = {**FP8, "precision": ""}
    exact, rounded = (run(open_session(model, **fields), clip) for fields in (plain, FP8))
    difference = np.mean([psnr(unit(one), unit(other)) for one, other in zip(rounded, exact, strict=True)])
    print(f"PSNR {difference:.1f} dB")
    assert 35 < difference < 90


def test_off_by_default(model: Model) -> None:
    plan = stream_plan(model.directory.spec, Config(48, 64))
    ops = {op.op for phase in plan.phases.values() for op in phase}
    assert "rolling_attention" in ops and not ops & {"rolling_attention_fp8", "quantize_cache"}
    assert plan.config["precision"] == [] and not any("codes" in name for name in plan.tensors)


def test_names_with_commas_or_in_a_sequence() -> None:
    same = [Config(precision=value) for value in ("fp8_attention", "fp8_attention,fp8_attention", ["fp8_attention"])]
    assert all(config == same[0] and config.fp8_attention for config in same)
    assert Config(precision="") == Config(precision=()) == Config()


@pytest.mark.parametrize("value", ["fp8", "fp8_attention;", ["fp4"], 8, None, [["fp8_attention"]]])
def test_other_names(value: object) -> None:
    with pytest.raises(PenstockError, match=r"precision: expected names of fp8_attention, fp8_vae, or none, got "):
        Config(precision=value)  # type: ignore[arg-type]


def test_an_8_bit_vae_is_nearly_the_same(model: Model, rng: np.random.Generator) -> None:
    clip = random_clip(rng, 13)
    exact, rounded = (run(open_session(model, steps=1, precision=name), clip) for name in ("", "fp8_vae"))
    difference = np.mean([psnr(unit(one), unit(other)) for one, other in zip(rounded, exact, strict=True)])
    print(f"PSNR {difference:.1f} dB")
    assert 20 < difference < 90


def test_names_go_together() -> None:
    config = Config(precision="fp8_vae,fp8_attention")
    assert config.precision == ("fp8_attention", "fp8_vae") and config.fp8_vae and config.fp8_attention


@pytest.mark.parametrize("coders", [{"decoder": "none"}, {"decoder": "taehv", "encoder": "taehv"},
                                    {"decoder": "taehv", "source": "noise", "noise_scale": 1.0}])  # fmt: skip
def test_an_8_bit_vae_needs_a_vae(coders: dict[str, Any]) -> None:
    if coders.get("encoder") == "taehv":
        coders |= {"latent_norm": "normalized"}
    with pytest.raises(PenstockError, match="precision: fp8_vae needs an encoder or decoder wan, got "):
        Config(precision="fp8_vae", **coders)


def test_a_stream_keeps_its_precision(model: Model) -> None:
    with (
        open_session(model) as session,
        pytest.raises(PenstockError, match=r"cannot switch: precision is \[\] now and \['fp8_attention'\] there"),
    ):
        session.switch(precision="fp8_attention")
