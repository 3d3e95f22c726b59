"""Columns of candles joined, cut and put together to longer candles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastkd.market.errors import CandleError
from fastkd.market.grid import Grid
from fastkd.market.times import MONTH, interval_name, interval_to_ms, utc_text

__all__ = ["check_interval", "joined", "resampled"]

Columns = dict[str, NDArray[Any]]


def check_interval(start_ms: NDArray[np.int64], interval: str, where: str) -> None:
    """Raise a CandleError if candles cannot have that interval: their closes would be known too early or too late."""
    steps, counts = np.unique(np.diff(np.unique(start_ms)), return_counts=True)
    if not len(steps):
        return
    usual = int(steps[np.argmax(counts)])
    if interval == MONTH:
        wrong = usual < 28 * 86_400_000
    else:
        length = interval_to_ms(interval)
        wrong = usual < length or (usual > length and length not in steps)
    if wrong:
        raise CandleError(
            f"{where}: interval={interval!r} was given, but most candles are {interval_name(usual)} apart"
        )


def joined(parts: Sequence[Mapping[str, NDArray[Any]]]) -> Columns:
    """Rows of all parts in time order; a candle that two parts have counts once and must be the same in both."""
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(columns["start_ms"], kind="stable")
    columns = {name: values[order] for name, values in columns.items()}
    starts = columns["start_ms"]
    again = np.flatnonzero(starts[1:] == starts[:-1]) + 1
    for name, values in columns.items():
        one, other = values[again - 1], values[again]
        differ = ~((one == other) | (np.isnan(one) & np.isnan(other) if values.dtype.kind == "f" else False))
        if name != "turnover" and differ.any():
            row = again[int(np.argmax(differ))]
            when = utc_text(int(starts[row]))
            raise CandleError(f"{when} UTC: two different candles, {name} {values[row - 1]} and {values[row]}")
    keep = np.ones(len(starts), bool)
    keep[again] = False
    return {name: values[keep] for name, values in columns.items()}


def resampled(columns: Mapping[str, NDArray[Any]], interval: str, longer: str, incomplete: str) -> Columns:
    """Candles of a longer interval: first open, highest high, lowest low, last close, summed volume and turnover."""
    if incomplete not in ("drop", "keep"):
        raise ValueError(f"incomplete must be 'drop' or 'keep'; got {incomplete!r}")
    step, grid = interval_to_ms(interval), Grid(longer)
    if grid.step_ms is not None and (grid.step_ms % step or grid.step_ms < step):
        raise ValueError(f"candles of {interval} do not make up candles of {longer}")
    starts = columns["start_ms"]
    numbers = grid.number(starts)
    first = np.flatnonzero(np.r_[True, numbers[1:] != numbers[:-1]][: len(numbers)])
    if not len(first):
        return {name: values.copy() for name, values in columns.items()}
    last = np.r_[first[1:], len(starts)] - 1
    begins = grid.start_ms(numbers[first])
    ends = grid.start_ms(numbers[first] + 1)
    found: Columns = {
        "start_ms": begins,
        "open": columns["open"][first],
        "high": np.maximum.reduceat(columns["high"], first),
        "low": np.minimum.reduceat(columns["low"], first),
        "close": columns["close"][last],
        "volume": np.add.reduceat(columns["volume"], first),
        "turnover": np.add.reduceat(columns["turnover"], first),
    }
    if incomplete == "drop":
        whole = (last - first + 1) * step == ends - begins
        found = {name: values[whole] for name, values in found.items()}
    return found
