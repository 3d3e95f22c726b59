"""The schedule that the market sets: laws on synthetic candles, and the crash of October 2025."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastkd.distill import AdaptiveSchedule
from fastkd.features.changes import PageHinkley
from fastkd.federated import Client, FedMD
from fastkd.market import Candles
from fastkd.models import MLPClassifier


def walk(*parts, seed=0):
    """Closes of a random walk; each part is (candles, deviation of a return)."""
    rng = np.random.default_rng(seed)
    return 100 * np.exp(np.cumsum(np.concatenate([rng.normal(0, s, n) for n, s in parts])))


def test_volatile_is_often_and_sharp_calm_is_seldom_and_soft():
    closes = walk((600, 0.002), (100, 0.006), (600, 0.002), (100, 0.0007))
    steps = AdaptiveSchedule(fast=24, slow=500, detector=False).plan(closes)
    usual, storm, lull = steps[590], steps[660], steps[-1]
    assert (usual.regime, storm.regime, lull.regime) == ("normal", "volatile", "calm")
    assert storm.interval < usual.interval < lull.interval
    assert storm.temperature < usual.temperature < lull.temperature
    due = np.array([step.distill for step in steps])
    assert due[610:700].sum() > 2 * due[510:600].sum()
    assert not any(step.restart for step in steps)


def test_by_hand():
    """Returns 1, -1, 1, -1, 2, -2 (per mille): volatilities 1, 1, 1, sqrt(2.5), 2 with the median 1."""
    closes = 100 * np.exp(np.cumsum(np.array([0, 1, -1, 1, -1, 2, -2]) * 1e-3))
    step = AdaptiveSchedule(fast=2, slow=6, temperature=4.0, interval=10, detector=False).plan(closes)[-1]
    v = 2.0
    assert step.volatility == pytest.approx(v)
    assert step.temperature == pytest.approx(4 / np.sqrt(v))
    assert step.interval == round(10 / v)


@settings(max_examples=25)
@given(st.integers(40, 120), st.integers(0, 5))
def test_the_future_does_not_change_what_was_said(cut, seed):
    closes = walk((100, 0.001), (30, 0.01), seed=seed)
    options = {"fast": 5, "slow": 30, "interval": 4}
    whole = AdaptiveSchedule(**options).plan(closes)
    assert AdaptiveSchedule(**options).plan(closes[:cut]) == whole[:cut]
    bent = np.concatenate([closes[:cut], closes[cut:] * 7])
    assert AdaptiveSchedule(**options).plan(bent)[:cut] == whole[:cut]


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=60))
def test_bounds_hold_for_any_prices(closes):
    schedule = AdaptiveSchedule(fast=2, slow=10, temperature_range=(1.5, 4.0), interval_range=(2, 9))
    steps = schedule.plan(closes)
    assert all(1.5 <= step.temperature <= 4.0 and 2 <= step.interval <= 9 for step in steps)
    assert all(step.distill for step in steps if step.restart)


def test_one_wild_candle_is_no_regime_but_many_are():
    closes = walk((1000, 0.001))
    jumped = np.concatenate([closes[:700], closes[700:] * 1.2])
    schedule = {"fast": 24, "slow": 300}
    assert not any(s.restart for s in AdaptiveSchedule(**schedule).plan(jumped))
    wild = walk((700, 0.001), (40, 0.006))
    restarts = [s.candle for s in AdaptiveSchedule(**schedule).plan(wild) if s.restart]
    assert restarts
    assert 700 < restarts[0] < 730


def test_a_detector_of_ones_own():
    schedule = AdaptiveSchedule(fast=5, slow=50, detector=PageHinkley(20.0, warmup=50))
    found = schedule.plan(walk((200, 0.001), (50, 0.01)))
    assert any(step.restart for step in found[200:])
    with pytest.raises(TypeError, match="detector needs update"):
        AdaptiveSchedule(detector=3)


def test_bad_arguments():
    for options, text in [({"fast": 10, "slow": 10}, "slow"), ({"temperature_range": (2, 1)}, "temperature_range"),
                          ({"interval_range": (0.5, 2)}, "interval_range"), ({"calm": 2.0}, "volatile")]:  # fmt: skip
        with pytest.raises(ValueError, match=text):
            AdaptiveSchedule(**options)
    with pytest.raises(ValueError, match="close"):
        AdaptiveSchedule().update(0.0)
    with pytest.raises(ValueError, match="no round is due"):
        AdaptiveSchedule().rounds([1.0, 1.1])(0)


def test_it_drives_a_federation():
    closes = walk((300, 0.001), (60, 0.006))
    rounds = AdaptiveSchedule(fast=12, slow=200, interval=60).rounds(closes)
    X = np.random.default_rng(0).normal(size=(90, 3))
    y = (X[:, 0] > 0).astype(int)
    parts = [slice(0, 20), slice(20, 40)]
    clients = [Client(f"c{k}", MLPClassifier(hidden=(4,)), X[part], y[part]) for k, part in enumerate(parts)]
    result = FedMD(clients, X[40:], schedule=rounds, rounds=len(rounds), revisit_epochs=1, digest_epochs=1,
                   initial_epochs=2, random_state=0).run()  # fmt: skip
    assert result.series("restart") == [step.restart for step in rounds.steps]
    assert True in result.series("restart")
    assert len(set(result.series("temperature"))) > 2


CRASH = np.datetime64("2025-10-10T20:50")  # the first candle of the fall closed at 20:55 UTC


@pytest.mark.parametrize("symbol", ["BNBUSDT", "ADAUSDT"])
def test_the_crash_of_october_2025(data_dir, symbol):
    path = data_dir / f"bybit_linear_{symbol}_5m_crash2025-10.csv.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not among the recorded candles")
    candles = Candles.read_csv(path)
    crash = int(np.searchsorted(candles.start_ms.astype("datetime64[ms]"), CRASH))
    candles = candles[crash - 1500 : crash + 600]
    times = candles.start_ms.astype("datetime64[ms]")
    steps = AdaptiveSchedule(fast=12, slow=576, interval=48).plan(candles.close)
    before = int(np.searchsorted(times, CRASH)) - 1
    during = steps[before + 1 : before + 25]  # two hours
    calm = steps[before - 288 : before]
    assert min(s.temperature for s in during) < min(s.temperature for s in calm)
    assert min(s.interval for s in during) < min(s.interval for s in calm) / 2
    assert any(s.restart for s in during)
    assert sum(s.distill for s in during) > 24 / 48 * 3
    later = steps[before + 288 :][:288]
    assert np.median([s.temperature for s in later]) > min(s.temperature for s in during)


@pytest.mark.parametrize(
    ("symbol", "at_21", "restart"), [("BNBUSDT", (9, 1.79), "21:35"), ("ADAUSDT", (3, 1.07), "21:40")]
)
def test_the_crash_with_the_settings_of_the_guide(data_dir, symbol, at_21, restart):
    """What docs/federation.md says, by the times of the closes."""
    path = data_dir / f"bybit_linear_{symbol}_5m_crash2025-10.csv.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not among the recorded candles")
    candles = Candles.read_csv(path)
    crash = int(np.searchsorted(candles.start_ms.astype("datetime64[ms]"), CRASH))
    candles = candles[crash - 3000 : crash + 20]
    closes = (candles.start_ms + 300_000).astype("datetime64[ms]").astype("datetime64[m]").astype(str)
    steps = dict(zip(closes, AdaptiveSchedule().plan(candles.close), strict=True))
    nine = steps["2025-10-10T21:00"]
    assert (nine.interval, round(nine.temperature, 2)) == at_21
    assert (steps["2025-10-10T21:20"].interval, steps["2025-10-10T21:20"].temperature) == (1, 1.0)
    assert [at for at, step in steps.items() if step.restart and at > "2025-10-10T16"] == [f"2025-10-10T{restart}"]
