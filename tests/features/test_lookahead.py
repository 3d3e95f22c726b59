"""Nothing looks ahead: our features pass the test that leaky ones fail, and give nothing where the future is noise."""

import numpy as np
import pytest

from fastkd import evaluation
from fastkd.features import (
    FeatureSet,
    LookAheadError,
    Standardizer,
    check_prefix_invariance,
    forward_returns,
    time_split,
    windows,
)
from fastkd.market import Candles, synthetic_market

MARKET = synthetic_market(300, random_state=0)
NAMES = ("ohlcv4", "regime3", "condense6", "rich")


@pytest.mark.parametrize("name", NAMES)
def test_our_features_pass(name):
    check_prefix_invariance(FeatureSet(name).transform, MARKET, cuts=300)
    check_prefix_invariance(FeatureSet(name).fit(MARKET[:100]).transform, MARKET)


def returns_ahead(candles):
    return np.append(candles.close[1:] / candles.close[:-1] - 1, np.nan)


def one_candle_early(candles):
    """Dates each row at the open of its candle."""
    X, known_at_ms = FeatureSet("ohlcv4").transform(candles)
    return X, known_at_ms - candles.interval_ms


def without_the_tail(candles):
    """Centered: the row of candle t needs candle t + 1, and drops the last so that nobody sees it."""
    X = (candles.close[2:] / candles.close[:-2])[:, None]
    return X, candles.start_ms[1:-1] + candles.interval_ms


def scaled_by_all(candles):
    X, known_at_ms = FeatureSet("regime3").transform(candles)
    return (X, known_at_ms) if not len(X) else (Standardizer().fit_transform(X), known_at_ms)


def scaled_by_its_window(candles):
    """Each forecast window normalized with candles that lie in it, as in a model that predicts several steps."""
    future = np.convolve(candles.close, np.ones(5), "full")[4 : 4 + len(candles)]
    return candles.close / future


def filled_backwards(candles):
    volume = candles.volume.copy()
    volume[:-1:7] = volume[1::7]
    return volume


LEAKS = [returns_ahead, one_candle_early, without_the_tail, scaled_by_all, scaled_by_its_window, filled_backwards]


@pytest.mark.parametrize("transform", LEAKS, ids=lambda f: f.__name__)
def test_leaky_features_are_caught(transform):
    with pytest.raises(LookAheadError, match=r"changes when candles are added|said to be known"):
        check_prefix_invariance(transform, MARKET)


def test_the_message_names_row_and_column():
    def transform(candles):
        X = np.zeros((len(candles), 3))
        X[:, 2] = np.arange(len(candles)) >= 7
        X[5:, 2] += len(candles) > 100
        return X

    with pytest.raises(LookAheadError, match="row 5, column 2 changes when candles are added after 2024-01-01"):
        check_prefix_invariance(transform, MARKET, cuts=400)


def test_a_transform_must_say_when_rows_are_known():
    with pytest.raises(ValueError, match=r"one row a candle; got X of shape \(299, 1\)"):
        check_prefix_invariance(lambda candles: candles.close[1:, None], MARKET)
    with pytest.raises(ValueError, match="at least 2 candles"):
        check_prefix_invariance(lambda candles: candles.close, MARKET[:1])


def shuffled(candles, seed):
    """The candles in another order, chained price to price: what follows a candle has nothing to do with it."""
    rows = np.random.default_rng(seed).permutation(len(candles))
    open_ = candles.open[rows]
    close = 100 * np.cumprod(candles.close[rows] / open_)
    first = close / (candles.close[rows] / open_)
    shape = [first * column[rows] / open_ for column in (candles.high, candles.low)]
    high, low = np.maximum(shape[0], np.maximum(first, close)), np.minimum(shape[1], np.minimum(first, close))
    return Candles(candles.start_ms, first, high, low, close, candles.volume[rows], interval=candles.interval)


def skill(candles, transform, n_warmup):
    """Share of the log-loss that logistic regression takes off the class shares, out of sample: up or down next?"""
    from sklearn.linear_model import LogisticRegression

    X = transform(candles)[0][:-1]
    y = (forward_returns(candles)[n_warmup:-1] > 0).astype(int)
    train, test = time_split(len(X), purge=1)
    scaler = Standardizer().fit(X[train])
    model = LogisticRegression(C=0.1, max_iter=500).fit(scaler.transform(X[train]), y[train])
    figures = evaluation.evaluate(y[test], model.predict_proba(scaler.transform(X[test])))
    return 1.0 - figures.log_loss / figures.no_skill_log_loss


@pytest.mark.parametrize("name", NAMES)
def test_where_the_future_is_shuffled_our_features_give_nothing_and_a_leak_gives_much(data_dir, name):
    pytest.importorskip("sklearn")
    candles = Candles.read_csv(data_dir / "bybit_linear_BTCUSDT_1h.csv.gz")[-12_000:]
    candles = shuffled(candles, 0)
    assert candles.check().ok
    features = FeatureSet(name)

    def leaky(some):
        """The mean of a centered window of three returns: a smoothing that reaches one candle ahead."""
        X, known_at_ms = features.transform(some)
        returns = np.diff(np.log(some.close), prepend=np.log(some.close[0]))
        smooth = np.convolve(returns, np.ones(3) / 3)[1 : 1 + len(returns)][features.n_warmup :]
        return np.column_stack([X, smooth]), known_at_ms

    assert skill(candles, features.transform, features.n_warmup) < 0.005
    assert skill(candles, leaky, features.n_warmup) > 0.1
    check_prefix_invariance(features.transform, candles[:400])
    with pytest.raises(LookAheadError, match=f"column {len(features.names)} changes"):
        check_prefix_invariance(leaky, candles[:400])


def test_windows_of_features_look_no_further_than_the_features():
    def transform(candles):
        X, known_at_ms = FeatureSet("ohlcv4").transform(candles)
        W = windows(X, 5)
        return W.reshape(len(W), 20), known_at_ms[4:]

    check_prefix_invariance(transform, MARKET)
