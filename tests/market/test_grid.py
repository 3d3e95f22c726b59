import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastkd.market import Candles
from fastkd.market.bybit_messages import INTERVALS
from fastkd.market.grid import Grid, missing_runs
from fastkd.market.times import time_to_ms, utc_text


@given(st.sampled_from(list(INTERVALS)), st.integers(10**12, 4 * 10**12))
def test_a_candle_holds_exactly_the_times_from_its_start_to_the_next(interval, ms):
    grid = Grid(interval)
    number = grid.number(ms)
    assert grid.start_ms(number) <= ms < grid.start_ms(number + 1)
    assert grid.number(grid.start_ms(number)) == number
    assert grid.first_from(grid.start_ms(number)) == number
    assert grid.first_from(grid.start_ms(number) + 1) == number + 1
    assert grid.last_closed(ms) == number - 1
    assert grid.number(np.array([ms])).tolist() == [number]
    assert grid.start_ms(np.array([number])).tolist() == [grid.start_ms(number)]


@pytest.mark.parametrize(
    ("interval", "expected"),
    [("5m", "2024-05-15 12:30"), ("4h", "2024-05-15 12:00"), ("W", "2024-05-13 00:00"), ("M", "2024-05-01 00:00")],
)
def test_starts_by_hand(interval, expected):
    grid = Grid(interval)
    assert utc_text(grid.start_ms(grid.number(time_to_ms("2024-05-15T12:34")))) == expected


@given(st.sets(st.integers(0, 40)), st.integers(0, 40), st.integers(0, 40))
def test_missing_runs_are_the_complement(numbers, a, b):
    first, last = min(a, b), max(a, b)
    runs = missing_runs(np.array(sorted(numbers), dtype=np.int64), first, last)
    inside = [n for low, high in runs for n in range(low, high + 1)]
    assert inside == sorted(set(range(first, last + 1)) - numbers)
    assert all(later[0] > earlier[1] + 1 for earlier, later in itertools.pairwise(runs))


def test_months_are_checked_by_the_calendar():
    months = [time_to_ms(f"2024-{month:02}-01") for month in (1, 2, 3, 6)]
    ones = np.ones(4)
    report = Candles(months, ones, ones, ones, ones, ones, interval="M").check()
    assert [(utc_text(gap.start_ms), gap.missing) for gap in report.gaps] == [("2024-04-01 00:00", 2)]
    assert not report.off_grid
