"""The few messages of ONNX, written as protobuf by hand: neither onnx nor protobuf is needed."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

OPSET, IR_VERSION = 17, 8
TYPES = {"float32": 1, "int64": 7}


def _varint(n: int) -> bytes:
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def integer(field: int, n: int) -> bytes:
    return _varint(field << 3) + _varint(n)


def block(field: int, data: bytes | str) -> bytes:
    raw = data.encode() if isinstance(data, str) else data
    return _varint(field << 3 | 2) + _varint(len(raw)) + raw


def tensor(name: str, array: np.ndarray) -> bytes:
    """TensorProto with raw data."""
    a = np.ascontiguousarray(array) if array.ndim else array
    dims = b"".join(integer(1, n) for n in a.shape)
    raw = a.astype(a.dtype.newbyteorder("<")).tobytes()
    return dims + integer(2, TYPES[a.dtype.name]) + block(8, name) + block(9, raw)


def _attribute(name: str, value: Any) -> bytes:
    if isinstance(value, float):
        return block(1, name) + _varint(2 << 3 | 5) + struct.pack("<f", value) + integer(20, 1)
    if isinstance(value, int):
        return block(1, name) + integer(3, value) + integer(20, 2)
    return block(1, name) + b"".join(integer(8, n) for n in value) + integer(20, 7)


def node(operator: str, inputs: Iterable[str], outputs: Sequence[str], **attributes: Any) -> bytes:
    """NodeProto."""
    named = next(name for name in outputs if name)
    text = b"".join(block(1, name) for name in inputs) + b"".join(block(2, name) for name in outputs)
    text += block(3, f"{named}_{operator}") + block(4, operator)
    return text + b"".join(block(5, _attribute(name, value)) for name, value in attributes.items())


def value(name: str, dimensions: Iterable[int | str]) -> bytes:
    """ValueInfoProto of a float32 tensor; a dimension may be a name."""
    shape = b"".join(block(1, block(2, d) if isinstance(d, str) else integer(1, d)) for d in dimensions)
    return block(1, name) + block(2, block(1, integer(1, TYPES["float32"]) + block(2, shape)))


def model(
    nodes: list[bytes],
    constants: dict[str, np.ndarray],
    inputs: list[bytes],
    outputs: list[bytes],
    version: str,
    about: str,
    metadata: dict[str, str],
) -> bytes:
    """ModelProto."""
    graph = b"".join(block(1, n) for n in nodes) + block(2, "fastkd") + block(10, about)
    graph += b"".join(block(5, tensor(name, array)) for name, array in constants.items())
    graph += b"".join(block(11, v) for v in inputs) + b"".join(block(12, v) for v in outputs)
    head = integer(1, IR_VERSION) + block(2, "fastkd") + block(3, version)
    tail = b"".join(block(14, block(1, key) + block(2, text)) for key, text in metadata.items())
    return head + block(7, graph) + block(8, block(1, "") + integer(2, OPSET)) + tail


def fields(data: bytes) -> list[tuple[int, Any]]:
    """[(field, number or bytes), ...] of a message."""
    found: list[tuple[int, Any]] = []
    at = 0

    def varint() -> int:
        nonlocal at
        n = shift = 0
        while True:
            byte = data[at]
            at += 1
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return n

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            found.append((key >> 3, varint()))
        else:
            size = varint() if key & 7 == 2 else 4
            found.append((key >> 3, data[at : at + size]))
            at += size
    return found
