"""Candle columns from and to DataFrames; pandas and polars are imported only to make a frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastkd.market.csv_file import OPTIONAL, REQUIRED
from fastkd.market.errors import CandleError

__all__ = ["frame_columns", "make_frame"]


def frame_columns(frame: Any) -> dict[str, NDArray[Any]]:
    """Candle columns of anything whose columns are read as ``frame[name]``."""
    names = list(frame) if isinstance(frame, Mapping) else list(getattr(frame, "columns", ()))
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise CandleError(f"the frame lacks the column(s) {', '.join(missing)}; it has {', '.join(map(str, names))}")
    columns = {name: np.asarray(frame[name]) for name in REQUIRED + OPTIONAL if name in names}
    columns["start_ms"] = _milliseconds(frame["start_ms"])
    return columns


def make_frame(columns: Mapping[str, NDArray[Any]], kind: str) -> Any:
    """A DataFrame that owns copies of the columns."""
    data = {name: values.copy() for name, values in columns.items()}
    if kind == "pandas":
        import pandas

        return pandas.DataFrame(data)
    if kind == "polars":
        import polars

        return polars.DataFrame(data)
    raise ValueError(f"kind must be 'pandas' or 'polars'; got {kind!r}")


def _milliseconds(times: Any) -> NDArray[Any]:
    values = np.asarray(times)
    if values.dtype.kind == "O" and hasattr(times, "to_numpy"):  # pandas keeps zoned times as objects; this gives UTC
        values = times.to_numpy(dtype="datetime64[ms]")
    if values.dtype.kind != "M":
        return values
    if np.isnat(values).any():
        raise CandleError(f"row {int(np.argmax(np.isnat(values)))}: start_ms is not a time (NaT)")
    return values.astype("datetime64[ms]").astype(np.int64)
