"""Condensed sets as few bytes: their numbers, and a short head that says what they are.

    8 bytes  FKDCOND1
    4 bytes  CRC-32 of all that follows, little-endian
    4 bytes  length of the head
             head: zlib's deflate of JSON with "arrays" [[name, type, shape], ...], "labels" [type, classes] or null,
             "history" and "info"
             the arrays' bytes, one after the other: C order, little-endian

Labels of at most 256 classes are one byte each, a number in "labels". Nothing is pickled, and nothing is made that the
bytes do not hold: shapes must account for the last byte of them.
"""

from __future__ import annotations

import json
import math
import re
import struct
import zlib
from typing import Any

import numpy as np

MAGIC = b"FKDCOND1"
START = struct.Struct("<8sII")
TYPES = re.compile(r"[<|](?:[fiub][1248]|[US][1-9]\d{0,3})")
MOST_HEAD = 1 << 24  # a head that swells beyond this was made to do harm
MOST_TEXT = 1 << 24  # bytes of text labels that may be written as numbers: more grew from few
NAMES = ("X", "y", "soft_labels", "sample_weight")


def pack(arrays: dict[str, np.ndarray], history: dict[str, Any], info: dict[str, Any]) -> bytes:
    """Arrays by name (of NAMES), history and info as bytes."""
    labels = None
    y = arrays["y"]
    if y.dtype.kind in "iubU" and y.ndim == 1:
        classes, codes = np.unique(y, return_inverse=True)
        if 0 < len(classes) <= 256 and (y.dtype.kind != "U" or y.nbytes <= MOST_TEXT):
            labels, arrays = [_little(y).dtype.str, classes.tolist()], arrays | {"y": codes.astype(np.uint8)}
    kept = {name: _little(a) for name, a in arrays.items()}
    about = {
        "arrays": [[name, a.dtype.str, list(a.shape)] for name, a in kept.items()],
        "labels": labels,
        "history": history,
        "info": info,
    }
    head = zlib.compress(json.dumps(about, separators=(",", ":"), default=str).encode(), 9)
    rest = struct.pack("<I", len(head)) + head + b"".join(a.tobytes() for a in kept.values())
    return MAGIC + struct.pack("<I", zlib.crc32(rest)) + rest


def unpack(data: bytes, source: str) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, Any]]:
    """What `pack` was given; a ValueError that names `source` if the bytes are not such."""
    if len(data) < START.size or data[:8] != MAGIC:
        raise ValueError(f"{source} is no compact condensed set: it does not begin with {MAGIC.decode()}")
    _, sum_, length = START.unpack_from(data)
    if zlib.crc32(memoryview(data)[12:]) != sum_ or START.size + length > len(data):
        raise ValueError(f"{source} is damaged: its check sum or length is wrong; restore it from a copy")
    try:
        about = json.loads(_inflate(data[START.size : START.size + length]))
        arrays = _arrays(about["arrays"], memoryview(data)[START.size + length :])
        if about["labels"] is not None:
            kind, classes = about["labels"]
            arrays["y"] = _labels(kind, classes, arrays["y"])
        history, info = about["history"], about["info"]
        if not isinstance(history, dict) or not isinstance(info, dict):
            raise ValueError("history and info must be objects")
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError, zlib.error) as error:
        raise ValueError(f"{source} is damaged or of a later version: {error}") from None
    return arrays, history, info


def _inflate(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    head = stream.decompress(data, MOST_HEAD)
    if not stream.eof:
        raise ValueError(f"the head is cut off, or longer than {MOST_HEAD} bytes")
    return head


def _arrays(described: Any, data: memoryview) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    at = 0
    for name, kind, shape in described:
        dtype = _dtype(kind)
        if name not in NAMES or name in arrays:
            raise ValueError(f"array {name!r} is unknown or there twice")
        if len(shape) not in (1, 2) or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f"{name} has the shape {shape}")
        if len(shape) == 2 and not shape[1]:
            raise ValueError(f"{name} has the shape {shape}: rows without bytes")
        size = math.prod(shape) * dtype.itemsize
        if at + size > len(data):
            raise ValueError(f"{name} ends beyond the last byte")
        arrays[name] = np.frombuffer(data[at : at + size], dtype).reshape(shape).astype(dtype.newbyteorder("="))
        at += size
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes follow the last array")
    return arrays


def _labels(kind: Any, classes: Any, codes: np.ndarray) -> np.ndarray:
    """Labels from their numbers, no wider than the longest class."""
    dtype = _dtype(kind)
    if not isinstance(classes, list) or not 0 < len(classes) <= 256:
        raise ValueError("labels must be a list of 1 to 256 classes")
    if dtype.kind not in "iubU" or not all(isinstance(c, str if dtype.kind == "U" else int) for c in classes):
        raise ValueError(f"labels are not plain numbers or text of the type {kind}")
    if codes.dtype != np.uint8 or codes.ndim != 1:
        raise ValueError("labels by number must be one byte each")
    if dtype.kind == "U":
        dtype = np.dtype(f"U{min(dtype.itemsize // 4, max(1, *map(len, classes)))}")
        if dtype.itemsize * len(codes) > MOST_TEXT:
            raise ValueError(f"labels would take more than {MOST_TEXT} bytes")
    return np.array(classes, dtype)[codes]


def _dtype(text: Any) -> np.dtype:
    if not isinstance(text, str) or not TYPES.fullmatch(text):
        raise ValueError(f"type {text!r} is not one of plain numbers or text")
    return np.dtype(text)


def _little(a: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(a).astype(a.dtype.newbyteorder("<"), copy=False)
