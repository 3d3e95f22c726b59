"""Candle columns from and to Parquet files, with symbol and interval among the metadata (needs pyarrow)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastkd._files import whole_file
from fastkd.market.csv_file import OPTIONAL, REQUIRED
from fastkd.market.errors import CandleError
from fastkd.market.frames import frame_columns

__all__ = ["read_parquet_columns", "write_parquet_columns"]

NOTES = ("symbol", "interval")


def read_parquet_columns(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, str | None]]:
    """Candle columns of a Parquet file, and its notes on symbol and interval; other columns are not read."""
    arrow, parquet = _pyarrow()
    if not os.path.exists(path):
        raise FileNotFoundError(2, "No such file or directory", os.fspath(path))
    try:
        file = parquet.ParquetFile(path)
        names = [name for name in REQUIRED + OPTIONAL if name in file.schema_arrow.names]
        table = file.read(columns=names)
    except (arrow.ArrowException, OSError) as error:
        raise CandleError(f"{path}: not a Parquet file that can be read ({' '.join(str(error).split())})") from None
    try:
        columns = frame_columns({name: table[name].to_numpy() for name in names})
    except CandleError as error:
        raise CandleError(f"{path}: {error}") from None
    metadata = file.schema_arrow.metadata or {}
    notes = {name: metadata[name.encode()].decode() if name.encode() in metadata else None for name in NOTES}
    return columns, notes


def write_parquet_columns(
    path: str | os.PathLike[str], columns: Mapping[str, NDArray[Any]], notes: Mapping[str, str | None]
) -> None:
    """Write columns and notes; the old file stays until the new one is complete."""
    arrow, parquet = _pyarrow()
    metadata = {name: text for name, text in notes.items() if text is not None}
    table = arrow.table({name: np.ascontiguousarray(values) for name, values in columns.items()}, metadata=metadata)
    with whole_file(path) as unfinished:
        parquet.write_table(table, unfinished, compression="zstd")


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ImportError("Parquet files need pyarrow: pip install 'fastkd[parquet]'") from None
    return pyarrow, pyarrow.parquet
