"""The measures: of a frame against the known one, and of frames against each other along the true motion.

Pictures are uint8 or float [H, W, 3]; floats go from 0 to 1. All is computed in float64 or float32 on that range.
"""

from __future__ import annotations

import numpy as np

_LUMA = np.array([0.299, 0.587, 0.114])
_WINDOW, _SIGMA = 11, 1.5  # of SSIM (Wang et al. 2004)
_C1, _C2 = 0.01**2, 0.03**2
_LOWEST_ERROR = 1e-10  # mean squared error that counts as none: 100 dB


def unit(pictures: np.ndarray) -> np.ndarray:
    """float32 from 0 to 1."""
    return pictures.astype(np.float32) / 255 if pictures.dtype == np.uint8 else pictures.astype(np.float32)


def squared_error(picture: np.ndarray, expected: np.ndarray) -> float:
    """Mean squared difference."""
    return float(np.mean(np.square(unit(picture) - unit(expected), dtype=np.float64)))


def psnr(picture: np.ndarray, expected: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, at most 100."""
    return -10 * np.log10(max(squared_error(picture, expected), _LOWEST_ERROR))


def ssim(picture: np.ndarray, expected: np.ndarray) -> float:
    """Mean structural similarity of the luma, windows of 11 x 11 with Gaussian weights; sides of at least 11."""
    x, y = (unit(image).astype(np.float64) @ _LUMA for image in (picture, expected))
    mean_x, mean_y = _windowed(x), _windowed(y)
    var_x, var_y = _windowed(x * x) - mean_x**2, _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    light = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    structure = (2 * covariance + _C2) / (var_x + var_y + _C2)
    return float(np.mean(light * structure))


def warp_error(frame: np.ndarray, following: np.ndarray, motion: np.ndarray, visible: np.ndarray) -> float:
    """Mean absolute difference between a frame and the following one, taken back along the motion.

    motion [H, W, 2]: pixels (down, across) from the frame to the following one; visible [H, W]: where to look.
    """
    if not visible.any():
        return 0.0
    return float(np.mean(np.abs(unit(frame) - warped(unit(following), motion))[visible]))


def warped(picture: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """The picture sampled at every pixel plus its motion, bilinearly, the border repeated."""
    height, width = motion.shape[:2]
    rows = np.clip(np.arange(height)[:, None] + motion[..., 0], 0, height - 1)
    columns = np.clip(np.arange(width)[None] + motion[..., 1], 0, width - 1)
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    below, beside = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    upper = picture[top, left] * (1 - right) + picture[top, beside] * right
    lower = picture[below, left] * (1 - right) + picture[below, beside] * right
    return upper * (1 - down) + lower * down


def followed(motion: np.ndarray, following: np.ndarray) -> np.ndarray:
    """Pixels [H, W] that stay in the picture and land on what moves as they do, so that nothing covers them."""
    height, width = motion.shape[:2]
    rows, columns = np.arange(height)[:, None] + motion[..., 0], np.arange(width)[None] + motion[..., 1]
    inside = (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1)
    row, column = (np.clip(np.round(place).astype(int), 0, side - 1)
                   for place, side in ((rows, height), (columns, width)))  # fmt: skip
    return inside & (np.abs(following[row, column] - motion).max(-1) < 1e-3)


def _windowed(values: np.ndarray) -> np.ndarray:
    """Gaussian means over all whole windows."""
    weights = np.exp(-0.5 * ((np.arange(_WINDOW) - _WINDOW // 2) / _SIGMA) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        values = np.lib.stride_tricks.sliding_window_view(values, _WINDOW, axis) @ weights
    return values
