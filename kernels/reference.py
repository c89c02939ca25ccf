"""Reference of every op of the plans: pure torch, straight from the formulas (spec 2.2, 2.5, 4.3 to 4.5).

Each function is one op under the op's name. Its arguments are the op's input roles and attributes, tensors in the
plan's layouts; it returns the outputs by role and never changes an argument. A function computes in the dtype of its
arguments: float64 makes it the reference, float32 the plain computation that an op's error is measured against; rotary
angles are float64 in both. Tests and benchmarks import this module, the product never.

Letters of the shapes: S slots, F frames, C latent channels, h x w tokens of a frame, N = F*h*w tokens of a slot,
M = S*N, d = H*D the width (H heads of D), T tokens of a cache frame, K cache frames.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

Outputs = dict[str, Tensor]

INPUT_NOISE, RENOISE = 0, 1  # purposes of a random number
THETA = 10000.0


# ---- layers -------------------------------------------------------------------------------------------------------


def gemm(x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = "none") -> Outputs:
    """y = activation(x W^T + b): x [M, K], weight [N, K], bias [N] or None -> y [M, N]; activation none | gelu_tanh."""
    y = x @ weight.T if bias is None else x @ weight.T + bias
    return {"y": gelu_tanh(y) if activation == "gelu_tanh" else y}


def gelu_tanh(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def patchify(x: Tensor) -> Outputs:
    """x [S, F, C, 2h, 2w] -> tokens [S*F*h*w, 4C], columns in the order (channel, row, column) (spec 4.3.1)."""
    slots, frames, channels, height, width = x.shape
    patches = x.reshape(slots, frames, channels, height // 2, 2, width // 2, 2)
    return {"tokens": patches.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, 4 * channels)}


def unpatchify(tokens: Tensor, slots: int, frames: int, height: int, width: int) -> Outputs:
    """tokens [S*F*h*w, 4C], columns in the order (row, column, channel) -> x [S, F, C, 2h, 2w] (spec 4.3.6).

    height and width count tokens.
    """
    patches = tokens.reshape(slots, frames, height, width, 2, 2, -1)
    return {"x": patches.permute(0, 1, 6, 2, 4, 3, 5).reshape(slots, frames, -1, 2 * height, 2 * width)}


def time_embed(
    timestep: Tensor, fc1_weight: Tensor, fc1_bias: Tensor, fc2_weight: Tensor, fc2_bias: Tensor,
    proj_weight: Tensor, proj_bias: Tensor, block_tables: Tensor, head_table: Tensor,
) -> Outputs:  # fmt: skip
    """timestep [S] -> block_modulation [B, 6, S, d] and head_modulation [2, S, d], tables added (spec 4.3.2, 4.3.5).

    fc1 [d, Q], fc2 [d, d], proj [6d, d]; block_tables [B, 6, d], head_table [2, d].
    """
    half = fc1_weight.shape[1] // 2
    frequencies = THETA ** (-torch.arange(half, dtype=torch.float64, device=timestep.device) / half)
    angles = timestep.double()[:, None] * frequencies
    sinusoid = torch.cat([angles.cos(), angles.sin()], dim=1).to(fc1_weight)
    e = silu(sinusoid @ fc1_weight.T + fc1_bias) @ fc2_weight.T + fc2_bias
    e0 = (silu(e) @ proj_weight.T + proj_bias).reshape(len(timestep), 6, -1)
    return {
        "block_modulation": block_tables[:, :, None] + e0.transpose(0, 1),
        "head_modulation": head_table[:, None] + e,
    }


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def layernorm_modulate(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Outputs:
    """y = LN(x) (1 + scale) + shift: x [M, d], shift and scale [S, d], one row for M/S tokens."""
    return {"y": layernorm(x, eps) * (1 + per_token(scale, x)) + per_token(shift, x)}


def gate_residual_layernorm(
    x: Tensor, update: Tensor, scale: Tensor, shift: Tensor, eps: float, norm: str, gate: Tensor | None = None
) -> Outputs:
    """x = x + gate update, and y = its LayerNorm: x, update [M, d], gate [S, d] or None for 1, scale and shift [R, d].

    norm modulate: y = LN(x) (1 + scale) + shift; affine: y = LN(x) scale + shift.
    """
    x = x + (update if gate is None else per_token(gate, x) * update)
    factor = per_token(scale, x) + (1 if norm == "modulate" else 0)
    return {"x": x, "y": layernorm(x, eps) * factor + per_token(shift, x)}


def layernorm(x: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(dim=-1, keepdim=True) + eps)


def per_token(rows: Tensor, x: Tensor) -> Tensor:
    """Rows [R, d] repeated for the tokens of x [M, d], M/R tokens each."""
    return rows.repeat_interleave(len(x) // len(rows), dim=0)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Outputs:
    """y = x / sqrt(mean(x^2) + eps) * weight: x [M, d], weight [d]."""
    return {"y": x / torch.sqrt(x.square().mean(dim=-1, keepdim=True) + eps) * weight}


# ---- attention ----------------------------------------------------------------------------------------------------


def qk_norm_rope_cache(
    qkv: Tensor, norm_q: Tensor, norm_k: Tensor, frame_position: Tensor, ring_write: Tensor, k_cache: Tensor,
    v_cache: Tensor, frames: int, height: int, width: int, frame_tokens: int, eps: float,
) -> Outputs:  # fmt: skip
    """RMS norm of q and k over the full width, rotary positions, the chunk's k and v into the cache (spec 4.3 b, c).

    qkv [M, 3d]; norm_q, norm_k [d]; frame_position, ring_write int [S]: position and cache frame of a slot's first
    frame; k_cache, v_cache [S, K*T, H, D]; frames, height, width: the chunk's tokens; frame_tokens T. Returns q [M, d]
    and both caches. The angles come from the formula, not from the op's table.
    """
    slots, _, heads, head_dim = k_cache.shape
    tokens = frames * height * width
    q, k, v = qkv.reshape(slots, tokens, 3, heads * head_dim).unbind(dim=2)
    k_cache, v_cache = k_cache.clone(), v_cache.clone()
    queries = []
    for slot in range(slots):
        rotation = rope_rotation(int(frame_position[slot]), frames, height, width, head_dim)
        queries.append(rotate(rms_norm(q[slot], norm_q, eps)["y"], heads, rotation))
        start = int(ring_write[slot]) * frame_tokens
        k_cache[slot, start : start + tokens] = rotate(rms_norm(k[slot], norm_k, eps)["y"], heads, rotation)
        v_cache[slot, start : start + tokens] = v[slot].reshape(tokens, heads, head_dim)
    return {"q": torch.stack(queries).reshape(slots * tokens, -1), "k_cache": k_cache, "v_cache": v_cache}


def rope_rotation(position: int, frames: int, height: int, width: int, head_dim: int) -> Tensor:
    """complex128 [F*h*w, D/2]: e^(i angle) of every token and pair; pairs temporal, row, column (spec 4.4)."""
    spatial = head_dim // 6
    shape = (frames, height, width)
    first = (position, 0, 0)
    axes = []
    for axis, pairs in enumerate((head_dim // 2 - 2 * spatial, spatial, spatial)):
        frequencies = THETA ** (-2 * torch.arange(pairs, dtype=torch.float64) / (2 * pairs))
        places = (torch.arange(shape[axis]) + first[axis]).reshape([-1 if axis == i else 1 for i in range(3)])
        axes.append(places.expand(shape)[..., None] * frequencies)
    angles = torch.cat(axes, dim=-1).reshape(-1, head_dim // 2)
    return torch.polar(torch.ones_like(angles), angles)


def rotate(x: Tensor, heads: int, rotation: Tensor) -> Tensor:
    """x [N, d] -> [N, H, D]; adjacent components are the real and imaginary part of a pair."""
    real, imaginary = x.reshape(len(x), heads, -1, 2).unbind(-1)
    cos, sin = (part[:, None].to(x.dtype) for part in (rotation.real, rotation.imag))  # bfloat16 has no complex form
    turned = torch.stack([real * cos - imaginary * sin, real * sin + imaginary * cos], dim=-1)
    return turned.reshape(len(x), heads, -1)


def rolling_attention(q: Tensor, k_cache: Tensor, v_cache: Tensor, ring_length: Tensor, frame_tokens: int) -> Outputs:
    """q [M, d] over the first ring_length[s] frames of its slot's cache [S, K*T, H, D] -> out [M, d] (spec 2.5.2)."""
    slots, _, heads, head_dim = k_cache.shape
    outs = []
    for slot, rows in enumerate(q.reshape(slots, -1, heads, head_dim)):
        valid = int(ring_length[slot]) * frame_tokens
        outs.append(softmax_attention(rows, k_cache[slot, :valid], v_cache[slot, :valid]))
    return {"out": torch.cat(outs)}


