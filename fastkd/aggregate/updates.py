"""Reading the updates of n clients, in place where they can be, without trust."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence, ValuesView
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastkd import _check
from fastkd._core import _native

__all__ = ["Updates", "read", "share_columns", "share_groups"]

COLUMNS = 1 << 14  # columns that a worker takes at a time
NOBODY = np.empty(0, np.int64)
SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


@dataclass
class Updates:
    """Updates of n clients, layer by layer.

    `layers[k]` is the table of the n rows (flat, C-contiguous) of layer k and `shapes[k]` its shape; a plain array is
    one layer, `listed` is False then. `clients` are the positions in what was given, `rejected` those that were not
    finite, `given` how many clients there were.
    """

    layers: list[_native.Rows]
    shapes: list[tuple[int, ...]]
    listed: bool
    dtype: np.dtype
    clients: np.ndarray
    rejected: np.ndarray
    given: int

    @property
    def n(self) -> int:
        return len(self.clients)

    def empty(self) -> list[np.ndarray]:
        """One flat array a layer, for a result."""
        return [np.empty(math.prod(shape), self.dtype) for shape in self.shapes]

    def shaped(self, flat: list[np.ndarray]) -> Any:
        """Flat layers in the shape of one update."""
        layers = [a.reshape(shape) for a, shape in zip(flat, self.shapes, strict=True)]
        return layers if self.listed else layers[0]

    def subset(self, rows: np.ndarray) -> Updates:
        """The updates at those positions."""
        layers = [_native.Rows([table.arrays[i] for i in rows]) for table in self.layers]
        return Updates(layers, self.shapes, self.listed, self.dtype, self.clients[rows], self.rejected, self.given)

    def shares_memory(self, a: np.ndarray) -> bool:
        return any(np.may_share_memory(a, row) for table in self.layers for row in table.arrays)


def read(updates: Any, *, look: bool = True) -> Updates:
    """Updates as tables of rows; those with NaN or inf apart, if we are to look for them.

    Raises
    ------
    ValueError
        For no or empty updates, and for a client whose shape differs from the first one's (named).
    TypeError
        For a client whose dtype is complex, object or text (named).
    """
    rows = list(updates) if type(updates) is np.ndarray and updates.ndim == 2 else updates
    # a matrix or vectors that serve as they are: no more to check (subclasses may be masked)
    if _native.alike(rows) and all(type(row) is np.ndarray for row in rows):
        rows, n = list(rows), len(rows)
        everyone = Updates([_native.Rows(rows)], [rows[0].shape], False, rows[0].dtype, np.arange(n), NOBODY, n)
        return without_rejected(everyone) if look else everyone
    each, listed = _per_client(updates)
    first = each[0]
    _require_alike(each, listed)
    if sum(a.size for a in first) == 0:
        raise ValueError(f"updates are empty: shape {first[0].shape if first else ()} of each client")
    single = all(a.dtype == SINGLE for layers in each for a in layers)
    dtype = SINGLE if single else DOUBLE
    tables = [_native.Rows([_flat(layers[k], dtype) for layers in each]) for k in range(len(first))]
    n = len(each)
    everyone = Updates(tables, [a.shape for a in first], listed, dtype, np.arange(n), NOBODY, n)
    return without_rejected(everyone) if look else everyone


def without_rejected(everyone: Updates) -> Updates:
    """Those updates that are finite; if none is, all, and all rejected."""
    bad = sorted({i for table in everyone.layers for i in table.not_finite()})
    if not bad:
        return everyone
    everyone.rejected = np.array(bad)
    whole = np.setdiff1d(everyone.clients, everyone.rejected)
    return everyone.subset(whole) if len(whole) else everyone


def _require_alike(each: list[list[np.ndarray]], listed: bool) -> None:
    shapes = [a.shape for a in each[0]]
    for i, layers in enumerate(each):
        got = [a.shape for a in layers]
        if got == shapes:
            continue
        if len(got) != len(shapes):
            raise ValueError(f"client {i} sent {len(got)} layers; client 0 sent {len(shapes)}: all must match")
        k = next(k for k in range(len(got)) if got[k] != shapes[k])
        layer = f", layer {k}," if listed else ""
        raise ValueError(f"client {i}{layer} has shape {got[k]}; client 0 has {shapes[k]}: all must match")


def _per_client(updates: Any) -> tuple[list[list[np.ndarray]], bool]:
    """A list of layers for each client, and whether they came as lists."""
    if hasattr(updates, "shape") or hasattr(updates, "__array__") or hasattr(updates, "__dlpack__"):
        a = _check.as_array(updates, "updates")
        if a.ndim < 2:
            raise ValueError(f"updates must be (n clients, d parameters) or a sequence of arrays; got shape {a.shape}")
        if len(a) == 0:
            raise ValueError(f"updates hold no client: shape {a.shape}")
        return [[row] for row in np.asarray(a)], False
    if isinstance(updates, Iterator | ValuesView):
        updates = list(updates)
    if not isinstance(updates, Sequence) or isinstance(updates, str | bytes):
        raise TypeError(f"updates must be an array or a sequence of arrays; got {type(updates).__name__}")
    if len(updates) == 0:
        raise ValueError("updates hold no client: an empty sequence")
    listed = [_is_layers(u) for u in updates]
    if any(listed) != all(listed):
        i = next(i for i, is_list in enumerate(listed) if is_list != listed[0])
        kinds = ("a list of layers", "one array") if listed[i] else ("one array", "a list of layers")
        raise ValueError(f"client {i} sent {kinds[0]}; client 0 sent {kinds[1]}: all must match")
    if listed[0]:
        return [[_array(a, f"client {i}, layer {k}") for k, a in enumerate(u)] for i, u in enumerate(updates)], True
    return [[_array(u, f"client {i}")] for i, u in enumerate(updates)], False


def _is_layers(update: Any) -> bool:
    """A list whose entries are arrays themselves: an update of several layers."""
    if not isinstance(update, list | tuple):
        return False
    return any(hasattr(a, "shape") and not isinstance(a, np.generic) for a in update)


def _array(a: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(_check.as_array(a, name))
    except (ValueError, TypeError) as error:
        if name in str(error):
            raise
        raise type(error)(f"{name}: {error}") from None


def _serves(a: np.ndarray) -> bool:
    """Whether a kernel can read the row where it lies."""
    return a.dtype in (SINGLE, DOUBLE) and a.dtype.isnative and a.flags.c_contiguous and a.flags.aligned


def _flat(a: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A row for the kernels: `a` itself where its memory serves, else a copy."""
    if a.ndim == 1 and a.dtype == dtype and _serves(a):
        return a
    with np.errstate(over="ignore"):  # what float64 cannot hold is inf, and rejected
        return np.require(a, dtype, ["C", "A"]).reshape(-1)


def share_columns(d: int, workers: int, work: Callable[[int, int], None]) -> None:
    """work(c0, c1) over all columns, in blocks of fixed size."""
    if workers == 1 or d <= COLUMNS:
        work(0, d)
        return
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda c: work(c, min(c + COLUMNS, d)), range(0, d, COLUMNS)))


def share_groups(workers: int, work: Callable[[int, int], None]) -> None:
    """work(first, step) for each worker."""
    if workers == 1:
        work(0, 1)
        return
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda w: work(w, workers), range(workers)))
