"""Reading and writing safetensors files of any size with little memory.

The `safetensors` package is not used for this, for two reasons. It has no streaming writer: `save_file` wants every
tensor in memory at once, which for a 14B model is 28 GB. And its numpy side cannot express bf16, the dtype of nearly
every weight here. The format is 8 bytes of header length (u64, little-endian), that many bytes of JSON, then the data.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .errors import PenstockError, os_errors_as_penstock, parse_json_object

DTYPE_BYTES: dict[str, int] = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
_NUMPY_DTYPES: dict[str, str] = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "F16": "<f2", "U32": "<u4", "I32": "<i4",
    "F32": "<f4", "U64": "<u8", "I64": "<i8", "F64": "<f8",
}  # fmt: skip
MAX_HEADER_BYTES = 100_000_000  # the limit of the format
_MAX_RANK = 32
CHUNK_BYTES = 16 << 20

Buffer = bytes | bytearray | memoryview | np.ndarray
Progress = Callable[[int, int], None]  # (bytes done, bytes in all)


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a file. `dtype` in safetensors spelling, `offset` in bytes from the start of the data section."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int

    @classmethod
    def of(cls, name: str, dtype: str, shape: Sequence[int], offset: int = 0) -> TensorInfo:
        """The info of a tensor whose byte count follows from `dtype` (a key of DTYPE_BYTES) and `shape`."""
        return cls(name, dtype, tuple(shape), offset, math.prod(shape) * DTYPE_BYTES[dtype])


@dataclass(frozen=True)
class TensorCount:
    """How many tensors and parameters some weights are, and their bytes."""

    tensors: int
    parameters: int
    bytes: int

    @classmethod
    def of(cls, infos: Iterable[TensorInfo]) -> TensorCount:
        infos = list(infos)
        return cls(len(infos), sum(math.prod(info.shape) for info in infos), sum(info.nbytes for info in infos))

    def to_json(self) -> dict[str, int]:
        """Plain JSON data."""
        return asdict(self)


def progress_of_many(progress: Progress | None, sizes: Sequence[int]) -> list[Progress | None]:
    """For files of so many bytes that are written one after the other: what to call for each, as if they were one."""

    def behind(before: int) -> Progress | None:
        return None if progress is None else lambda done, _: progress(before + done, sum(sizes))

    return [behind(sum(sizes[:index])) for index in range(len(sizes))]


class TensorFile:
    """A memory-mapped safetensors file: `tensors` by name, `metadata` (str to str), data on request.

    The file is untrusted: the whole header is checked on opening, and each defect is a PenstockError that names the
    file and the tensor. A context manager; arrays from `raw` stay valid after `close`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        with os_errors_as_penstock(self.path, "read"):
            if not self.path.is_file():
                raise PenstockError(f"{self.path}: expected a safetensors file, found no such file")
            with open(self.path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < 8:
                    raise PenstockError(f"{self.path}: expected a safetensors file of at least 8 bytes, got {size}")
                # A numpy array over the mapping keeps it alive; no explicit unmap can pull it from under a view.
                data = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        length = int.from_bytes(data[:8].tobytes(), "little")
        limit = min(MAX_HEADER_BYTES, size - 8)
        if length > limit:
            raise PenstockError(f"{self.path}: expected a header of at most {limit} bytes, got length {length}")
        header = parse_json_object(data[8 : 8 + length].tobytes(), f"{self.path}: header")
        self.metadata = _parse_metadata(header.pop("__metadata__", {}), self.path)
        self._data: np.ndarray | None = data[8 + length :]
        self.tensors = {name: _parse_tensor(name, entry, self._data.size, self.path) for name, entry in header.items()}
        _check_overlap(self.tensors, self.path)

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the mapping. It is unmapped when the last array from `raw` is gone too."""
        self._data = None

    def info(self, name: str) -> TensorInfo:
        """The info of a tensor; PenstockError where the file has none of that name."""
        if name not in self.tensors:
            raise PenstockError(f"{self.path}: has no tensor {name!r}")
        return self.tensors[name]

    def raw(self, name: str) -> np.ndarray:
        """The bytes of a tensor as a read-only uint8 view [nbytes] of the mapping, without a copy."""
        info = self.info(name)
        if self._data is None:
            raise PenstockError(f"{self.path}: is closed; tensor {name!r} cannot be read")
        return self._data[info.offset : info.offset + info.nbytes]

    def numpy(self, name: str) -> np.ndarray:
        """A tensor as a new array: float32 for BF16, F16 and F32 (exact), the same type for integers, bool and F64.

        Raises PenstockError for an 8-bit float, which numpy cannot express.
        """
        info, raw = self.info(name), self.raw(name)
        if info.dtype == "BF16":
            return bf16_bits_to_float32(raw.view("<u2")).reshape(info.shape)
        if info.dtype not in _NUMPY_DTYPES:
            raise PenstockError(f"{self.path}: tensor {name!r}: dtype {info.dtype} has no numpy equivalent")
        values = raw.view(_NUMPY_DTYPES[info.dtype]).reshape(info.shape)
        return values.astype(np.float32 if info.dtype == "F16" else values.dtype.newbyteorder("="))


def _parse_metadata(value: Any, path: Path) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise PenstockError(f"{path}: __metadata__: expected an object of strings, got something else")
    return value


def _parse_tensor(name: str, entry: Any, data_bytes: int, path: Path) -> TensorInfo:
    where = f"{path}: tensor {name!r}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        got = sorted(entry) if isinstance(entry, dict) else type(entry).__name__
        raise PenstockError(f"{where}: expected the fields dtype, shape and data_offsets, got {got}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise PenstockError(f"{where}: unknown dtype {dtype!r}, expected one of {', '.join(DTYPE_BYTES)}")
    if not _is_shape(shape):
        raise PenstockError(f"{where}: shape: expected up to {_MAX_RANK} sizes of a sane product, got {shape!r:.80}")
    if not _are_sizes(offsets, 2) or len(offsets) != 2:
        raise PenstockError(f"{where}: data_offsets: expected two non-negative integers, got {offsets!r:.80}")
    begin, end = offsets
    if not begin <= end <= data_bytes:
        raise PenstockError(f"{where}: data_offsets {offsets} lie outside the file, which has {data_bytes} data bytes")
    info = TensorInfo.of(name, dtype, shape, begin)
    if info.nbytes != end - begin:
        raise PenstockError(f"{where}: {dtype} {shape} takes {info.nbytes} bytes, but data_offsets span {end - begin}")
    return info


def _are_sizes(value: Any, most: int) -> bool:
    return isinstance(value, list) and len(value) <= most and all(type(item) is int and item >= 0 for item in value)


def _is_shape(value: Any) -> bool:
    # numpy refuses even an empty array whose other dimensions are too big, hence zeros count as ones here.
    return _are_sizes(value, _MAX_RANK) and math.prod(max(item, 1) for item in value) < 2**56


def _check_overlap(tensors: Mapping[str, TensorInfo], path: Path) -> None:
    ordered = sorted((t for t in tensors.values() if t.nbytes), key=lambda t: t.offset)
    for before, after in pairwise(ordered):
        if before.offset + before.nbytes > after.offset:
            raise PenstockError(f"{path}: tensors {before.name!r} and {after.name!r}: their byte ranges overlap")


def write_safetensors(
    path: str | os.PathLike[str],
    infos: Sequence[TensorInfo],
    chunks: Callable[[TensorInfo], Iterable[Buffer]],
    metadata: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a safetensors file as a stream: only one chunk of data is in memory at a time.

    The tensors lie in the order of `infos`, contiguously; the offsets in `infos` are not used. `chunks(info)` yields
    the data of one tensor as C-contiguous buffers, little-endian, `info.nbytes` bytes in all. The data goes to a
    temporary file beside `path`, renamed at the end: an interrupted write leaves no half file under the final name.
    Raises PenstockError where a name or a byte count is wrong or the disk refuses.
    """
    path = Path(path)
    header = _header(infos, metadata, path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with os_errors_as_penstock(path, "write"):
            with open(temporary, "xb") as file:
                file.write(header)
                _write_data(file, infos, chunks, progress, path)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_data(
    file: BinaryIO,
    infos: Sequence[TensorInfo],
    chunks: Callable[[TensorInfo], Iterable[Buffer]],
    progress: Progress | None,
    path: Path,
) -> None:
    total, done = sum(info.nbytes for info in infos), 0
    for info in infos:
        written = 0
        for chunk in chunks(info):
            written += file.write(chunk)
            if progress:
                progress(done + written, total)
        if written != info.nbytes:
            raise PenstockError(f"{path}: tensor {info.name!r}: expected {info.nbytes} bytes, got {written}")
        done += written


def _header(infos: Sequence[TensorInfo], metadata: Mapping[str, str] | None, path: Path) -> bytes:
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for info in infos:
        if info.name in entries or info.name == "__metadata__":
            raise PenstockError(f"{path}: tensor {info.name!r}: the name occurs twice or is reserved")
        end = offset + info.nbytes
        entries[info.name] = {"dtype": info.dtype, "shape": list(info.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def bf16_bits_to_float32(bits: np.ndarray) -> np.ndarray:
    """uint16 bf16 bit patterns to the float32 values they stand for, exactly, same shape."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def float32_to_bf16_bits(values: np.ndarray) -> np.ndarray:
    """float32 to uint16 bf16 bit patterns, same shape: rounded to nearest even, NaN kept (sign too, made quiet)."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits >> 16
    rounded &= 1
    rounded += 0x7FFF
    rounded += bits
    rounded >>= 16
    result = rounded.astype(np.uint16)
    nan = np.isnan(bits.view(np.float32))  # rounding could carry a NaN into infinity or zero
    if nan.any():
        result[nan] = (bits[nan] >> 16).astype(np.uint16) | 0x0040
    return result.reshape(np.shape(values))