def rolling_attention_fp8(
    q: Tensor, k_codes: Tensor, v_codes: Tensor, k_mean: Tensor, k_scale: Tensor, v_scale: Tensor, ring_length: Tensor,
    frame_tokens: int,
) -> Outputs:  # fmt: skip
    """rolling_attention over the decoded cache: codes u8 [S, K, H, 128*B, D] and [S, K, H, D, 128*B], means and scales.

    In float64 queries and weights are as they are, which is what the op comes close to; in less they are rounded to
    e4m3 as the op rounds them, the weights relative to the largest of all.
    """
    slots, _, heads, head_dim = k_mean.shape
    outs = []
    for slot, rows in enumerate(q.reshape(slots, -1, heads, head_dim)):
        valid = slice(int(ring_length[slot]))
        k = decode(k_codes[slot, valid], k_scale[slot, valid, :, :, None, None], q.dtype)
        v = decode(v_codes[slot, valid].transpose(2, 3), v_scale[slot, valid, :, :, None, None], q.dtype)
        keys, values = (part[:, :, :frame_tokens].transpose(0, 1) for part in (k, v))  # [H, frames, T, D]
        outs.append(_attend_in_frames(rows.transpose(0, 1), keys, values, k_mean[slot, valid].transpose(0, 1)))
    return {"out": torch.cat(outs)}


