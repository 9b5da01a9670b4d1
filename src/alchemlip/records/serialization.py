"""The state of a calculation as bytes, read back exactly equal; nothing in them is ever executed.

The bytes are a checksum, the length of a JSON text, the text, and the contents of the arrays one
after another.
In the text an array is ``{"$array": [dtype, shape, order]}``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from alchemlip.files import parse_json

_CHECKSUM = 16  # bytes
_LENGTH = 8  # bytes of the number that tells how long the JSON text is


def pack(state: Mapping[str, Any]) -> bytes:
    """Return nested values as bytes.

    Args:
        state: str-keyed mappings of mappings, lists, tuples, NumPy arrays and scalars, numbers
            (integers of any length), strings, booleans and None.

    Raises:
        TypeError: for a value of another type; the message names its place.
    """
    contents: list[bytes] = []
    text = json.dumps(_encode(state, "state", contents)).encode()
    data = b"".join([len(text).to_bytes(_LENGTH, "little"), text, *contents])
    return _checksum(data) + data


def unpack(data: bytes) -> dict[str, Any]:
    """Return what `pack` was given; arrays keep dtype, shape, and row or column order.

    Raises:
        ValueError: if the bytes are not what `pack` returned.
    """
    if not isinstance(data, bytes):
        raise ValueError("these are no bytes")
    checksum, data = data[:_CHECKSUM], data[_CHECKSUM:]
    if checksum != _checksum(data):
        raise ValueError("the checksum is another")
    start = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    contents = _Contents(data, start)
    try:
        state: dict[str, Any] = _decode(parse_json(data[_LENGTH:start]), contents)
    except (KeyError, TypeError, OverflowError, MemoryError) as error:
        raise ValueError("the JSON text is another") from error
    return state


def to_json(value: Any) -> str:
    """Return plain values as JSON, and NumPy's as numbers and lists."""
    return json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} cannot be kept as JSON")


def _checksum(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_CHECKSUM).digest()


class _Contents:
    """Reads the contents of arrays one after another."""

    def __init__(self, data: bytes, offset: int) -> None:
        self._data = data
        self.offset = offset

    def take(self, dtype: str, shape: list[int], order: Any) -> np.ndarray[Any, Any]:
        kind = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        part = self._data[self.offset : self.offset + size]
        self.offset += size
        return np.ndarray(tuple(shape), kind, bytearray(part), order=order)


def _encode(value: Any, place: str, contents: list[bytes]) -> Any:
    if isinstance(value, Mapping):
        for key in value:
            if type(key) is not str or key.startswith("$"):
                raise TypeError(
                    f"{place} has the key {key!r}: a string without $ in front is needed"
                )
        return {key: _encode(item, f"{place}.{key}", contents) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_encode(item, f"{place}[{i}]", contents) for i, item in enumerate(value)]
        return {"$tuple": items} if isinstance(value, tuple) else items
    if type(value) is np.ndarray or isinstance(value, np.generic):
        array = np.asarray(value)
        if array.dtype.hasobject or np.dtype(array.dtype.str) != array.dtype:
            raise TypeError(f"{place} is an array of {array.dtype}: a plain dtype is needed")
        # Sums run along the memory, so the order of the axes in it is part of the state.
        order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        contents.append(array.tobytes(order="F" if order == "F" else "C"))
        tag = "$scalar" if isinstance(value, np.generic) else "$array"
        return {tag: [array.dtype.str, list(array.shape), order]}
    # Subclasses, such as enumerations, would come back as something else.
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(
        f"{place} is a {type(value).__name__}: numbers, strings, lists, mappings and NumPy "
        "arrays are kept"
    )


def _decode(value: Any, contents: _Contents) -> Any:
    if isinstance(value, list):
        return [_decode(item, contents) for item in value]
    if not isinstance(value, dict):
        return value
    if "$array" in value:
        return contents.take(*value["$array"])
    if "$scalar" in value:
        return contents.take(*value["$scalar"])[()]
    if "$tuple" in value:
        return tuple(_decode(item, contents) for item in value["$tuple"])
    return {key: _decode(item, contents) for key, item in value.items()}
