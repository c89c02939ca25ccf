"""The measures against torch and against cases whose result is known."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from penstock.evaluation.measures import followed, psnr, ssim, warp_error, warped


def test_psnr() -> None:
    black = np.zeros((4, 6, 3), np.uint8)
    grey = np.full((4, 6, 3), 51, np.uint8)  # 0.2
    assert abs(psnr(black, grey) - 20 * np.log10(5)) < 1e-4
    assert abs(psnr(black, np.full((4, 6, 3), 0.2, np.float32)) - 20 * np.log10(5)) < 1e-4
    assert psnr(grey, grey) == 100


def test_ssim_against_torch(rng: np.random.Generator) -> None:
    """The same definition by 2-D convolutions, in float64."""
    x = rng.integers(0, 256, (17, 23, 3), dtype=np.uint8)
    y = np.clip(x + rng.normal(0, 40, x.shape), 0, 255).astype(np.uint8)
    assert abs(ssim(x, x) - 1) < 1e-12
    assert abs(ssim(x, y) - torch_ssim(x, y)) < 1e-6


def torch_ssim(x: np.ndarray, y: np.ndarray) -> float:
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
    a, b = (((torch.from_numpy(image).double() / 255) @ weights)[None, None] for image in (x, y))
    line = torch.exp(-((torch.arange(11, dtype=torch.float64) - 5) ** 2) / (2 * 1.5**2))
    kernel = (line[:, None] * line[None] / line.sum() ** 2)[None, None]

    def mean(values: torch.Tensor) -> torch.Tensor:
        return F.conv2d(values, kernel)

    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma * ma, mean(b * b) - mb * mb, mean(a * b) - ma * mb
    c1, c2 = 0.0001, 0.0009
    return float(((2 * ma * mb + c1) * (2 * cov + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2))).mean())


def test_warped_against_torch(rng: np.random.Generator) -> None:
    picture = rng.random((9, 13, 3), np.float32)
    motion = rng.normal(0, 2, (9, 13, 2)).astype(np.float32)
    rows, columns = np.arange(9)[:, None] + motion[..., 0], np.arange(13)[None] + motion[..., 1]
    grid = torch.from_numpy(np.stack([2 * columns / 12 - 1, 2 * rows / 8 - 1], -1))[None].float()
    source = torch.from_numpy(picture).permute(2, 0, 1)[None]
    expected = F.grid_sample(source, grid, padding_mode="border", align_corners=True)[0].permute(1, 2, 0)
    np.testing.assert_allclose(warped(picture, motion), expected, atol=1e-5)


def test_a_shifted_picture_has_no_warp_error(rng: np.random.Generator) -> None:
    frame = rng.random((8, 8, 3), np.float32)
    motion = np.broadcast_to(np.float32([2, -1]), (8, 8, 2))
    visible = followed(motion, motion)
    expected = np.zeros((8, 8), bool)
    expected[:6, 1:] = True
    np.testing.assert_array_equal(visible, expected)
    following = np.roll(frame, (2, -1), (0, 1))
    assert warp_error(frame, following, motion, visible) < 1e-7
    assert warp_error(frame, frame, motion, visible) > 0.1


def test_what_gets_covered_is_left_out() -> None:
    """Two pixels move to the right, onto one that then rests."""
    motion = np.zeros((1, 4, 2), np.float32)
    motion[0, :2, 1] = 1
    following = np.zeros((1, 4, 2), np.float32)
    following[0, 1, 1] = 1
    assert followed(motion, following).tolist() == [[True, False, True, True]]
