"""The kernels for a host's pictures, bit for bit what picture.cpp makes of the same bytes on the host.

test_pixel_formats.py compares picture.cpp with float64 and with libswscale.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from penstock.kernels import packed_picture
from penstock.kernels.nv12_picture import nv12_from_rgb, rgb_from_nv12
from penstock.kernels.packed_picture import packed_from_rgb, rgb_from_packed
from tests.embed.echo import BGRA, COLORS, NV12, RGB, RGBA, Echo
from tests.embed.echo_engine import write_engine
from tests.kernels.check import DEVICE, poison, run_kernel

HEIGHT, WIDTH = 6, 1038  # more than two blocks of columns, and a ragged end
GAP = 7
PACKED = {RGB: (3, 0), RGBA: (4, 0), BGRA: (4, 2)}  # bytes of a pixel, place of red


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Echo]:
    """picture.cpp, by a session on the CPU that gives back its frames."""
    folder = tmp_path_factory.mktemp("echo")
    write_engine(folder, HEIGHT, WIDTH)
    session = Echo(folder, HEIGHT, WIDTH)
    yield session
    session.close()


def rows(values: np.ndarray) -> torch.Tensor:
    """The values on the device, with a gap of poison behind each row."""
    height, *row = values.shape
    memory = torch.full((height, int(np.prod(row)) + GAP), 0xA5, dtype=torch.uint8, device=DEVICE)
    inner = memory[:, :-GAP]
    inner.copy_(torch.from_numpy(values.reshape(height, -1)))
    return inner.unflatten(1, row)


def check_gaps(plane: torch.Tensor) -> None:
    flat = torch.as_strided(plane, (len(plane), plane.stride(0)), (plane.stride(0), 1))
    assert (flat[:, -GAP:] == 0xA5).all(), "the gap behind a row is written"


def poisoned(*shape: int) -> torch.Tensor:
    return rows(np.full(shape, 0xA5, np.uint8))


def on_host(host: Echo, planes: list[np.ndarray], frame_format: int, out: list[np.ndarray], out_format: int,
            color: int = 0) -> list[np.ndarray]:  # fmt: skip
    flat = [plane.reshape(len(plane), -1) for plane in planes]
    host.through(flat, frame_format, [plane.reshape(len(plane), -1) for plane in out], out_format, color)
    return out


def fixed(value: float) -> int:
    return round(65536 * value)


def coefficients(color: int) -> tuple[list[int], list[int]]:
    """Of both kernels, by the formulas in picture.h."""
    kr, kb, limited = COLORS[color]
    kg = 1 - kr - kb
    luma, chroma = (219 / 255, 224 / 255) if limited else (1.0, 1.0)
    from_cb, from_cr, offset, half = 2 - 2 * kb, 2 - 2 * kr, 16 if limited else 0, fixed(chroma / 2)
    to_rgb = [offset, fixed(1 / luma), fixed(from_cr / chroma), fixed(from_cb * kb / kg / chroma),
              fixed(from_cr * kr / kg / chroma), fixed(from_cb / chroma)]  # fmt: skip
    y_r, y_b = fixed(kr * luma), fixed(kb * luma)
    cb_r, cr_b = fixed(chroma * kr / from_cb), fixed(chroma * kb / from_cr)
    from_rgb = [offset, y_r, fixed(luma) - y_r - y_b, y_b, cb_r, half - cb_r, half, half - cr_b, cr_b]
    return to_rgb, from_rgb


@pytest.mark.parametrize("picture_format", PACKED)
def test_packed(host: Echo, rng: np.random.Generator, picture_format: int) -> None:
    size, red = PACKED[picture_format]
    given = rng.integers(0, 256, (HEIGHT, WIDTH, size), np.uint8)
    outputs = {"rgb": poison((HEIGHT, WIDTH, 3), torch.uint8)}
    rgb = run_kernel(lambda rgb: rgb_from_packed(rows(given), rgb, red), {}, outputs)["rgb"].numpy()
    (expected,) = on_host(host, [given], picture_format, [np.empty_like(rgb)], RGB)
    np.testing.assert_array_equal(rgb, expected)

    picture = poisoned(HEIGHT, WIDTH, size)
    run_kernel(lambda rgb: packed_from_rgb(rgb, picture, red), {"rgb": torch.from_numpy(rgb)}, {})
    (expected,) = on_host(host, [rgb], RGB, [np.empty_like(given)], picture_format)
    np.testing.assert_array_equal(picture.cpu(), expected)
    check_gaps(picture)


def test_bottom_up(rng: np.random.Generator) -> None:
    """A negative stride, which tensors of torch cannot have."""
    given = rng.integers(0, 256, (HEIGHT, 5, 4), np.uint8)
    picture, rgb = rows(given), torch.zeros((HEIGHT, 5, 3), dtype=torch.uint8, device=DEVICE)
    sizes = (-picture.stride(0), 5, 4, 0, packed_picture.BLOCK)
    packed_picture.rgb_from_packed_kernel[(1, HEIGHT)](picture[-1], rgb, *sizes)
    np.testing.assert_array_equal(rgb.cpu(), given[::-1, :, :3])
    again = poisoned(HEIGHT, 5, 4)
    packed_picture.packed_from_rgb_kernel[(1, HEIGHT)](rgb, again[-1], *sizes)
    np.testing.assert_array_equal(again.cpu()[..., :3], given[..., :3])
    check_gaps(again)


@pytest.mark.parametrize("color", COLORS)
def test_nv12(host: Echo, rng: np.random.Generator, color: int) -> None:
    to_rgb, from_rgb = coefficients(color)
    luma = rng.integers(0, 256, (HEIGHT, WIDTH), np.uint8)
    pairs = rng.integers(0, 256, (HEIGHT // 2, WIDTH), np.uint8)
    outputs = {"rgb": poison((HEIGHT, WIDTH, 3), torch.uint8)}
    rgb = run_kernel(lambda rgb: rgb_from_nv12(rows(luma), rows(pairs), rgb, to_rgb), {}, outputs)["rgb"].numpy()
    (expected,) = on_host(host, [luma, pairs], NV12, [np.empty_like(rgb)], RGB, color)
    np.testing.assert_array_equal(rgb, expected)

    given = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    given[:2, :9], given[:2, 9:20], given[2:4, :11] = 255, 0, (255, 0, 0)
    planes = poisoned(HEIGHT, WIDTH), poisoned(HEIGHT // 2, WIDTH)
    run_kernel(lambda rgb: nv12_from_rgb(rgb, *planes, from_rgb), {"rgb": torch.from_numpy(given)}, {})
    expected_planes = on_host(host, [given], RGB, [np.empty_like(luma), np.empty_like(pairs)], NV12, color)
    for plane, expected in zip(planes, expected_planes, strict=True):
        np.testing.assert_array_equal(plane.cpu(), expected)
        check_gaps(plane)
