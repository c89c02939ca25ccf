"""How attention's work is dealt over programs (csrc/ops/rolling_attention/deal.h), against counting, and the index
arithmetic of its tiles (csrc/ptx/swizzle.h) against the tables of the PTX ISA."""

from __future__ import annotations

import ctypes
import itertools
from collections import Counter

import numpy as np
import pytest

from .conftest import AttentionShape

SIZES = [(1, 1, 6, 128), (1, 1560, 6, 1560), (12, 1560, 6, 1560), (3, 300, 7, 150), (2, 128, 3, 64), (40, 24, 2, 13)]
LENGTHS = [(1,), (2,), (1, 2), (2, 2, 1), (2, 1, 1, 2)]
PROGRAMS = [1, 2, 7, 132]


@pytest.mark.parametrize(("heads", "queries", "frames", "frame_tokens"), SIZES)
def test_every_block_once_and_equal_shares(attention: ctypes.CDLL, heads: int, queries: int, frames: int,
                                           frame_tokens: int) -> None:  # fmt: skip
    for lengths, programs in itertools.product([*LENGTHS, (frames,), (frames, 1)], PROGRAMS):
        shape = AttentionShape(len(lengths), queries, frames * frame_tokens, frame_tokens, heads)
        blocks = [-(-length * frame_tokens // 128) for length in lengths]
        units = heads * -(-queries // 128) * sum(blocks)
        parts = deal(attention, shape, lengths, programs, units)
        done: Counter[tuple[int, ...]] = Counter()
        shares: Counter[int] = Counter()
        for program, slot, head, tile, first, last, of, _ in parts:
            assert of == blocks[slot] and 0 <= first < last <= of
            done.update((slot, head, tile, block) for block in range(first, last))
            shares[program] += last - first
        assert set(done.values()) == {1} and len(done) == units
        assert max(shares.values()) - min(shares[program] for program in range(programs)) <= 1


@pytest.mark.parametrize("programs", [1, 3, 5, 16, 132])
def test_partial_results_are_found_again(attention: ctypes.CDLL, programs: int) -> None:
    """No two lie in one place, and what merge_attention asks has the right answer: who did a tile's blocks."""
    lengths = (3, 1, 2)
    shape = AttentionShape(3, 200, 3 * 250, 250, 2)
    parts = deal(attention, shape, lengths, programs, 1000)
    places = [place for *_, place in parts if place >= 0]
    assert len(set(places)) == len(places) and all(place < 2 * programs for place in places)
    units = sum(last - first for _, _, _, _, first, last, _, _ in parts)
    unit = 0
    for program, _, _, _, first, last, of, place in parts:
        for _ in range(first, last):
            assert attention.deal_program_of(unit, units, programs) == program
            unit += 1
        assert (place == -1) == (last - first == of)
        assert place == -1 or place == 2 * program + (first == 0)


def test_lengths_that_the_cache_does_not_have(attention: ctypes.CDLL) -> None:
    shape = AttentionShape(2, 10, 300, 100, 1)
    assert deal(attention, shape, (-5, 90), 1, 10) == deal(attention, shape, (1, 3), 1, 10)


def test_swizzle_is_that_of_the_manual(attention: ctypes.CDLL) -> None:
    """128-byte mode: in each 1024 bytes, the 16-byte piece c of row r lies where piece c xor r would."""
    for row, piece, byte in itertools.product(range(16), range(8), (0, 5, 15)):
        expected = row * 128 + (piece ^ row % 8) * 16 + byte
        assert attention.swizzled_address(row * 128 + piece * 16 + byte) == expected


def test_fragments_are_those_of_the_manual(attention: ctypes.CDLL) -> None:
    """Accumulator D of wgmma m64n128k16, drawn as in the figure: by 8 columns, each row is 4 threads of 2 columns."""
    owner = np.full((64, 128), -1)
    for warp, half, group, lane, odd in itertools.product(range(4), range(2), range(16), range(32), range(2)):
        thread, i = 32 * warp + lane, 4 * group + 2 * half + odd
        row, column = 16 * warp + 8 * half + lane // 4, 8 * group + 2 * (lane % 4) + odd
        assert (attention.fragment_row_of(thread, i), attention.fragment_column_of(thread, i)) == (row, column)
        owner[row, column] = thread
    assert (owner >= 0).all()
    np.testing.assert_array_equal(owner[0, :10], [0, 0, 1, 1, 2, 2, 3, 3, 0, 0])


def test_descriptor_fields(attention: ctypes.CDLL) -> None:
    """Matrix descriptor: address in bits 0 to 13, leading offset 16 to 29, stride offset 32 to 45, all in units of 16
    bytes; bits 49 to 51 the base offset, here 0; 62 and 63 the swizzle, 1 for 128 bytes."""
    bits = attention.descriptor_of(0x38420, 0x4000, 0x400)
    assert bits == 0x3842 | 0x400 << 16 | 0x40 << 32 | 1 << 62


def deal(attention: ctypes.CDLL, shape: AttentionShape, lengths: tuple[int, ...], programs: int,
         most: int) -> list[list[int]]:  # fmt: skip
    """(program, slot, head, tile, first, last, blocks, place) of every part, in the order of programs and units."""
    rows = np.zeros((most, 8), np.int32)
    ring_length = np.array(lengths, np.int32)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (ring_length, rows)]
    count = attention.deal_parts(ctypes.byref(shape), pointers[0], programs, pointers[1], most)
    assert count >= 0
    return rows[:count].tolist()
