"""Synthetic weights: the published counts, the promised distributions, and a real forward pass over them."""

from __future__ import annotations

import hashlib
import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import WanTransformer3DModel

from penstock.runtime.errors import PenstockError
from penstock.runtime.model import ModelDir, dit_parameters, load_model, preset
from penstock.runtime.synth import synth
from penstock.runtime.wan_keys import to_diffusers_key


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelDir:
    path = tmp_path_factory.mktemp("tiny")
    report = synth("tiny", path)
    assert report.path == path and report.bytes == 2 * report.parameters
    return load_model(path)


def digest(path: Path) -> str:
    return hashlib.sha256((path / "dit.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "tensors", "parameters"),
    [("wan2.1-t2v-1.3b", 825, 1_418_996_800), ("wan2.1-t2v-14b", 1095, 14_288_491_584), ("tiny", 177, 7_021_376)],
)
def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path, name: str, tensors: int, parameters: int) -> None:
    target = tmp_path / "out"
    for dtype, size in (("bf16", 2), ("fp16", 2), ("fp32", 4)):
        report = synth(name, target, dry_run=True, dtype=dtype)
        assert (report.tensors, report.parameters) == (tensors, parameters)
        assert report.bytes == size * parameters and report.path is None
    assert not target.exists()
    assert synth(name, None, dry_run=True).tensors == tensors


def test_the_distributions(tiny: ModelDir) -> None:
    dit = tiny.spec.dit
    assert tiny.spec == preset("tiny")
    pooled: dict[tuple[float, float], list[np.ndarray]] = {}
    with tiny.open_weights() as weights:
        for key, shape in dit_parameters(dit).items():
            assert weights.infos[key].dtype == "BF16"
            if "modulation" in key:
                expected = (0.0, 0.1)
            elif "norm" in key and key.endswith("weight"):
                expected = (1.0, 0.05)
            elif key.endswith("bias"):
                expected = (0.0, 0.02)
            else:
                fan_in = 64 if key == "patch_embedding.weight" else shape[1]
                expected = (0.0, fan_in**-0.5)
            values = weights.numpy(key).ravel()
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
        starts = {weights.raw(key)[:64].tobytes() for key in weights.infos if weights.infos[key].shape == (256,)}
        assert len(starts) == sum(info.shape == (256,) for info in weights.infos.values())


def test_values_depend_on_seed_and_name_only(tiny: ModelDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synth("tiny", tmp_path / "same")
    synth("tiny", tmp_path / "other", seed=1)
    assert digest(tmp_path / "same") == digest(tiny.path) != digest(tmp_path / "other")
    shapes = dict(reversed(dit_parameters(tiny.spec.dit).items()))
    monkeypatch.setattr("penstock.runtime.synth.dit_parameters", lambda spec: shapes)
    monkeypatch.setattr("penstock.runtime.synth._SLICE", 1000)
    synth("tiny", tmp_path / "reversed")
    with tiny.open_weights() as ours, load_model(tmp_path / "reversed").open_weights() as theirs:
        assert list(theirs.infos) == list(reversed(ours.infos))
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
        for key in ("patch_embedding.weight", "blocks.5.ffn.2.weight", "blocks.0.norm3.weight", "head.modulation"):
            exact = torch.from_numpy(fp32.numpy(key))
            assert exact.to(torch.bfloat16).float().equal(torch.from_numpy(bf16.numpy(key)))
            assert exact.half().float().equal(torch.from_numpy(fp16.numpy(key)))


def test_a_forward_pass_is_finite_and_listens_to_every_input(tiny: ModelDir) -> None:
    dit = tiny.spec.dit
    with tiny.open_weights() as weights:
        state = {to_diffusers_key(key) or "": torch.from_numpy(weights.numpy(key)) for key in weights.infos}
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


def test_memory_does_not_grow_with_the_model(tmp_path: Path) -> None:
    tracemalloc.start()  # numpy reports its arrays to it
    try:
        report = synth("tiny", tmp_path, dtype="fp32")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert report.bytes > 28_000_000 and peak < 8_000_000


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
    assert calls == sorted(calls) and calls[-1] == (report.bytes, report.bytes)
