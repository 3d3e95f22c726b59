"""Messages of a federation as Flower's records, and back; what comes from a stranger is read in place, after checks.

An array travels as the bytes of a .npy file, as Flower has it. `view` reads nothing but its header, by a pattern of its
own, compares it with the number of bytes that are there, and hands out the bytes themselves: nothing is allocated that
the sender could inflate, and nothing is unpickled.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from fastkd.federated.messages import Assignment, Broadcast, Failure, Predictions, Update

__all__ = ["answer_of", "as_answer", "as_question", "pack", "question_of", "view"]

HEAD, ARRAYS = "fastkd", "arrays"
MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 512
HEADER = re.compile(
    rb"\{'descr': '([<>|=]?[a-z]\d{1,2})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,18}, ?)*\d{0,18}),?\), ?\} *\n"
)


def pack(values: Any) -> Array:
    """An array for Flower: its bytes are copied once.

    Parameters
    ----------
    values : array_like of numbers

    Returns
    -------
    flwr.app.Array
    """
    array = np.asarray(values, order="C")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"only arrays of numbers travel; got dtype {array.dtype}")
    header = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {array.shape}, }}"
    length = -(-(len(header) + 11) // 64) * 64 - 10
    start = MAGIC + b"\x01\x00" + length.to_bytes(2, "little") + header.ljust(length - 1).encode() + b"\n"
    body: Any = array.reshape(-1).view(np.uint8)
    return Array(str(array.dtype), tuple(array.shape), "numpy.ndarray", b"".join((start, body)))


def view(array: Array) -> np.ndarray:
    """The numbers of an array that came from somebody else, in place and read only.

    Bytes at an address that their type does not allow, and those of another byte order, are copied.

    Parameters
    ----------
    array : flwr.app.Array

    Raises
    ------
    ValueError
        It is no .npy of numbers, or its header does not fit the bytes that follow.

    Examples
    --------
    >>> from fastkd.flower import pack, view
    >>> view(pack([[1.0, 2.0], [3.0, 4.0]]))
    array([[1., 2.],
           [3., 4.]])
    """
    data = array.data
    if array.stype != "numpy.ndarray":
        raise ValueError(f"an array must travel as numpy.ndarray; got {str(array.stype)[:40]!r}")
    if not isinstance(data, bytes) or len(data) < 10 or data[:6] != MAGIC:
        raise ValueError("the bytes are no .npy")
    wide = {1: 2, 2: 4}.get(data[6])
    if wide is None:
        raise ValueError(f".npy of version {data[6]}.{data[7]}; versions 1 and 2 are read")
    start = 8 + wide + (length := int.from_bytes(data[8 : 8 + wide], "little"))
    if length > LONGEST_HEADER or start > len(data):
        raise ValueError(f"a .npy header of {length} bytes in {len(data)} bytes")
    found = HEADER.fullmatch(data[8 + wide : start])
    if found is None:
        raise ValueError("the header of the .npy is not one of an array of numbers")
    dtype = np.dtype(found[1].decode())
    if dtype.kind not in "biuf":
        raise ValueError(f"an array of numbers is wanted; got dtype {dtype}")
    shape = tuple(int(n) for n in found[3].replace(b" ", b"").split(b",") if n)
    if len(shape) > 32 or math.prod(shape) * dtype.itemsize != len(data) - start:
        raise ValueError(
            f"the header says {dtype} {shape}, which is not the size of the {len(data) - start} bytes after it"
        )
    flat = np.frombuffer(data, dtype, offset=start)
    values = flat.reshape(shape[::-1]).T if found[2] == b"True" else flat.reshape(shape)
    if not dtype.isnative or not values.flags.aligned:
        values = values.astype(dtype.newbyteorder("="))
        values.flags.writeable = False
    return values


def as_question(message: Assignment | Broadcast, plain: Mapping[str, Any], arrays: Mapping[str, Any]) -> RecordDict:
    """What a node gets: the message, what it has to know besides, and perhaps public rows."""
    fields, own = {}, dict(arrays)
    for name, value in {**plain, **vars(message)}.items():
        if isinstance(value, np.ndarray):
            own[name] = value
        elif value is not None:
            fields[name] = value
    fields["message"] = type(message).__name__
    return _record(fields, own)


def question_of(content: RecordDict) -> tuple[Assignment | Broadcast, dict[str, Any], dict[str, np.ndarray]]:
    """Message, plain values and arrays of a question; ValueError for anything else."""
    fields, arrays = _read(content)
    kinds: dict[Any, type] = {"Assignment": Assignment, "Broadcast": Broadcast}
    kind = kinds.get(fields.pop("message", None))
    if kind is None:
        raise ValueError("not a question of fastkd")
    told = {f: arrays.pop(f.name) if f.name in arrays else fields.pop(f.name, None) for f in dataclasses.fields(kind)}
    missing = [f.name for f, value in told.items() if value is None and "None" not in str(f.type)]
    if missing:
        raise ValueError(f"not a question of fastkd: {', '.join(missing)} missing")
    return kind(**{f.name: value for f, value in told.items()}), fields, arrays


def as_answer(answer: Predictions | Update | Failure) -> RecordDict:
    """What a node sends back."""
    fields: dict[str, Any] = {"round": answer.round}
    if isinstance(answer, Failure):
        return _record({**fields, "reason": answer.reason[:500]}, {})
    if isinstance(answer, Predictions):
        return _record({**fields, "count": answer.count}, {"values": answer.values})
    return _record({**fields, "loss": float(answer.loss)}, {"vector": answer.vector})


def answer_of(content: RecordDict, kind: type, client: str, question: Any) -> Predictions | Update | Failure:
    """The answer of a client to a question; ValueError says what was wrong with it."""
    fields, arrays = _read(content)
    number = fields.get("round")
    if type(number) is not int:
        raise ValueError("no number of a round")
    if isinstance(reason := fields.get("reason"), str):
        return Failure(client, number, reason[:500])
    name = "values" if kind is Predictions else "vector"
    if set(arrays) != {name}:
        raise ValueError(f"one array {name!r} is wanted; got {sorted(str(n)[:40] for n in arrays)[:5]}")
    if kind is Predictions:
        count = fields.get("count")
        return Predictions(client, number, question.answer_rows, arrays[name], count if type(count) is int else 0)
    loss = fields.get("loss")
    return Update(client, number, arrays[name], loss if isinstance(loss, float) else math.nan)


def _record(fields: Mapping[str, Any], arrays: Mapping[str, Any]) -> RecordDict:
    record = RecordDict({HEAD: ConfigRecord(dict(fields))})
    if arrays:
        record[ARRAYS] = ArrayRecord({name: pack(values) for name, values in arrays.items()})
    return record


def _read(content: RecordDict) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    extra = set(content) - {HEAD, ARRAYS}
    head, arrays = content.get(HEAD), content.get(ARRAYS, ArrayRecord())
    if extra or not isinstance(head, ConfigRecord) or not isinstance(arrays, ArrayRecord):
        raise ValueError(f"records {sorted(str(k)[:40] for k in content)[:5]} are no message of fastkd")
    return dict(head), {name: view(array) for name, array in arrays.items()}
