"""8-bit floats, e4m3: what the kernels that use them share. The engine knows them as bytes, u8."""

from __future__ import annotations

FP8_ARCHITECTURES = ("89", "90a", "100a", "120a")  # sm_80 has no 8-bit floats


def as_codes(tensor, given=True):
    """A torch tensor of bytes as one of e4m3 floats; with ``given`` None, as it is."""
    import torch  # not at the top: the ahead-of-time compiler imports the kernels without it

    return tensor if given is None else tensor.view(torch.float8_e4m3fn)
