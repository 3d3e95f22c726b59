"""Candles from wherever they are kept: CSV, Parquet, a store, standard input."""

from __future__ import annotations

import os
import sys
import tempfile
from typing import IO

from fastkd.market.candles import Candles
from fastkd.market.errors import CandleError
from fastkd.market.store import CandleStore, StoredSeries
from fastkd.market.times import normalize_interval

__all__ = ["read_candles", "stored_category"]

SQLITE, PARQUET, GZIP = b"SQLite format 3\0", b"PAR1", b"\x1f\x8b"


def read_candles(
    source: str | os.PathLike[str],
    *,
    symbol: str | None = None,
    interval: str | int | None = None,
    category: str | None = None,
) -> Candles:
    """Candles of a file, told by its first bytes, sorted and possible; any fault is an error of one line.

    Parameters
    ----------
    source : path
        A CSV file (gzip where the name ends in ``.gz``), a Parquet file, a `CandleStore`, or "-" for CSV (also gzip)
        or Parquet on standard input.
    symbol, interval
        Of a store they choose the series, and may be left out where it holds one; of a file they tell what it holds.
    category : str, optional
        Of a store; by default the one it has.

    Raises
    ------
    OSError
        The file cannot be read.
    CandleError
        A ValueError: the file is damaged, or holds candles that are unsorted, impossible or of another interval.
    ValueError
        A store has no such series, or several.
    """
    path = os.fspath(source)
    if path in ("-", "/dev/stdin"):
        return _from_pipe(sys.stdin.buffer, symbol, interval)
    with open(path, "rb") as file:
        begin = file.read(len(SQLITE))
    if begin == SQLITE:
        return _from_store(path, symbol, interval, category)
    if category is not None:
        raise ValueError(f"category is for a store of candles; {path} is none")
    if begin[: len(PARQUET)] == PARQUET:
        return Candles.read_parquet(path, symbol=symbol, interval=interval).require_clean()
    return Candles.read_csv(path, symbol=symbol, interval=interval, strict=True)


def stored_category(
    source: str | os.PathLike[str],
    *,
    symbol: str | None = None,
    interval: str | int | None = None,
    category: str | None = None,
) -> str | None:
    """Category of the series that `read_candles` takes from a store; None for a file, which does not say."""
    path = os.fspath(source)
    if path in ("-", "/dev/stdin"):
        return None
    with open(path, "rb") as file:
        if file.read(len(SQLITE)) != SQLITE:
            return None
    with CandleStore(path) as store:
        return _chosen(store, path, symbol, interval, category).category


def _from_store(path: str, symbol: str | None, interval: str | int | None, category: str | None) -> Candles:
    with CandleStore(path) as store:
        chosen = _chosen(store, path, symbol, interval, category)
        return store.read(chosen.symbol, chosen.interval, category=chosen.category).require_clean()


def _chosen(
    store: CandleStore, path: str, symbol: str | None, interval: str | int | None, category: str | None
) -> StoredSeries:
    length = None if interval is None else normalize_interval(interval)
    held = store.series()
    found = [
        series
        for series in held
        if symbol in (None, series.symbol) and length in (None, series.interval) and category in (None, series.category)
    ]
    if len(found) != 1:
        names = ", ".join(f"{s.symbol} {s.interval} ({s.category})" for s in held) or "nothing"
        which = "no such series" if not found else "several series"
        raise ValueError(f"{path} has {which}: say symbol and interval (and category); it holds {names}")
    return found[0]


def _from_pipe(pipe: IO[bytes], symbol: str | None, interval: str | int | None) -> Candles:
    data = pipe.read()
    if not data:
        raise CandleError("standard input is empty; expected candles as CSV or Parquet")
    kind = ".parquet" if data[:4] == PARQUET else ".csv.gz" if data[:2] == GZIP else ".csv"
    with tempfile.TemporaryDirectory() as folder:  # the readers want a name
        path = os.path.join(folder, f"standard-input{kind}")
        with open(path, "wb") as file:
            file.write(data)
        try:
            return read_candles(path, symbol=symbol, interval=interval)
        except CandleError as error:
            raise CandleError(str(error).replace(path, "standard input")) from None
