"""Synthetic weights: the published counts, the promised distributions, and a real forward pass over them."""

from __future__ import annotations

import hashlib
import math
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import WanTransformer3DModel

from penstock.runtime.dit_spec import dit_parameters
from penstock.runtime.engine import Engine
from penstock.runtime.errors import PenstockError
from penstock.runtime.model import ModelDir, component_parameters, load_model, preset
from penstock.runtime.models.frame_network import CoderSize
from penstock.runtime.models.taehv import taehv_plan
from penstock.runtime.models.wan_vae import wan_vae_plan
from penstock.runtime.pack import packed_weights
from penstock.runtime.plan import Plan
from penstock.runtime.synth import synth
from penstock.runtime.text import TextSpec, load_text_spec
from penstock.runtime.wan_keys import to_diffusers_key


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelDir:
    path = tmp_path_factory.mktemp("tiny")
    report = synth("tiny", path)
    assert report.path == path and report.total.bytes == 2 * report.total.parameters
    return load_model(path)


def digest(path: Path) -> str:
    return hashlib.sha256((path / "dit.safetensors").read_bytes()).hexdigest()


CODERS = {"vae": (194, 126_892_531), "taehv": (128, 11_315_539)}
COUNTS = {
    "wan2.1-t2v-1.3b": {"dit": (825, 1_418_996_800), **CODERS},
    "wan2.1-t2v-14b": {"dit": (1095, 14_288_491_584), **CODERS},
    "tiny": {"dit": (177, 7_021_376), "vae": (194, 3_602_371), "taehv": (128, 717_667)},
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path, name: str) -> None:
    target = tmp_path / "out"
    in_all = tuple(sum(column) for column in zip(*COUNTS[name].values(), strict=True))
    for dtype, size in (("bf16", 2), ("fp16", 2), ("fp32", 4)):
        report = synth(name, target, dry_run=True, dtype=dtype)
        assert {part: (c.tensors, c.parameters) for part, c in report.components.items()} == COUNTS[name]
        assert (report.total.tensors, report.total.parameters) == in_all
        assert report.total.bytes == size * in_all[1] and report.path is None
    assert not target.exists()
    assert synth(name, None, dry_run=True).total.tensors == in_all[0]


def test_the_distributions(tiny: ModelDir) -> None:
    dit = tiny.spec.dit
    assert tiny.spec == preset("tiny")
    pooled: dict[tuple[float, float], list[np.ndarray]] = {}
    with tiny.open_weights() as weights:
        for key, shape in dit_parameters(dit).items():
            assert weights.infos[f"dit.{key}"].dtype == "BF16"
            if "modulation" in key:
                expected = (0.0, 0.1)
            elif "norm" in key and key.endswith("weight"):
                expected = (1.0, 0.05)
            elif key.endswith("bias"):
                expected = (0.0, 0.02)
            else:
                fan_in = 64 if key == "patch_embedding.weight" else shape[1]
                expected = (0.0, fan_in**-0.5)
            values = weights.numpy(f"dit.{key}").ravel()
            # Five standard errors of the mean and of the deviation, and the rounding to bf16 near 1.
            slack = 5 * expected[1] / math.sqrt(values.size) + 2**-9 * expected[0]
            assert abs(values.mean() - expected[0]) < slack, key
            assert abs(values.std() - expected[1]) < slack, key
            pooled.setdefault(expected, []).append((values - expected[0]) / expected[1])
    assert len(pooled) == 6  # modulation, norms, biases; linear layers with a fan-in of 64, 256 and 1024
    for parts in pooled.values():
        values = np.concatenate(parts)
        assert abs(np.mean(np.abs(values) < 1) - 0.6827) < 0.02
        assert np.abs(values).max() > 2.5


def test_no_two_tensors_are_alike(tiny: ModelDir) -> None:
    with tiny.open_weights() as weights:
        starts = {weights.raw(key)[:64].tobytes() for key, info in weights.infos.items() if info.nbytes >= 64}
        assert len(starts) == sum(info.nbytes >= 64 for info in weights.infos.values()) > 400


