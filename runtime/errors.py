"""The one exception users of penstock see, and the helpers that turn bad input into a readable message."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any

MAX_LISTED = 20


class PenstockError(Exception):
    """Bad input, or a failed engine call.

    The message is one clear line: what is wrong, what was expected and what came. A message about many items adds one
    line per item, at most `MAX_LISTED` of them (see `listing`).
    """


def is_number(value: Any) -> bool:
    """Whether a setting is a number as a user means it: no text, and no True."""
    return isinstance(value, Real) and not isinstance(value, bool)


def listing(headline: str, items: Sequence[str]) -> str:
    """`headline`, then one indented line per item; beyond `MAX_LISTED` items the rest is only counted."""
    lines = [headline, *(f"  {item}" for item in items[:MAX_LISTED])]
    if len(items) > MAX_LISTED:
        lines.append(f"  ... and {len(items) - MAX_LISTED} more")
    return "\n".join(lines)


@contextmanager
def os_errors_as_penstock(path: str | os.PathLike[str], action: str) -> Iterator[None]:
    """Turn an OSError of the block into `PATH: cannot ACTION: reason`, a PenstockError."""
    try:
        yield
    except OSError as error:
        raise PenstockError(f"{os.fspath(path)}: cannot {action}: {error.strerror or error}") from None


def parse_json_object(data: bytes, what: str) -> dict[str, Any]:
    """The JSON object in untrusted UTF-8 bytes; `what` names its source in the error.

    Raises PenstockError where `data` is not UTF-8 JSON, is not an object, repeats a key or holds NaN or Infinity.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                raise ValueError(f"key {key!r} occurs twice")
            result[key] = value
        return result

    def refuse(constant: str) -> float:
        raise ValueError(f"{constant} is not a JSON number")

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:  # ValueError covers bad UTF-8, bad JSON and the two refusals above
        raise PenstockError(f"{what}: expected UTF-8 JSON, got {len(data)} bytes that are not ({error})") from None
    if not isinstance(value, dict):
        raise PenstockError(f"{what}: expected a JSON object, got {type(value).__name__}")
    return value
