"""The safetensors reader and writer, against the safetensors package and torch, and against damaged files."""

from __future__ import annotations

import json
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.runtime.errors import PenstockError
from penstock.runtime.safetensors_io import TensorFile, TensorInfo, float32_to_bf16_bits, write_safetensors


def image(header: object, data: bytes = b"") -> bytes:
    """The bytes of a safetensors file with this header, which may also be given as text."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.fixture
def reference() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    values = torch.randn(5, 7, generator=generator) * 100
    values[0, 0], values[1, 1], values[2, 2] = float("nan"), float("inf"), -0.0
    return {
        "bf16": values.to(torch.bfloat16),
        "f16": values.to(torch.float16),
        "f32": values,
        "f64": values.double(),
        "i64": torch.arange(-3, 3),
        "i32": torch.arange(-3, 3, dtype=torch.int32).reshape(2, 3),
        "u8": torch.arange(250, 256, dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(1.5),
        "empty": torch.zeros(0, 4),
        "größe": torch.ones(1),
    }


def test_reads_what_the_safetensors_package_writes(tmp_path: Path, reference: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "reference.safetensors"
    safetensors.torch.save_file(reference, path, metadata={"origin": "test"})
    with TensorFile(path) as file:
        assert file.metadata == {"origin": "test"}
        assert file.tensors.keys() == reference.keys()
        for name, tensor in reference.items():
            widened = tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
            array = file.numpy(name)
            assert array.dtype == widened.numpy().dtype
            assert array.flags.writeable and array.flags.aligned
            np.testing.assert_array_equal(array, widened.numpy(), strict=True)
            assert file.raw(name).tobytes() == tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
        assert np.signbit(file.numpy("bf16")[2, 2])
        assert file.tensors["bf16"].dtype == "BF16" and file.tensors["bf16"].shape == (5, 7)


def test_the_safetensors_package_reads_what_the_writer_writes(
    tmp_path: Path, reference: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "written.safetensors"
    data = {name: t.reshape(-1).view(torch.uint8).numpy() for name, t in reference.items()}
    codes = {"bf16": "BF16", "f16": "F16", "f64": "F64", "i64": "I64", "i32": "I32", "u8": "U8", "bool": "BOOL"}
    infos = [TensorInfo.of(name, codes.get(name, "F32"), tuple(t.shape), 999) for name, t in reference.items()]

    def chunks(info: TensorInfo) -> list[np.ndarray]:
        return [data[info.name][start : start + 11] for start in range(0, info.nbytes, 11)]

    calls: list[tuple[int, int]] = []
    write_safetensors(path, infos, chunks, {"format": "pt"}, lambda done, total: calls.append((done, total)))
    loaded = safetensors.torch.load_file(path)
    assert loaded.keys() == reference.keys()
    for name, tensor in reference.items():
        assert loaded[name].dtype == tensor.dtype and loaded[name].shape == tensor.shape
        assert loaded[name].reshape(-1).view(torch.uint8).equal(tensor.reshape(-1).view(torch.uint8))
    with safetensors.safe_open(path, "pt") as opened:
        assert opened.metadata() == {"format": "pt"}

    total = sum(info.nbytes for info in infos)
    assert calls[-1] == (total, total) and calls == sorted(calls)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    assert length % 8 == 0 and len(content) == 8 + length + total
    header = json.loads(content[8 : 8 + length])
    assert list(header) == ["__metadata__", *reference]
    ends = [0, *(header[name]["data_offsets"][1] for name in reference)]
    assert [header[name]["data_offsets"][0] for name in reference] == ends[:-1]


def test_raw_is_a_read_only_view_that_outlives_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(image({"a": entry("U8", [4], [0, 4])}, b"\1\2\3\4"))
    with TensorFile(path) as file:
        first, second = file.raw("a"), file.raw("a")
        assert np.shares_memory(first, second)
        with pytest.raises(ValueError, match=r"read-only"):
            first[0] = 9
    assert first.tolist() == [1, 2, 3, 4]
    with pytest.raises(PenstockError, match=r"is closed; tensor 'a' cannot be read"):
        file.raw("a")


def test_unaligned_data_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    header = {"byte": entry("U8", [1], [0, 1]), "f": entry("F32", [1], [1, 5]), "b": entry("BF16", [1], [5, 7])}
    path.write_bytes(image(header, b"\7" + np.float32(2.5).tobytes() + b"\x80\x3f"))
    with TensorFile(path) as file:
        assert file.numpy("f").tolist() == [2.5] and file.numpy("b").tolist() == [1.0]


def test_reading_what_is_not_there_or_not_expressible(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(image({"a": entry("F8_E4M3", [2], [0, 2])}, b"\0\0"))
    with TensorFile(path) as file:
        with pytest.raises(PenstockError, match=r"tensor 'a': dtype F8_E4M3 has no numpy equivalent"):
            file.numpy("a")
        with pytest.raises(PenstockError, match=r"a.safetensors: has no tensor 'b'"):
            file.raw("b")
    for missing in (tmp_path / "b.safetensors", tmp_path, path / "c", tmp_path / ("x" * 300)):
        with pytest.raises(PenstockError, match=r"found no such file|cannot read"):
            TensorFile(missing)


BAD_FILES: dict[str, tuple[bytes, str]] = {
    "too short": (b"\0" * 7, "at least 8 bytes, got 7"),
    "empty": (b"", "at least 8 bytes, got 0"),
    "header beyond the file": ((17).to_bytes(8, "little") + b"{}" * 8, "header of at most 16 bytes, got length 17"),
    "header length of 2**64 - 1": (b"\xff" * 8 + b"{}", "header of at most 2 bytes"),
    "not UTF-8": (image(b'{"\xff": 1}'), "header: expected UTF-8 JSON"),
    "not JSON": (image(b"{oops}"), "header: expected UTF-8 JSON"),
    "no header": (image(b""), "header: expected UTF-8 JSON"),
    "a number too long": (image(b'{"a": ' + b"9" * 5000 + b"}"), "header: expected UTF-8 JSON"),
    "nested without end": (image(b"[" * 200_000), "header: expected UTF-8 JSON"),
    "not finite": (image(b'{"a": NaN}'), "NaN is not a JSON number"),
    "not an object": (image([1]), "header: expected a JSON object, got list"),
    "a name twice": (image(b'{"a": 1, "a": 2}'), "key 'a' occurs twice"),
    "metadata not text": (image({"__metadata__": {"a": 1}}), "__metadata__: expected an object of strings"),
    "metadata not an object": (image({"__metadata__": "a"}), "__metadata__: expected an object of strings"),
    "entry not an object": (image({"a": 1}), "tensor 'a': expected the fields dtype, shape and data_offsets, got int"),
    "field missing": (image({"a": {"dtype": "F32", "shape": [1]}}), "tensor 'a': expected the fields"),
    "field unknown": (image({"a": {**entry(), "x": 1}}, b"\0" * 8), "tensor 'a': expected the fields"),
    "dtype unknown": (image({"a": entry("F31")}, b"\0" * 8), "tensor 'a': unknown dtype 'F31'"),
    "dtype not text": (image({"a": entry([])}, b"\0" * 8), "tensor 'a': unknown dtype"),  # type: ignore[arg-type]
    "size negative": (image({"a": entry(shape=[-2])}, b"\0" * 8), "tensor 'a': shape: expected"),
    "size a boolean": (image({"a": entry(shape=[True, 2])}, b"\0" * 8), "tensor 'a': shape: expected"),
    "size fractional": (image({"a": entry(shape=[2.0])}, b"\0" * 8), "tensor 'a': shape: expected"),
    "shape a number": (image({"a": entry(shape=2)}, b"\0" * 8), "tensor 'a': shape: expected"),
    "rank": (image({"a": entry(shape=[1] * 33 + [2])}, b"\0" * 8), "tensor 'a': shape: expected up to 32 sizes"),
    "empty but huge": (image({"a": entry(shape=[0, 1 << 62], offsets=[0, 0])}), "tensor 'a': shape: expected"),
    "bytes too few": (image({"a": entry(shape=[3])}, b"\0" * 8), r"'a': F32 \[3\] takes 12 bytes, but .* span 8"),
    "bytes too many": (image({"a": entry(shape=[1])}, b"\0" * 8), r"'a': F32 \[1\] takes 4 bytes, but .* span 8"),
    "beyond the file": (image({"a": entry()}, b"\0" * 7), r"'a': data_offsets \[0, 8\] lie outside the file"),
    "reversed": (image({"a": entry(offsets=[8, 0])}, b"\0" * 8), "'a': data_offsets .* lie outside the file"),
    "offset negative": (image({"a": entry(offsets=[-8, 0])}, b"\0" * 8), "'a': data_offsets: expected two"),
    "three offsets": (image({"a": entry(offsets=[0, 8, 8])}, b"\0" * 8), "'a': data_offsets: expected two"),
    "one offset": (image({"a": entry(offsets=[8])}, b"\0" * 8), "'a': data_offsets: expected two"),
    "overlap": (
        image({"b": entry(offsets=[4, 12]), "a": entry(offsets=[0, 8])}, b"\0" * 12),
        "tensors 'a' and 'b': their byte ranges overlap",
    ),
    "same range": (image({"a": entry(), "b": entry()}, b"\0" * 8), "'a' and 'b': their byte ranges overlap"),
}


@pytest.mark.parametrize("defect", BAD_FILES)
def test_a_bad_file_is_one_clear_line(tmp_path: Path, defect: str) -> None:
    content, message = BAD_FILES[defect]
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(PenstockError, match=message) as caught:
        TensorFile(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_a_header_beyond_the_limit_of_the_format(tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes((100_000_001).to_bytes(8, "little"))
    os.truncate(path, 100_000_100)  # sparse
    with pytest.raises(PenstockError, match=r"header of at most 100000000 bytes, got length 100000001"):
        TensorFile(path)


def test_zero_length_tensors_and_gaps_do_not_overlap(tmp_path: Path) -> None:
    path = tmp_path / "good.safetensors"
    header = {"a": entry(), "nothing": entry(shape=[0], offsets=[4, 4]), "b": entry(offsets=[12, 20])}
    path.write_bytes(image(header, b"\0" * 20))
    with TensorFile(path) as file:
        assert file.numpy("nothing").shape == (0,) and file.numpy("b").tolist() == [0.0, 0.0]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_mutated_file_opens_or_is_refused_but_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(image({"a": entry(), "b": entry("BF16", [2, 3], [8, 20])}, bytes(range(20))))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "mutated.safetensors"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        file = TensorFile(path)
    except PenstockError:
        return
    for name, info in file.tensors.items():
        if info.dtype not in ("F8_E4M3", "F8_E5M2"):
            assert file.numpy(name).shape == info.shape


def test_the_writer_holds_one_chunk_at_a_time(tmp_path: Path) -> None:
    produced: list[weakref.ref[np.ndarray]] = []
    most_alive = 0

    def chunks(info: TensorInfo):  # type: ignore[no-untyped-def]
        nonlocal most_alive
        for _ in range(10):
            most_alive = max(most_alive, sum(ref() is not None for ref in produced))
            chunk = np.zeros(info.nbytes // 10, np.uint8)
            produced.append(weakref.ref(chunk))
            yield chunk
            del chunk

    write_safetensors(tmp_path / "a.safetensors", [TensorInfo.of(n, "U8", (100,)) for n in "abc"], chunks)
    assert len(produced) == 30 and most_alive <= 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"the old content")

    def chunks(info: TensorInfo):  # type: ignore[no-untyped-def]
        yield b"12"
        assert len(list(tmp_path.iterdir())) == 2
        raise error

    with pytest.raises(error):
        write_safetensors(path, [TensorInfo.of("a", "U8", (4,))], chunks)
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]
    assert path.read_bytes() == b"the old content"


def test_the_writer_refuses_wrong_counts_names_and_places(tmp_path: Path) -> None:
    path, a = tmp_path / "a.safetensors", TensorInfo.of("a", "U8", (4,))
    for data in ([b"123"], [b"123", b"45"], []):
        size = sum(map(len, data))
        with pytest.raises(PenstockError, match=f"a.safetensors: tensor 'a': expected 4 bytes, got {size}"):
            write_safetensors(path, [a], lambda info, data=data: data)
    with pytest.raises(PenstockError, match=r"tensor 'a': the name occurs twice or is reserved"):
        write_safetensors(path, [a, a], lambda info: [b"1234"])
    with pytest.raises(PenstockError, match=r"the name occurs twice or is reserved"):
        write_safetensors(path, [TensorInfo.of("__metadata__", "U8", (4,))], lambda info: [b"1234"])
    with pytest.raises(PenstockError, match=r"cannot write: No such file or directory"):
        write_safetensors(tmp_path / "none" / "a.safetensors", [a], lambda info: [b"1234"])
    assert list(tmp_path.iterdir()) == []


def test_bf16_rounding_is_that_of_torch() -> None:
    bits = np.random.default_rng(5).integers(0, 2**32, 200_000, dtype=np.uint32)
    ties = (np.arange(65536, dtype=np.uint32) << 16) | 0x8000
    extremes = np.array([0x7F7FFFFF, 0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F7F8000, 0x00000001], np.uint32)
    values = np.concatenate([bits, ties, ties - 1, ties + 1, extremes]).view(np.float32)
    expected = torch.from_numpy(values).to(torch.bfloat16)
    got = float32_to_bf16_bits(values)
    nan = np.isnan(values)
    np.testing.assert_array_equal(got[~nan], expected.view(torch.uint16).numpy()[~nan])
    widened = (got.astype(np.uint32) << 16).view(np.float32)
    assert nan.sum() > 1000 and np.isnan(widened[nan]).all()
    np.testing.assert_array_equal(np.signbit(widened[nan]), np.signbit(values[nan]))
    assert float32_to_bf16_bits(np.float32(1.0)).shape == () and float32_to_bf16_bits(np.ones((2, 3)))[1, 2] == 0x3F80


@pytest.mark.parametrize(("code", "dtype"), [("BF16", torch.bfloat16), ("F16", torch.float16)])
def test_every_16_bit_float_is_widened_exactly(tmp_path: Path, code: str, dtype: torch.dtype) -> None:
    bits = np.arange(65536, dtype=np.uint16)
    path = tmp_path / "all.safetensors"
    write_safetensors(path, [TensorInfo.of("all", code, (256, 256))], lambda info: [bits])
    with TensorFile(path) as file:
        got = file.numpy("all")
    expected = torch.from_numpy(bits).view(dtype).float().numpy().reshape(256, 256)
    np.testing.assert_array_equal(got, expected, strict=True)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(expected))
