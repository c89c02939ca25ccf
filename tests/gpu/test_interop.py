"""Frames that stay on the device between torch and a session: the same as through the host, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.models import load
from penstock.video import generate_clip

SIZE = (96, 128)


@pytest.mark.parametrize("fields", [{}, {"schedule": "throughput"}], ids=["latency", "throughput"])
def test_torch_in_and_out(fields: dict[str, str]) -> None:
    """On a stream of torch's own, which is busy, with rows at a stride; nothing synchronises but the comparison."""
    clip = np.stack(list(generate_clip(21, SIZE)))
    settings = {"height": SIZE[0], "width": SIZE[1], "device": "cuda", "seed": 4, **fields}
    model = load("tiny")
    with model.session("a pencil sketch", **settings) as session:
        expected = np.concatenate(list(session.stream(clip)))
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream), model.session("a pencil sketch", output="cuda", **settings) as session:
        given = torch.from_numpy(clip).pin_memory()
        finished = []
        for frame in given:
            padded = torch.zeros(SIZE[0], SIZE[1] + 5, 3, dtype=torch.uint8, device="cuda")
            torch.cuda._sleep(2_000_000)
            padded[:, : SIZE[1]].copy_(frame, non_blocking=True)
            out = session.push(padded[:, : SIZE[1]], stream=stream)
            padded.fill_(77)  # behind the reading, in the order of the stream
            finished += [torch.from_dlpack(picture).clone() for picture in out]
        finished += [torch.from_dlpack(picture) for picture in session.flush()]
        stream.synchronize()
    actual = torch.stack(finished).cpu().numpy()
    np.testing.assert_array_equal(actual, expected)
