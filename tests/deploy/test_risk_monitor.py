"""RiskMonitor: hysteresis, verdicts of the teacher, and what happens when something fails."""

import threading

import numpy as np
import pytest

from fastkd.deploy import RiskMonitor
from fastkd.evaluation import coverage, value_at_risk
from fastkd.features import FeatureSet, Standardizer
from fastkd.market import Candles
from fastkd.models import MLPRegressor


def first(row):
    return row[0]


def kinds(monitor):
    return [event.kind for event in monitor.events]


def settled(monitor):
    """The monitor after the teacher's verdict."""
    monitor._pending[0].exception(timeout=30)
    monitor.poll()
    return monitor


def test_a_risk_near_one_threshold_does_not_switch_at_every_tick():
    monitor = RiskMonitor(first, trip=1.0, reset=0.8, calm=3)
    wobble = [0.99, 1.0] * 20
    assert [monitor.update([x]) for x in wobble] == [False] + [True] * 39
    assert [monitor.update([x]) for x in (0.7, 0.7, 0.8, 0.7, 0.7, 0.7, 0.99)] == [True] * 5 + [False] * 2
    assert kinds(monitor) == ["halt", "release"]
    assert monitor.ticks == 47


def test_a_confirmed_alarm_stands_until_it_is_calm():
    with RiskMonitor(first, trip=1.0, reset=0.5, validate=lambda row: 2 * row[0]) as monitor:
        assert monitor.update([1.5])
        assert settled(monitor).halted
        assert kinds(monitor) == ["halt", "confirmed"]
        assert monitor.events[-1].risk == 3.0
        assert monitor.update([0.6])
        assert not monitor.update([0.4])


def test_a_dismissed_alarm_is_taken_back_and_arms_again():
    with RiskMonitor(first, trip=1.0, reset=0.5, validate=lambda row: 0.1) as monitor:
        assert monitor.update([1.2])
        assert not settled(monitor).halted
        assert not monitor.update([1.6])  # the alarm at 1.2 was false; 1.2 + (1.0 - 0.5) is not reached
        assert monitor.update([1.7])
        assert not settled(monitor).halted
        assert not monitor.update([0.4])
        assert monitor.update([1.0])  # armed as at first
        assert kinds(settled(monitor)) == ["halt", "dismissed"] * 3


def test_the_teacher_works_in_the_background_on_the_row_that_tripped():
    go, seen = threading.Event(), []

    def teacher(row):
        go.wait(30)
        seen.append(row.copy())
        return 0.0

    with RiskMonitor(first, trip=1.0, reset=0.5, validate=teacher) as monitor:
        row = np.array([1.5, 7.0])
        assert monitor.update(row)
        row[:] = 1.4, 8.0  # the caller's buffer, used again
        assert monitor.update(row)
        assert kinds(monitor) == ["halt"]  # no verdict yet: the halt stands, nobody waits
        go.set()
        assert not settled(monitor).halted
    np.testing.assert_array_equal(seen, [[1.5, 7.0]])


def test_a_verdict_on_an_alarm_that_has_passed_does_not_touch_the_next():
    go = threading.Event()

    def teacher(row):
        go.wait(30)
        return 0.0 if row[0] == 1.5 else 9.0

    with RiskMonitor(first, trip=1.0, reset=0.5, validate=teacher) as monitor:
        assert [monitor.update([x]) for x in (1.5, 0.1, 2.0)] == [True, False, True]
        go.set()
        assert settled(monitor).halted
        assert kinds(monitor) == ["halt", "release", "halt", "confirmed"]


@pytest.mark.parametrize("bad", [lambda row: np.nan, lambda row: np.inf, lambda row: 1 / 0, lambda row: row])
def test_what_cannot_be_seen_halts(bad):
    with RiskMonitor(lambda row: bad(row) if row[1] else 0.0, trip=1.0, reset=0.5, validate=lambda row: 0.0) as monitor:
        assert not monitor.update([0.0, 0.0])
        assert monitor.update([0.0, 1.0])
        assert settled(monitor).halted  # the teacher's word does not mend the student
        assert not monitor.update([0.0, 0.0])
    assert np.isnan(monitor.events[0].risk) or np.isinf(monitor.events[0].risk)


@pytest.mark.parametrize("teacher", [lambda row: 1 / 0, lambda row: np.nan, lambda row: "high", lambda row: [0, 0]])
def test_a_teacher_that_fails_dismisses_nothing(teacher):
    with RiskMonitor(first, trip=1.0, reset=0.5, validate=teacher) as monitor:
        monitor.update([1.0])
        assert settled(monitor).halted
        assert kinds(monitor) == ["halt", "unchecked"]


def test_only_the_latest_events_are_kept():
    monitor = RiskMonitor(first, trip=1.0, reset=0.5, keep=3)
    for _ in range(10):
        monitor.update([2.0])
        monitor.update([0.0])
    assert [e.tick for e in monitor.events] == [17, 18, 19]


def test_bad_arguments_are_named():
    for changes, name in (
        ({"trip": 0.5}, "reset"),
        ({"reset": np.nan}, "reset"),
        ({"trip": np.inf}, "reset"),
        ({"calm": 0}, "calm"),
        ({"calm": 1.5}, "calm"),
        ({"keep": 0}, "keep"),
    ):
        with pytest.raises(ValueError, match=name):
            RiskMonitor(first, **({"trip": 1.0, "reset": 0.5} | changes))
    for changes, name in (({"trip": "a"}, "trip"), ({"validate": 3}, "validate")):
        with pytest.raises(TypeError, match=name):
            RiskMonitor(first, **({"trip": 1.0, "reset": 0.5} | changes))
    with pytest.raises(TypeError, match="risk"):
        RiskMonitor(None, trip=1.0, reset=0.5)


def test_the_crash_of_october_2025(data_dir):
    """A student of a trailing value at risk, trained before the crash, halts in it and nearly nowhere before."""
    candles = Candles.read_csv(data_dir / "bybit_linear_BNBUSDT_5m_crash2025-10.csv.gz")
    features = FeatureSet("condense6")
    X, _ = features.transform(candles)
    losses = -np.diff(np.log(candles.close))[features.n_warmup - 1 :]  # the loss of the candle that ends each row
    ewma, decay = np.empty(len(losses)), 0.9
    level = losses[:100].std() ** 2
    for i, loss in enumerate(losses):
        level = decay * level + (1 - decay) * loss**2
        ewma[i] = np.sqrt(level)
    window = 200  # filtered historical simulation: losses in units of their volatility, scaled to that of now
    units = losses[1:] / ewma[:-1]
    teacher = np.array([value_at_risk(units[i - window : i]) * ewma[i] for i in range(window, len(units))])
    rows, after = X[window : len(units)], losses[window + 1 :]
    assert coverage(after, teacher).exceeded < 3 * coverage(after, teacher).expected
    cut = int(np.argmax(np.abs(after))) - 100  # training ends eight hours before the worst candle
    scaler = Standardizer().fit(rows[:cut])
    student = MLPRegressor(hidden=(16,), epochs=60, learning_rate=0.005, random_state=0)
    student.fit(scaler.transform(rows[:cut]), teacher[:cut])
    student.scaler = scaler
    trip = 1.5 * np.quantile(teacher[:cut], 0.99)
    with RiskMonitor(student.predictor(), trip=trip, reset=0.6 * trip) as monitor:
        halted = np.array([monitor.update(row) for row in rows])
    assert halted[:cut].mean() < 0.02
    assert halted[cut + 95 : cut + 115].any()
