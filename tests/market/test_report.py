import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastkd.market import CandleError, Candles, Gap

HOUR = 3_600_000


def flat(starts, interval="1h", **changed):
    """Candles without a move; `changed` sets values, for example high={3: 0.5}."""
    columns = {name: np.ones(len(starts)) for name in ("open", "high", "low", "close", "volume")}
    for name, values in changed.items():
        if name == "turnover":
            columns[name] = np.ones(len(starts))
        for row, value in values.items():
            columns[name][row] = value
    return Candles(starts, **columns, interval=interval)


@given(st.sets(st.integers(0, 60), min_size=1))
def test_gaps_are_exactly_the_missing_candles(hours):
    candles = flat([HOUR * h for h in sorted(hours)])
    report = candles.check()
    missing = {gap.start_ms // HOUR + i for gap in report.gaps for i in range(gap.missing)}
    assert missing == set(range(min(hours), max(hours) + 1)) - hours
    assert report.n_missing == len(missing)
    assert report.ok == (not missing)
    assert candles.require_clean() is candles


@given(st.lists(st.integers(0, 9), max_size=12))
def test_duplicates_and_order_agree_with_a_plain_loop(hours):
    report = flat([HOUR * h for h in hours]).check()
    assert report.duplicates == tuple(i for i, h in enumerate(hours) if h in hours[:i])
    assert report.unsorted == tuple(i for i in range(1, len(hours)) if hours[i] < hours[i - 1])


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"high": {2: 0.5}}, "high is below max(open, close)"),
        ({"low": {2: 1.5}}, "low is above min(open, close)"),
        ({"open": {2: 0.0}}, "open is not a positive finite number"),
        ({"close": {2: -1.0}}, "close is not a positive finite number"),
        ({"low": {2: np.nan}}, "low is not a positive finite number"),
        ({"high": {2: np.inf}}, "high is not a positive finite number"),
        ({"volume": {2: -1.0}}, "volume is negative or not finite"),
        ({"volume": {2: np.nan}}, "volume is negative or not finite"),
        ({"turnover": {2: -1.0}}, "turnover is negative or not finite"),
        ({"turnover": {2: np.inf}}, "turnover is negative or not finite"),
    ],
)
def test_impossible_candles_are_found_and_refused(changed, reason):
    candles = flat([0, HOUR, 2 * HOUR, 3 * HOUR], **changed)
    report = candles.check()
    assert [tuple(bad) for bad in report.impossible] == [(2, 2 * HOUR, reason)]
    assert not report.ok
    assert reason in str(report)
    with pytest.raises(CandleError) as raised:
        candles.require_clean()
    assert str(raised.value) == f"row 2 (1970-01-01 02:00 UTC): {reason}"


@pytest.mark.parametrize("changed", [{"volume": {1: 0.0}}, {"turnover": {1: np.nan}}, {"turnover": {1: 0.0}}])
def test_no_trade_and_unknown_turnover_are_no_faults(changed):
    assert flat([0, HOUR], **changed).check().ok


@pytest.mark.parametrize(
    ("starts", "message"),
    [
        ([0, 2 * HOUR, HOUR], "row 2 .*: start_ms is earlier than in the row before"),
        ([0, HOUR, HOUR], "row 1 |row 2 .*: start_ms is a duplicate of an earlier row"),
    ],
)
def test_wrong_order_is_refused(starts, message):
    with pytest.raises(CandleError, match=message):
        flat(starts).require_clean()


def test_stamps_off_the_grid_are_reported_and_leave_a_gap():
    report = flat([0, HOUR, 2 * HOUR + 1, 3 * HOUR]).check()
    assert report.off_grid == (2,)
    assert report.gaps == (Gap(2 * HOUR, 1),)
    assert "off grid    1 (first in row 2)" in str(report)


def test_close_times_given_as_open_times_are_off_the_grid():
    assert len(flat([HOUR - 1, 2 * HOUR - 1]).check().off_grid) == 2


def test_days_and_weeks_may_start_at_any_hour():
    day = 24 * HOUR
    assert flat([17 * HOUR, 17 * HOUR + day], "1d").check().ok
    assert flat([4 * day, 11 * day], "1w").check().ok
    assert flat([4 * day, 11 * day, 18 * day + 1], "1w").check().off_grid == (2,)


def test_summary_counts_everything():
    text = str(flat([0, HOUR, HOUR, 5 * HOUR, 4 * HOUR], low={0: 2.0}).check())
    assert text.splitlines() == [
        "5 candles, interval 1h: faults",
        "  gaps        1 (2 candles missing; longest 2 from 1970-01-01 02:00 UTC)",
        "  duplicates  1 (first in row 2)",
        "  unsorted    1 (first in row 4)",
        "  impossible  1 (first in row 0, 1970-01-01 00:00 UTC: low is above min(open, close))",
    ]


def test_no_candles_are_ok():
    assert Candles([], [], [], [], [], []).check().ok
