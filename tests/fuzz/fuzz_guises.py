"""Forms in which the same numbers may come: other layouts, other classes, other owners; and what is hostile."""

from collections.abc import Callable
from typing import Any

import numpy as np


def memory_at(a: np.ndarray, offset: int) -> np.ndarray:
    """A C-contiguous copy whose data begins `offset` bytes after an aligned address."""
    block = np.empty(a.nbytes + 64 + offset, np.uint8)
    start = -block.ctypes.data % 64 + offset
    copy = block[start : start + a.nbytes].view(a.dtype).reshape(a.shape)
    copy[...] = a
    return copy


def record_field(a: np.ndarray) -> np.ndarray:
    records = np.zeros(a.shape, [("before", "u1"), ("value", a.dtype), ("after", "u1")])
    records["value"] = a
    return records["value"]


def rows_of_records(a: np.ndarray) -> np.ndarray:
    """The last axis is a field of each record: contiguous rows, nothing aligned."""
    if a.ndim == 0:
        return a
    records = np.zeros(a.shape[:-1], [("before", "u1"), ("value", a.dtype, a.shape[-1:])])
    records["value"] = a
    return records["value"]


def reversed_memory(a: np.ndarray) -> np.ndarray:
    return np.flip(np.flip(a).copy())


def every_other(a: np.ndarray) -> np.ndarray:
    wide = np.full((*a.shape[:-1], 2 * a.shape[-1]) if a.ndim else (), np.nan if a.dtype.kind == "f" else 99).astype(
        a.dtype
    )
    wide[..., ::2] = a
    return wide[..., ::2]


def read_only(a: np.ndarray) -> np.ndarray:
    copy = a.copy()
    copy.flags.writeable = False
    return copy


class Subclass(np.ndarray):
    """Like a memory map: other behavior, same memory."""

    def __array_finalize__(self, of: Any) -> None:
        self.note = getattr(of, "note", "")

    def min(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("a method of a subclass was called")

    max = sum = any = all = min


class Holder:
    """Knows `__array__` only."""

    def __init__(self, a: np.ndarray, before: Callable[[], Any] = lambda: None):
        self.a, self.before = a, before

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        self.before()
        return self.a if dtype is None else self.a.astype(dtype)


class Tensor:
    """Knows DLPack only."""

    def __init__(self, a: np.ndarray):
        self.a = np.ascontiguousarray(a)

    def __dlpack__(self, **options: Any) -> Any:
        return self.a.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.a.__dlpack_device__()


# The result must have the same bits in all of them.
GUISES: dict[str, Callable[[np.ndarray], Any]] = {
    "unaligned by 1": lambda a: memory_at(a, 1),
    "unaligned by half": lambda a: memory_at(a, a.itemsize // 2),
    "aligned to the item only": lambda a: memory_at(a, a.itemsize),
    "field of records": record_field,
    "rows of records": rows_of_records,
    "Fortran order": lambda a: np.asfortranarray(a),
    "reversed memory": reversed_memory,
    "every other number": every_other,
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "read-only": read_only,
    "subclass": lambda a: a.copy().view(Subclass),
    "masked array without a masked entry": lambda a: np.ma.array(a.copy(), mask=False),
    "__array__": Holder,
    "DLPack": Tensor,
}


def masked(a: np.ndarray) -> np.ndarray:
    mask = np.zeros(a.shape, bool)
    mask.flat[a.size // 2] = True
    return np.ma.array(a.copy(), mask=mask)