def _attend_in_frames(q: Tensor, keys: Tensor, values: Tensor, mean: Tensor) -> Tensor:
    """q [H, N, D]; keys without their means, values [H, frames, T, D]; mean [H, frames, D] -> [N, d]."""
    rounds = q.dtype != torch.float64
    bias = (q @ mean.to(q.dtype).transpose(1, 2))[..., None]
    codes = round_to_e4m3(q, scale_to_e4m3(q.abs().amax(2, keepdim=True))) if rounds else q
    scores = ((codes[:, None] @ keys.transpose(2, 3)).transpose(1, 2) + bias).flatten(2) / q.shape[-1] ** 0.5
    weights = torch.exp(scores - scores.amax(2, keepdim=True))
    total = weights.sum(2, keepdim=True)
    if rounds:
        weights = round_to_e4m3(weights, torch.tensor(1 / 256))
    return ((weights @ values.flatten(1, 2)) / total).transpose(0, 1).flatten(1)


def decode(codes: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """codes u8 [..., 128*B, D] times scale [..., B, 1, 1], as [..., 128*B, D]."""
    values = codes.contiguous().view(torch.float8_e4m3fn).to(dtype).unflatten(-2, (-1, 128))
    return (values * scale.to(dtype)).flatten(-3, -2)


def scale_to_e4m3(largest: Tensor) -> Tensor:
    """The smallest power of two, from 2^-100 on, with which ``largest`` is at most 448 times as large."""
    return torch.exp2(torch.ceil(torch.log2(largest.double() / 448)).clamp(min=-100)).to(largest.dtype)


def round_to_e4m3(x: Tensor, scale: Tensor) -> Tensor:
    """x to the nearest multiple of ``scale`` by a float of e4m3."""
    return (x / scale).float().to(torch.float8_e4m3fn).to(x.dtype) * scale


def cross_attention(q: Tensor, k_text: Tensor, v_text: Tensor, prompt_length: Tensor) -> Outputs:
    """q [M, d] over all rows of k_text, v_text [T, H, D] -> out [M, d] (spec 4.3 d).

    prompt_length is not used: the model attends to the padding rows too. The op folds them, being identical, into one.
    """
    heads, head_dim = k_text.shape[1:]
    return {"out": softmax_attention(q.reshape(-1, heads, head_dim), k_text, v_text)}


def softmax_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q [N, H, D], k and v [L, H, D] -> [N, d], head by head so that scores of one head are all that is held."""
    outs = []
    for head in range(q.shape[1]):
        scores = q[:, head] @ k[:, head].T / math.sqrt(q.shape[2])
        outs.append(torch.softmax(scores, dim=-1) @ v[:, head])
    return torch.cat(outs, dim=1)


# ---- noise --------------------------------------------------------------------------------------------------------


def noise_mix(
    latents: Tensor, noise_scale: Tensor, seed: Tensor, row_chunk: Tensor,
    noise: Tensor | None = None, noise_given: Tensor | None = None,
) -> Outputs:  # fmt: skip
    """x = s noise + (1 - s) latents: latents and noise [F, C, h, w] -> x [1, F, C, h, w] (spec 2.7).

    noise_scale, seed, noise_given [1], row_chunk [S]. The noise is ``noise`` unless noise_given is 0, else the input
    draw of the chunk in slot 0.
    """
    if not is_given(noise, noise_given):
        noise = philox_normals(seed.item(), int(row_chunk[0]), 0, INPUT_NOISE, latents)
    return {"x": (noise_scale[0] * noise + (1 - noise_scale[0]) * latents)[None]}


def renoise(
    x: Tensor, flow: Tensor, sigma: Tensor, seed: Tensor, row_chunk: Tensor, advance: str, first_step: int,
    next_sigma: Tensor | None = None, noise: Tensor | None = None, noise_given: Tensor | None = None,
) -> Outputs:  # fmt: skip
    """x0 = x - sigma flow, and the rows of x re-noised for their next step: x, flow [R, F, C, h, w] (spec 2.2, 4.5).

    advance shift: row i + 1 becomes (1 - next_sigma[i]) x0[i] + next_sigma[i] noise[i], row 0 is left for a new chunk;
    stay: row i becomes it; none: x stays as it is. Row i is at step first_step + i, which also names its draw.
    """
    x0 = x - sigma.reshape(-1, 1, 1, 1, 1) * flow
    x = x.clone()
    renoised = {"shift": len(x) - 1, "stay": len(x), "none": 0}[advance]
    for i in range(renoised):
        if is_given(noise, noise_given):
            eps = noise[i]
        else:
            eps = philox_normals(seed.item(), int(row_chunk[i]), first_step + i, RENOISE, x0[i])
        x[i + 1 if advance == "shift" else i] = (1 - next_sigma[i]) * x0[i] + next_sigma[i] * eps
    return {"x": x, "x0": x0}


def is_given(noise: Tensor | None, noise_given: Tensor | None) -> bool:
    return noise is not None and (noise_given is None or bool(noise_given[0]))


def philox_normals(seed: int, chunk: int, slot: int, purpose: int, like: Tensor) -> Tensor:
    """Standard normals of the shape and dtype of ``like``. Element e is lane e % 4 of the block with the counter

    (e // 4, chunk low 32 bits, chunk high 32 bits, slot | purpose << 16), key = (seed low 32 bits, seed high 32 bits);
    lanes 0, 1 are the Box-Muller pair of words 0 and 1, lanes 2, 3 that of words 2 and 3; word w is (w + 1/2) / 2^32.
    """
    counter = np.zeros((-(-like.numel() // 4), 4), dtype=np.uint32)
    counter[:, 0] = np.arange(len(counter))
    counter[:, 1:] = [chunk & 0xFFFFFFFF, chunk >> 32 & 0xFFFFFFFF, slot | purpose << 16]
    words = torch.from_numpy(philox4x32_10(counter, (seed & 0xFFFFFFFF, seed >> 32)).astype(np.float64))
    uniform = ((words.reshape(-1, 2, 2) + 0.5) / 2**32).to(like)
    radius, angle = torch.sqrt(-2 * torch.log(uniform[..., 0])), 2 * math.pi * uniform[..., 1]
    lanes = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1)
    return lanes.reshape(-1)[: like.numel()].reshape(like.shape)


def philox4x32_10(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Philox4x32 with 10 rounds (Salmon et al. 2011): counter uint32 [B, 4], key two 32-bit words -> uint32 [B, 4]."""
    c0, c1, c2, c3 = (counter[:, i].astype(np.uint64) for i in range(4))
    low = np.uint64(0xFFFFFFFF)
    for turn in range(10):
        k0 = np.uint64((key[0] + turn * 0x9E3779B9) & 0xFFFFFFFF)
        k1 = np.uint64((key[1] + turn * 0xBB67AE85) & 0xFFFFFFFF)
        a, b = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (b >> 32) ^ c1 ^ k0, b & low, (a >> 32) ^ c3 ^ k1, a & low
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)