def test_values_depend_on_seed_and_name_only(tiny: ModelDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synth("tiny", tmp_path / "same")
    synth("tiny", tmp_path / "other", seed=1)
    assert digest(tmp_path / "same") == digest(tiny.path) != digest(tmp_path / "other")
    monkeypatch.setattr(
        "penstock.runtime.synth.component_parameters",
        lambda component, spec: dict(reversed(component_parameters(component, spec).items())),
    )
    monkeypatch.setattr("penstock.runtime.synth._SLICE", 1000)
    synth("tiny", tmp_path / "reversed")
    with tiny.open_weights() as ours, load_model(tmp_path / "reversed").open_weights() as theirs:
        assert theirs.infos.keys() == ours.infos.keys()
        assert list(theirs.infos)[:177] == list(ours.infos)[176::-1]
        for key in ours.infos:
            np.testing.assert_array_equal(ours.raw(key), theirs.raw(key), err_msg=key)


def test_dtypes_differ_by_rounding_only(tiny: ModelDir, tmp_path: Path) -> None:
    synth("tiny", tmp_path / "fp32", dtype="fp32")
    synth("tiny", tmp_path / "fp16", dtype="fp16")
    with (
        tiny.open_weights() as bf16,
        load_model(tmp_path / "fp16").open_weights() as fp16,
        load_model(tmp_path / "fp32").open_weights() as fp32,
    ):
        for key in ("dit.patch_embedding.weight", "dit.blocks.5.ffn.2.weight", "dit.head.modulation", "vae.conv1.bias"):
            exact = torch.from_numpy(fp32.numpy(key))
            assert exact.to(torch.bfloat16).float().equal(torch.from_numpy(bf16.numpy(key)))
            assert exact.half().float().equal(torch.from_numpy(fp16.numpy(key)))


def test_a_forward_pass_is_finite_and_listens_to_every_input(tiny: ModelDir) -> None:
    dit = tiny.spec.dit
    with tiny.open_weights() as weights:
        state = {to_diffusers_key(key): torch.from_numpy(weights.numpy(f"dit.{key}")) for key in dit_parameters(dit)}
    model = WanTransformer3DModel(
        num_attention_heads=dit.heads,
        attention_head_dim=dit.head_dim,
        num_layers=dit.layers,
        ffn_dim=dit.ffn_dim,
        text_dim=dit.text_dim,
        freq_dim=dit.freq_dim,
    )
    model.load_state_dict(state)
    generator = torch.Generator().manual_seed(0)
    latent = torch.randn(1, 16, 2, 8, 8, generator=generator)
    text = torch.randn(1, dit.text_len, dit.text_dim, generator=generator)

    @torch.no_grad()
    def forward(latent: torch.Tensor, time: float, text: torch.Tensor) -> torch.Tensor:
        return model(latent, torch.tensor([time]), text, return_dict=False)[0]

    out = forward(latent, 700.0, text)
    assert out.isfinite().all() and 0.3 < out.std() < 3.0
    for other in (forward(latent.flip(2), 700.0, text), forward(latent, 200.0, text), forward(latent, 700.0, -text)):
        assert (other - out).norm() > 0.05 * out.norm()


PLANS: dict[str, Callable[..., Plan]] = {"vae": wan_vae_plan, "taehv": taehv_plan}


@pytest.mark.parametrize("coder", PLANS)
@pytest.mark.parametrize("seed", range(3))
def test_autoencoders_make_latents_and_pictures(
    tmp_path: Path, rng: np.random.Generator, coder: str, seed: int
) -> None:
    """Latents of order 1, frames neither constant nor saturated, and each depends on what it is made of."""
    synth("tiny", tmp_path, seed)
    model, size = load_model(tmp_path), CoderSize(128, 128)
    plan = PLANS[coder](getattr(model.spec, coder), size)
    with model.open_weights() as weights:
        session = Engine.create(plan, packed_weights(plan, weights), device="cpu", threads=2).session()

    def run(phase: str, source: str, values: np.ndarray, result: str) -> np.ndarray:
        session.reset()
        session.write(source, values)
        session.run(phase)
        return session.read(result)

    frames = [random_blocks(rng, size), random_blocks(rng, size)]
    latents = [run("encode_first", "frames_first", clip, "latents_first") for clip in frames]
    assert all(0.1 < values.std() < 4 for values in latents)
    assert np.abs(latents[0] - latents[1]).mean() > 0.05
    noise = [rng.standard_normal(latents[0].shape, dtype=np.float32) for _ in range(2)]
    for first, second in (latents, noise):
        videos = [run("decode_first", "latents_first", values, "video_first") for values in (first, second)]
        for video in videos:
            assert video.std(axis=(0, 1, 2)).min() > 5
            assert np.mean((video == 0) | (video == 255)) < 0.6
        assert np.abs(videos[0].astype(float) - videos[1]).mean() > 3


def random_blocks(rng: np.random.Generator, size: CoderSize) -> np.ndarray:
    """5 frames of even blocks, as pictures have them."""
    blocks = rng.integers(0, 256, (5, size.height // 16, size.width // 16, 3), dtype=np.uint8)
    return blocks.repeat(16, 1).repeat(16, 2)


def test_the_tiny_model_has_a_placeholder_for_text(tiny: ModelDir) -> None:
    assert load_text_spec(tiny.path) == TextSpec("hash")


def test_memory_does_not_grow_with_the_model(tmp_path: Path) -> None:
    tracemalloc.start()  # numpy reports its arrays to it
    try:
        report = synth("tiny", tmp_path, dtype="fp32")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert report.total.bytes > 28_000_000 and peak < 8_000_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset_name": "huge"}, "preset: expected one of wan2.1-t2v-1.3b, wan2.1-t2v-14b, tiny, got 'huge'"),
        ({"dtype": "int8"}, "dtype: expected one of bf16, fp16, fp32, got 'int8'"),
        ({"seed": -1}, "seed: expected an integer from 0 to .*, got -1"),
        ({"seed": 1.5}, "seed: expected an integer from 0 to .*, got 1.5"),
        ({"dst": None}, "dst: expected a directory to write the model to, got none"),
    ],
)
def test_bad_arguments(tmp_path: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(PenstockError, match=message):
        synth(**{"preset_name": "tiny", "dst": tmp_path / "out", **arguments})  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_the_target_is_new_or_a_model_directory(tiny: ModelDir, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("precious")
    with pytest.raises(PenstockError, match=r"not empty and not a penstock model directory"):
        synth("tiny", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "notes.txt").unlink()
    synth("tiny", tmp_path, seed=9)
    calls: list[tuple[int, int]] = []
    report = synth("tiny", tmp_path, progress=lambda done, total: calls.append((done, total)))
    assert digest(tmp_path) == digest(tiny.path)
    assert calls == sorted(calls) and calls[-1] == (report.total.bytes, report.total.bytes)
    assert all(total == report.total.bytes for _, total in calls)
