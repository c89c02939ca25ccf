"""The kernels that draw noise: their random words, and noise_mix and renoise against float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from penstock.kernels import philox_noise
from penstock.kernels.noise_mix import noise_mix
from penstock.kernels.renoise import renoise
from tests.helpers import Arrays, i32, normal
from tests.kernels.check import check_kernel, poison, run_kernel
from tests.ops.test_philox import KNOWN_ANSWERS, words
from tests.ops.test_renoise import CASES, draw_inputs


@triton.jit
def words_kernel(counter, key, out):
    """What tl.philox, which the kernels use, makes of one counter and key."""
    seed = tl.load(key).to(tl.uint64) | (tl.load(key + 1).to(tl.uint64) << 32)
    zero = tl.zeros([1], tl.int32)
    index = tl.arange(0, 1)
    values = tl.philox(seed, zero + tl.load(counter), zero + tl.load(counter + 1), zero + tl.load(counter + 2),
                       zero + tl.load(counter + 3))  # fmt: skip
    for i in tl.static_range(4):
        tl.store(out + i + index, values[i].to(tl.int32, bitcast=True))


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN_ANSWERS)
def test_known_answers(counter: str, key: str, result: str) -> None:
    inputs = {
        "counter": torch.from_numpy(words(counter).view(np.int32)),
        "key": torch.from_numpy(words(key).astype(np.int64)),
    }
    out = run_kernel(words_kernel[(1,)], inputs, {"out": poison((4,), torch.int32)})["out"]
    assert np.array_equal(out.numpy().view(np.uint32), words(result))


@triton.jit
def turns_kernel(word, uniform, cosine, sine, BLOCK: tl.constexpr):
    index = tl.arange(0, BLOCK)
    turns = philox_noise.uniform(tl.load(word + index).to(tl.uint32))
    c, s = philox_noise.cos_sin_of_turns(turns)
    tl.store(uniform + index, turns)
    tl.store(cosine + index, c)
    tl.store(sine + index, s)


def test_uniforms_and_their_angles(rng: np.random.Generator) -> None:
    """The uniform numbers of the CPU bit for bit; cos and sin of a turn to f32, around the quarters too."""
    near = [base + d for base in range(0, 2**32 + 1, 2**29) for d in (-2, -1, 0, 1, 2) if 0 <= base + d < 2**32]
    word = np.concatenate([near, rng.integers(0, 2**32, 1024 - len(near))])
    outputs = {name: poison((1024,), torch.float32) for name in ("uniform", "cosine", "sine")}
    actual = run_kernel(turns_kernel[(1,)], {"word": torch.from_numpy(word)}, outputs, BLOCK=1024)
    uniform, cosine, sine = actual.values()
    expected = word.astype(np.float32) * np.float32(2**-32) + np.float32(2**-33)
    assert np.array_equal(uniform.numpy(), expected)
    angle = 2 * np.pi * expected.astype(np.float64)
    assert np.abs(cosine.numpy() - np.cos(angle)).max() < 1.2e-7
    assert np.abs(sine.numpy() - np.sin(angle)).max() < 1.2e-7


@pytest.mark.parametrize("shape", [(1, 1, 1, 37), (1, 16, 7, 11), (2, 5, 3, 3)])
@pytest.mark.parametrize("given", [None, 0, 1])
def test_noise_mix(rng: np.random.Generator, shape: tuple[int, ...], given: int | None) -> None:
    inputs: Arrays = {
        "latents": normal(rng, *shape),
        "noise_scale": rng.uniform(0.1, 1, 1).astype(np.float32),
        "seed": rng.integers(0, 2**64, 1, dtype=np.uint64),
        "row_chunk": rng.integers(0, 2**40, 3, dtype=np.int64),
    }
    if given is not None:
        inputs |= {"noise": normal(rng, *shape), "noise_given": i32(given)}
    check_kernel(noise_mix, torch.float32, inputs, {"x": (1, *shape)})


@pytest.mark.parametrize("shape", [(1, 1, 1, 37), (2, 5, 8, 7)])
@pytest.mark.parametrize(("advance", "slots"), CASES)
@pytest.mark.parametrize("given", [0, 1])
def test_renoise(rng: np.random.Generator, shape: tuple[int, ...], advance: str, slots: int, given: int) -> None:
    renoised = {"shift": slots - 1, "stay": slots, "none": 0}[advance]
    inputs = draw_inputs(rng, shape, slots, renoised, given)
    x = normal(rng, slots, *shape)
    attributes = {"advance": advance, "first_step": int(rng.integers(0, 4))}
    actual = check_kernel(renoise, torch.float32, inputs, {"x0": x.shape}, {"x": x}, **attributes)
    untouched = {"shift": slice(0, 1), "stay": slice(0, 0), "none": slice(None)}[advance]
    assert np.array_equal(actual["x"][untouched], x[untouched])
