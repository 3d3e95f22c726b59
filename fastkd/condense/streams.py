"""Partitioned data as streams of blocks: Parquet files, Dask and Polars frames that do not fit in memory."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fastkd.condense.rows import BLOCK
from fastkd.models._hyperparameters import integer

__all__ = ["frame_blocks", "parquet_blocks"]

Blocks = Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]


def parquet_blocks(path: Any, features: Sequence[str], label: str, *, size: int = BLOCK) -> Blocks:
    """A stream of (X, y) blocks of Parquet files, for `condense` (needs pyarrow).

    Parameters
    ----------
    path : path, pattern or list of paths
        File; folder of files; pattern such as "candles/*/part-*.parquet", whose files are read in order of their names.
    features : sequence of str
        Columns of X, in this order.
    label : str
        Column of y.
    size : int
        Rows a block at most.

    Raises
    ------
    FileNotFoundError
        When it is read: no file matches the pattern.
    """
    integer("size", size, low=1)
    columns = [*features, label]

    def read() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        import pyarrow.dataset  # type: ignore[import-untyped]

        found: Any = path
        if isinstance(path, str | os.PathLike) and glob.has_magic(os.fspath(path)):
            found = sorted(glob.glob(os.fspath(path), recursive=True))
            if not found:
                raise FileNotFoundError(f"no file matches {os.fspath(path)!r}")
        for batch in pyarrow.dataset.dataset(found).to_batches(columns=columns, batch_size=size):
            if batch.num_rows:
                values = [batch.column(name).to_numpy(zero_copy_only=False) for name in columns]
                yield np.column_stack(values[:-1]), values[-1]

    return read


def frame_blocks(frame: Any, features: Sequence[str], label: str, *, size: int = BLOCK) -> Blocks:
    """A stream of (X, y) blocks of a frame, for `condense`: of a lazy one only a block or partition is in memory.

    Parameters
    ----------
    frame : frame of Dask, Polars or pandas
        Dask: one partition at a time. A Polars LazyFrame: batches of its streaming engine. Frames in memory: slices.
    features : sequence of str
        Columns of X, in this order.
    label : str
        Column of y.
    size : int
        Rows a block at most, where the frame does not decide that itself (Dask).

    Raises
    ------
    TypeError
        Something else.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [0.0, 1.0, 0.0], "y": [0, 1, 0]})
    >>> for X, y in frame_blocks(frame, ["a", "b"], "y", size=2)():
    ...     print(X.shape, y)
    (2, 2) [0 1]
    (1, 2) [0]
    """
    integer("size", size, low=1)
    columns = [*features, label]
    parts = _parts(frame, columns, size)

    def read() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for part in parts():
            if len(part):
                values = [part[name].to_numpy() for name in columns]
                yield np.column_stack(values[:-1]), values[-1]

    return read


def _parts(frame: Any, columns: list[str], size: int) -> Callable[[], Iterator[Any]]:
    """Frames in memory, one after the other."""
    if hasattr(frame, "npartitions") and hasattr(frame, "get_partition"):  # Dask
        wanted = frame[columns]
        return lambda: (wanted.get_partition(k).compute() for k in range(wanted.npartitions))
    if hasattr(frame, "collect") and hasattr(frame, "select"):  # a LazyFrame of Polars
        lazy = frame.select(columns)
        if hasattr(lazy, "collect_batches"):
            return lambda: iter(lazy.collect_batches(chunk_size=size))
        return lambda: _slices(lazy, size)
    if hasattr(frame, "columns") and hasattr(frame, "__len__"):
        wanted = frame[columns]
        return lambda: (wanted[at : at + size] for at in range(0, len(wanted), size))
    raise TypeError(f"frame must be one of Dask, Polars or pandas; got {type(frame).__name__}")


def _slices(lazy: Any, size: int) -> Iterator[Any]:
    """Of a Polars before batches: the plan is run for each."""
    at = 0
    while len(part := lazy.slice(at, size).collect()):
        yield part
        at += size
