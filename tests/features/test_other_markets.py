"""Features of several markets with gaps in each: other markets count as of their latest closed candle, never later."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastkd.features import FeatureSet, LookAheadError, check_prefix_invariance
from fastkd.market import Candle, Candles, synthetic_market

N = 60
OWN, ETH, SOL = (synthetic_market(N, random_state=seed) for seed in range(3))
FEATURES = FeatureSet("rich", horizons=(1, 3), windows=(2,), volume_window=2, symbols=("ETH", "SOL"))
COLUMNS = [f"{symbol}_return_{k}" for symbol in ("ETH", "SOL") for k in (1, 3)]

present = st.lists(st.booleans(), min_size=N - 1, max_size=N - 1).map(lambda kept: np.array([True, *kept]))


def thinned(candles, keep):
    return Candles(*(getattr(candles, name)[keep] for name in Candle._fields), interval=candles.interval)


def latest_closed(other, moment_ms):
    """Close of the latest candle that has closed by then, by a plain search."""
    known = [candle.close for candle in other if candle.start_ms + other.interval_ms <= moment_ms]
    return known[-1]


def changed_after(other, moment_ms):
    """The same candles as long as they have closed by then, other prices afterwards."""
    later = other.start_ms + other.interval_ms > moment_ms
    columns = [getattr(other, name) * np.where(later, 3.0, 1.0) for name in Candle._fields[1:]]
    return Candles(other.start_ms, *columns, interval=other.interval)


@given(own=present, eth=present, sol=present)
@settings(max_examples=30, deadline=None)
def test_other_markets_count_as_of_their_latest_closed_candle(own, eth, sol):
    candles, others = thinned(OWN, own), {"ETH": thinned(ETH, eth), "SOL": thinned(SOL, sol)}
    X, known_at_ms = FEATURES.transform(candles, others)
    moments = candles.start_ms + candles.interval_ms
    assert known_at_ms.tolist() == moments[FEATURES.n_warmup :].tolist()
    closes = {symbol: [latest_closed(other, moment) for moment in moments] for symbol, other in others.items()}
    for column in COLUMNS:
        symbol, k = column.split("_return_")
        expected = [
            np.log(closes[symbol][t] / closes[symbol][t - int(k)]) for t in range(FEATURES.n_warmup, len(candles))
        ]
        np.testing.assert_allclose(X[:, FEATURES.names.index(column)], expected, atol=1e-13)


@given(own=present, eth=present, sol=present, cut=st.integers(FEATURES.n_warmup, N - 2))
@settings(max_examples=30, deadline=None)
def test_what_closes_later_in_any_market_changes_no_row(own, eth, sol, cut):
    own[: FEATURES.n_warmup + 1] = True
    candles, others = thinned(OWN, own), {"ETH": thinned(ETH, eth), "SOL": thinned(SOL, sol)}
    X, known_at_ms = FEATURES.transform(candles, others)
    moment = int(OWN.start_ms[cut]) + OWN.interval_ms
    Y, _ = FEATURES.transform(changed_after(candles, moment), {s: changed_after(o, moment) for s, o in others.items()})
    known = int((known_at_ms <= moment).sum())
    assert X[:known].tobytes() == Y[:known].tobytes()
    only_past = {symbol: other[: int((other.start_ms < moment).sum())] for symbol, other in others.items()}
    Z, _ = FEATURES.transform(candles[: FEATURES.n_warmup + known], only_past)
    assert X[:known].tobytes() == Z.tobytes()


@given(own=present, eth=present, sol=present, cut=st.integers(1, N - 2))
@settings(max_examples=15, deadline=None)
def test_the_stream_gives_the_same_bits_across_gaps_of_all_markets(own, eth, sol, cut):
    candles, others = thinned(OWN, own), {"ETH": thinned(ETH, eth), "SOL": thinned(SOL, sol)}
    X, _ = FEATURES.transform(candles, others)
    stream, rows, given_ms = FEATURES.stream(interval=OWN.interval), [], {"ETH": -1, "SOL": -1}
    for t, candle in enumerate(candles):
        if t == cut:
            stream = FEATURES.stream(json.loads(json.dumps(stream.state())))
        latest = {}
        for symbol, other in others.items():
            began = int(np.searchsorted(other.start_ms, candle.start_ms, side="right")) - 1
            if other.start_ms[began] > given_ms[symbol]:  # as it comes in live: each candle once
                latest[symbol], given_ms[symbol] = other[began], int(other.start_ms[began])
        row = stream.push(candle, latest)
        rows += [] if row is None else [row]
    assert np.array(rows).reshape(X.shape).tobytes() == X.tobytes()


def test_dating_another_market_one_candle_too_early_is_caught():
    rng = np.random.default_rng(0)
    own, eth, sol = (thinned(market, np.append(True, rng.random(N - 1) < 0.7)) for market in (OWN, ETH, SOL))

    def known_by(candles, other):
        return other[: int(np.searchsorted(other.start_ms, candles.start_ms[-1], side="right"))]

    def transform(candles):
        return FEATURES.transform(candles, {"ETH": known_by(candles, eth), "SOL": known_by(candles, sol)})

    def leaky(candles):
        known = known_by(candles, eth)
        columns = [np.append(getattr(known, name)[1:], getattr(known, name)[-1]) for name in Candle._fields[1:]]
        early = Candles(known.start_ms, *columns, interval=eth.interval)
        return FEATURES.transform(candles, {"ETH": early, "SOL": known_by(candles, sol)})

    check_prefix_invariance(transform, own)
    with pytest.raises(LookAheadError):
        check_prefix_invariance(leaky, own)
