"""Candles: an immutable table of open, high, low, close, volume and turnover over time."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastkd.market.csv_file import read_columns, write_columns
from fastkd.market.errors import CandleError
from fastkd.market.frames import frame_columns, make_frame
from fastkd.market.grid import Grid
from fastkd.market.parquet_file import read_parquet_columns, write_parquet_columns
from fastkd.market.report import CandleReport, check_candles
from fastkd.market.tables import check_interval, joined, resampled
from fastkd.market.times import MONTH, interval_name, interval_to_ms, normalize_interval, range_to_ms, utc_text

__all__ = ["Candle", "Candles"]


LATEST_MS = 2**53  # what float64, pandas and JSON hold exactly


class Candle(NamedTuple):
    """One candle; ``start_ms`` is its open time in UTC milliseconds, ``turnover`` is NaN where unknown."""

    start_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    turnover: float = float("nan")


class Candles:
    """Closed candles of one market as immutable columns.

    Parameters
    ----------
    start_ms : array_like of int, shape (n,)
        Open times, UTC milliseconds.
    open, high, low, close, volume : array_like of float, shape (n,)
    turnover : array_like of float, shape (n,), optional
        Volume in quote currency. Without it the column is NaN throughout, which means unknown.
    symbol : str, optional
    interval : str or int, optional
        For example ``"5m"`` or ``"1h"``; other spellings are normalized (`normalize_interval`). If not given it is the
        most common step between start times, the shortest of equally common ones, and None below two distinct times.

    Raises
    ------
    CandleError
        Columns differ in length or shape, or a start time is not a whole number.
    TypeError
        A column does not hold real numbers.

    Notes
    -----
    Construction copies the columns and marks them read-only. It accepts rows in any order and with any values:
    `check` reports faults, `require_clean` raises on them.

    Examples
    --------
    >>> candles = Candles([0, 60_000], [1.0, 2.0], [2.5, 3.0], [1.0, 1.5], [2.0, 1.5], [10.0, 20.0], symbol="XY")
    >>> candles
    Candles(XY, 1m, 2 rows, 1970-01-01 00:00 .. 1970-01-01 00:01 UTC)
    >>> candles[-1].close
    1.5
    >>> candles[:1].high
    array([2.5])
    >>> print(candles.check())
    2 candles, interval 1m: ok
    """

    start_ms: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    turnover: NDArray[np.float64]
    symbol: str | None
    interval: str | None

    def __init__(
        self,
        start_ms: ArrayLike,
        open: ArrayLike,
        high: ArrayLike,
        low: ArrayLike,
        close: ArrayLike,
        volume: ArrayLike,
        turnover: ArrayLike | None = None,
        *,
        symbol: str | None = None,
        interval: str | int | None = None,
    ) -> None:
        starts = _column("start_ms", start_ms)
        columns = {"start_ms": starts}
        given = {"open": open, "high": high, "low": low, "close": close, "volume": volume, "turnover": turnover}
        for name, values in given.items():
            columns[name] = np.full(len(starts), np.nan) if values is None else _column(name, values)
            if len(columns[name]) != len(starts):
                raise CandleError(f"column '{name}' has {len(columns[name])} rows, start_ms has {len(starts)}")
        for values in columns.values():
            values.flags.writeable = False
        spelled = _infer_interval(starts) if interval is None else normalize_interval(interval)
        self.__dict__.update(columns, symbol=symbol, interval=spelled)

    @property
    def interval_ms(self) -> int:
        """Length of a candle in milliseconds; CandleError if the interval is unknown."""
        if self.interval is None:
            raise CandleError(f"the interval of {len(self)} candle(s) cannot be inferred; pass interval=, such as '5m'")
        return interval_to_ms(self.interval)

    @property
    def close_ms(self) -> NDArray[np.int64]:
        """When each candle closes: the open time of the one after it, UTC milliseconds."""
        if self.interval == MONTH:
            grid = Grid(MONTH)
            return np.array([grid.start_ms(grid.number(int(start)) + 1) for start in self.start_ms], np.int64)
        return self.start_ms + self.interval_ms

    @classmethod
    def read_csv(
        cls,
        path: str | os.PathLike[str],
        *,
        symbol: str | None = None,
        interval: str | int | None = None,
        strict: bool = False,
    ) -> Candles:
        """Read a CSV file with a header, gzip where the name ends in ``.gz``.

        Parameters
        ----------
        path : path
            Columns ``start_ms,open,high,low,close,volume`` and, if there, ``turnover``, in any order; others are
            ignored.
        symbol, interval
            As in `Candles`; the file does not hold them.
        strict : bool
            Also refuse unsorted, duplicated and impossible candles (`require_clean`).

        Raises
        ------
        FileNotFoundError
            There is no such file.
        CandleError
            The file is empty, damaged, lacks a column or holds something that is not a number. The message is one
            line with the file, the line number and the column.
        """
        candles = Candles(**read_columns(path), symbol=symbol, interval=interval)._checked_interval(interval, path)
        if strict and len(candles) and 10**9 < candles.start_ms[-1] < 10**11:
            raise CandleError(f"{path}: start_ms looks like seconds ({candles.start_ms[-1]}); multiply by 1000")
        if strict and (fault := candles.check().fault):
            raise CandleError(f"{path}: line {fault[0] + 2}: {fault[1]}")
        return candles

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a CSV file, gzip where the name ends in ``.gz``; `read_csv` gives back the same bits.

        The turnover column is left out if it is NaN throughout. The file appears under its name only when complete.
        """
        write_columns(path, self._known_columns())

    @classmethod
    def read_parquet(
        cls, path: str | os.PathLike[str], *, symbol: str | None = None, interval: str | int | None = None
    ) -> Candles:
        """Read a Parquet file with the columns of `read_csv`; `start_ms` may be a time stamp. Needs pyarrow.

        Files written by `to_parquet` hold symbol and interval; what is given here comes first.
        """
        columns, notes = read_parquet_columns(path)
        found = Candles(**columns, symbol=symbol or notes["symbol"], interval=interval or notes["interval"])
        return found._checked_interval(interval, path)

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Write a Parquet file with symbol and interval, from which `read_parquet` gives equal candles."""
        write_parquet_columns(path, self._known_columns(), {"symbol": self.symbol, "interval": self.interval})

    @classmethod
    def from_frame(cls, frame: Any, *, symbol: str | None = None, interval: str | int | None = None) -> Candles:
        """Candles from a pandas or polars DataFrame, or a mapping of arrays, such as ccxt, freqtrade and yfinance give.

        Parameters
        ----------
        frame : DataFrame or mapping
            Columns open, high, low, close, volume and, if there, turnover, in any case; others are ignored. The open
            time is a column ``start_ms``, ``timestamp``, ``open_time``, ``date``, ``datetime`` or ``time``, or the
            index. Date-times without a zone are taken as UTC, text is ISO 8601; numbers in ``start_ms`` must be
            milliseconds, in the others are seconds, milli-, micro- or nanoseconds by their size.
        symbol, interval
            As in `Candles`.

        Raises
        ------
        CandleError
            A column is missing or there twice, a time is none, or the candles are of another interval.

        Examples
        --------
        >>> Candles.from_frame({"timestamp": [1704067200, 1704067260], "Open": [1, 2], "High": [2, 2], "Low": [1, 1],
        ...                     "Close": [2, 1], "Volume": [5, 6]}, symbol="XY")
        Candles(XY, 1m, 2 rows, 2024-01-01 00:00 .. 2024-01-01 00:01 UTC)
        """
        found = Candles(**frame_columns(frame), symbol=symbol, interval=interval)
        return found._checked_interval(interval, "the frame")

    @classmethod
    def concatenate(cls, parts: Iterable[Candles]) -> Candles:
        """The candles of several tables of one market in time order; a candle that two have counts once.

        Raises
        ------
        CandleError
            Symbols or intervals differ, or two tables have different candles of the same time.
        ValueError
            There are no tables.

        Examples
        --------
        >>> from fastkd.market import synthetic_market
        >>> candles = synthetic_market(100, random_state=0)
        >>> Candles.concatenate([candles[40:], candles[:60]]) == Candles.concatenate([candles])
        True
        """
        tables = list(parts)
        if not tables:
            raise ValueError("concatenate needs at least one table of candles")
        for name in ("symbol", "interval"):
            found = {getattr(table, name) for table in tables if len(table)} or {getattr(tables[0], name)}
            known = found - {None}
            if len(known) > 1:
                raise CandleError(f"tables of one market are joined; these have {name}s {', '.join(sorted(known))}")
        symbol, interval = (next((v for t in tables if (v := getattr(t, n)) is not None), None)
                            for n in ("symbol", "interval"))  # fmt: skip
        return Candles(**joined([table._columns() for table in tables]), symbol=symbol, interval=interval)

    def between(self, start: Any = None, end: Any = None) -> Candles:
        """The candles that open at `start` or later and at `end` or earlier; None leaves that end open.

        Times are milliseconds, datetimes or ISO strings, UTC; see `fastkd.market.times.time_to_ms`.

        Examples
        --------
        >>> from fastkd.market import synthetic_market
        >>> synthetic_market(1000, random_state=0).between("2024-01-01T06:00", "2024-01-01T07:00")
        Candles(SYNTHETIC, 5m, 13 rows, 2024-01-01 06:00 .. 2024-01-01 07:00 UTC)
        """
        low, high = range_to_ms(start, end)
        inside = np.ones(len(self), bool)
        if low is not None:
            inside &= self.start_ms >= low
        if high is not None:
            inside &= self.start_ms <= high
        columns = {name: values[inside] for name, values in self._columns().items()}
        return Candles(**columns, symbol=self.symbol, interval=self.interval)

    def named(self, symbol: str | None) -> Candles:
        """The same candles under another symbol."""
        return Candles(**self._columns(), symbol=symbol, interval=self.interval)

    def resample(self, interval: str | int, *, incomplete: str = "drop") -> Candles:
        """Candles of a longer interval, on the exchanges' grid: days from midnight UTC, weeks from Monday, months.

        Parameters
        ----------
        interval : str or int
            A multiple of this one.
        incomplete : {"drop", "keep"}
            What to do with a longer candle of which parts are missing: at both ends and at gaps.

        Raises
        ------
        ValueError
            The interval is no multiple.
        CandleError
            Candles are unsorted, duplicated or impossible.

        Examples
        --------
        >>> from fastkd.market import synthetic_market
        >>> synthetic_market(100, random_state=0).resample("1h")
        Candles(SYNTHETIC, 1h, 8 rows, 2024-01-01 00:00 .. 2024-01-01 07:00 UTC)
        """
        self.require_clean()
        longer, own = normalize_interval(interval), interval_name(self.interval_ms)
        columns = resampled(self._columns(), own, longer, incomplete)
        return Candles(**columns, symbol=self.symbol, interval=longer)

    def to_frame(self, kind: str = "pandas") -> Any:
        """A new DataFrame of all columns; `kind` is ``"pandas"`` or ``"polars"``."""
        return make_frame({name: getattr(self, name) for name in Candle._fields}, kind)

    def check(self) -> CandleReport:
        """Look for gaps, duplicates, impossible values, wrong order and start times off the grid.

        Returns
        -------
        CandleReport
            ``.ok`` is True if nothing was found.
        """
        return check_candles(self)

    def require_clean(self) -> Self:
        """Return these candles, or raise CandleError if any is unsorted, duplicated or impossible; gaps may stay."""
        fault = self.check().fault
        if fault:
            row, reason = fault
            raise CandleError(f"row {row} ({utc_text(int(self.start_ms[row]))} UTC): {reason}")
        return self

    def _columns(self) -> dict[str, NDArray[Any]]:
        return {name: getattr(self, name) for name in Candle._fields}

    def _checked_interval(self, given: str | int | None, where: Any) -> Candles:
        if given is not None:
            check_interval(self.start_ms, normalize_interval(given), str(where))
        return self

    def _known_columns(self) -> dict[str, NDArray[Any]]:
        names = Candle._fields[:-1] if np.isnan(self.turnover).all() else Candle._fields
        return {name: getattr(self, name) for name in names}

    def _slice(self, rows: slice) -> Candles:
        columns = {name: getattr(self, name)[rows] for name in Candle._fields}
        return Candles(**columns, symbol=self.symbol, interval=self.interval)

    def __len__(self) -> int:
        return len(self.start_ms)

    @overload
    def __getitem__(self, rows: slice) -> Self: ...
    @overload
    def __getitem__(self, rows: int) -> Candle: ...
    def __getitem__(self, rows: slice | int) -> Candles | Candle:
        if isinstance(rows, slice):
            if rows.step not in (None, 1):
                raise ValueError(f"candles are sliced in time order without skipping; got step {rows.step}")
            return self._slice(rows)
        try:
            row = operator.index(rows)
        except TypeError:
            raise TypeError(f"candles take one integer or a slice, not {type(rows).__name__}") from None
        return Candle(*(getattr(self, name)[row].item() for name in Candle._fields))

    def __iter__(self) -> Iterator[Candle]:
        return map(Candle, *(getattr(self, name).tolist() for name in Candle._fields))

    def __eq__(self, other: object) -> bool:
        """Equal columns (NaN equals NaN), symbol and interval."""
        if not isinstance(other, Candles):
            return NotImplemented
        return (self.symbol, self.interval) == (other.symbol, other.interval) and all(
            np.array_equal(getattr(self, name), getattr(other, name), equal_nan=True) for name in Candle._fields
        )

    __hash__ = None  # type: ignore[assignment]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"candles are immutable: cannot set '{name}'")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"candles are immutable: cannot delete '{name}'")

    def __repr__(self) -> str:
        span = f", {utc_text(self.start_ms[0].item())} .. {utc_text(self.start_ms[-1].item())} UTC" if len(self) else ""
        return f"{type(self).__name__}({self.symbol or '-'}, {self.interval or '-'}, {len(self)} rows{span})"


def _column(name: str, values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "iuf" and array.size:
        raise TypeError(f"column '{name}' must hold real numbers; got dtype {array.dtype}")
    if array.ndim != 1:
        raise CandleError(f"column '{name}' must have one dimension; got shape {array.shape}")
    if name != "start_ms":
        return np.array(array, dtype=np.float64)
    if array.dtype.kind == "f" and array.size and not np.all(np.isfinite(array) & (array == np.floor(array))):
        row = int(np.argmin(np.isfinite(array) & (array == np.floor(array))))
        raise CandleError(f"row {row}: start_ms must be a whole number of milliseconds; got {array[row]}")
    if array.size and not (array.min() >= -LATEST_MS and array.max() <= LATEST_MS):
        row = int(np.argmax((array < -LATEST_MS) | (array > LATEST_MS)))
        raise CandleError(f"row {row}: start_ms must be UTC milliseconds, within 2^53 of 1970; got {array[row]}")
    return np.array(array, dtype=np.int64)


def _infer_interval(start_ms: NDArray[np.int64]) -> str | None:
    steps, counts = np.unique(np.diff(np.unique(start_ms)), return_counts=True)
    return interval_name(int(steps[np.argmax(counts)])) if len(steps) else None  # argmax: the first, so the shortest
