"""Candle columns from and to DataFrames; pandas and polars are imported only to make a frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastkd.market.csv_file import OPTIONAL, REQUIRED
from fastkd.market.errors import CandleError
from fastkd.market.times import time_to_ms

__all__ = ["frame_columns", "make_frame"]

# What the open time is called, in the order of preference: here, by ccxt, Binance, freqtrade, yfinance and others.
TIMES = ("start_ms", "timestamp", "open_time", "date", "datetime", "time")
# Whole numbers as times: from this size on they are in this unit, for times between 1973 and 5138.
UNITS = ((1e17, "nanoseconds", 1e-6), (1e14, "microseconds", 1e-3), (1e11, "milliseconds", 1.0), (1e8, "seconds", 1e3))


def frame_columns(frame: Any) -> dict[str, NDArray[Any]]:
    """Candle columns of anything whose columns are read as ``frame[name]``; see `Candles.from_frame`."""
    names = list(frame) if isinstance(frame, Mapping) else list(getattr(frame, "columns", ()))
    known = _by_plain_name(names)
    wanted = [name for name in REQUIRED if name != "start_ms"]
    time = next((name for name in TIMES if name in known), None)
    index = getattr(frame, "index", None)
    index_dtype = getattr(index, "dtype", None)
    dated = getattr(index_dtype, "kind", "") == "M"
    missing = [name for name in wanted if name not in known]
    if time is None and not dated:
        missing.insert(0, "start_ms (or timestamp, date, or an index of times)")
    if missing:
        raise CandleError(f"the frame lacks the column(s) {', '.join(missing)}; it has {', '.join(map(str, names))}")
    columns: dict[str, NDArray[Any]] = {}
    columns["start_ms"] = _milliseconds(index, "the index") if time is None else _times(frame[known[time]], time)
    for name in (*wanted, *OPTIONAL):
        if name in known:
            columns[name] = np.asarray(frame[known[name]])
    return columns


def _by_plain_name(names: list[Any]) -> dict[str, Any]:
    """Lower-case name -> the frame's own; of columns in two levels, as yfinance's, the level that names prices."""
    found: dict[str, Any] = {}
    for name in names:
        parts = name if isinstance(name, tuple) else (name,)
        plain = next((p for part in parts if (p := str(part).lower()) in (*REQUIRED, *OPTIONAL, *TIMES)), None)
        if plain is None:
            continue
        if plain in found:
            hint = ": give one market at a time" if isinstance(name, tuple) else ""
            raise CandleError(f"the frame has two columns for {plain!r}, {found[plain]!r} and {name!r}{hint}")
        found[plain] = name
    return found


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


def _times(times: Any, name: str) -> NDArray[Any]:
    """UTC milliseconds of a column of times; numbers of a column that is not `start_ms` by their size."""
    values = _milliseconds(times, name)
    if values.dtype.kind not in "iuf" or not values.size or np.asarray(times).dtype.kind not in "iuf":
        return values
    if name == "start_ms":
        return _require_milliseconds(values)
    if not np.isfinite(values).all():
        raise CandleError(f"row {int(np.argmin(np.isfinite(values)))}: {name} is not a time")
    size = float(np.median(np.abs(values)))
    fits = [(unit, factor) for least, unit, factor in UNITS if size >= least]
    if not fits:
        raise CandleError(f"column {name!r} holds numbers around {size:g}, which are no times since 1973 in any unit")
    unit, factor = fits[0]
    scaled = values if factor == 1.0 else np.round(values.astype(np.float64) * factor)
    if values.dtype.kind in "iu" and factor < 1.0:  # beyond 2^53 a float64 would round
        scaled = values // round(1 / factor)
    stray = np.abs(scaled - float(np.median(scaled))) > 1.5e12
    if stray.any():
        row = int(np.argmax(stray))
        raise CandleError(f"row {row}: {name} is {values[row]}, while most are {unit}")
    return scaled.astype(np.int64)


def _require_milliseconds(values: NDArray[Any]) -> NDArray[Any]:
    """Refuse a column `start_ms` whose numbers are plainly of another unit."""
    size = float(np.median(np.abs(values)))
    unit = next((unit for least, unit, _ in UNITS if size >= least), "milliseconds")
    if unit != "milliseconds":
        raise CandleError(
            f"start_ms holds numbers around {size:g}, which are {unit}; multiply them to milliseconds, or name the "
            "column 'timestamp', whose unit is told by its size"
        )
    return values


def _milliseconds(times: Any, name: str) -> NDArray[Any]:
    values = np.asarray(times)
    if values.dtype.kind == "O" and hasattr(times, "dtype") and hasattr(times.dtype, "tz"):
        values = times.to_numpy(dtype="datetime64[ms]")  # pandas keeps zoned times as objects; this gives UTC
    if values.dtype.kind in "OUT":
        return np.array([_moment(value, row, name) for row, value in enumerate(values.tolist())], np.int64)
    if values.dtype.kind != "M":
        return values
    if np.isnat(values).any():
        raise CandleError(f"row {int(np.argmax(np.isnat(values)))}: {name} is not a time (NaT)")
    return values.astype("datetime64[ms]").astype(np.int64)


def _moment(value: Any, row: int, name: str) -> int:
    try:
        return time_to_ms(value.isoformat() if hasattr(value, "isoformat") else value, name)
    except (TypeError, ValueError) as error:
        raise CandleError(f"row {row}: {error}") from None
