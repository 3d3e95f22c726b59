import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastkd.features import FeatureSet, Regime, RegimeClusters, regime_labels, time_split
from fastkd.market import Candles, synthetic_market

MARKET = synthetic_market(1500, random_state=0)


def same_candle(candles, **options):
    with pytest.warns(UserWarning, match="reads the answer"):
        return regime_labels(candles, "same_candle", **options)


def test_names_and_order():
    assert (Regime.BULL, Regime.BEAR, Regime.SIDEWAYS) == (0, 1, 2)


@given(st.integers(1, 20), st.sampled_from([0.001, 0.0, "volatility"]))
def test_every_known_move_has_one_regime(window, threshold):
    future = regime_labels(MARKET, window=window, threshold=threshold, volatility_window=30)
    trailing = regime_labels(MARKET, "trailing", window=window, threshold=threshold, volatility_window=30)
    head = 30 if threshold == "volatility" else 0
    assert (future[:head] == -1).all()
    assert (future[-window:] == -1).all()
    assert (future[head:-window] >= 0).all()
    assert (trailing[: max(head, window)] == -1).all()
    assert (trailing[max(head, window) :] >= 0).all()
    move = np.log(MARKET.close[window:] / MARKET.close[:-window])
    if threshold != "volatility":
        clear = np.abs(np.abs(move) - threshold) > 1e-12
        expected = np.where(move > threshold, 0, np.where(move < -threshold, 1, 2))
        assert (future[:-window] == expected)[clear].all()
        assert (trailing[window:] == future[:-window]).all()  # the same move, seen from its end


@given(st.integers(60, 1500))
def test_no_regime_looks_further_than_it_says(n):
    options = {"window": 7, "volatility_window": 50}
    assert (regime_labels(MARKET[:n], "trailing", **options) == regime_labels(MARKET, "trailing", **options)[:n]).all()
    assert (regime_labels(MARKET[:n], **options)[: n - 7] == regime_labels(MARKET, **options)[: n - 7]).all()


def test_same_candle_regimes_warn_and_leak(recwarn):
    pytest.importorskip("sklearn")
    from sklearn.linear_model import LogisticRegression

    leaky = same_candle(MARKET, threshold=0.001)
    move = (MARKET.close - MARKET.open) / MARKET.open
    assert (leaky == np.where(move > 0.001, 0, np.where(move < -0.001, 1, 2))).all()
    features = FeatureSet("regime3").fit(MARKET[:1000])
    X, _ = features.transform(MARKET)
    regime_labels(MARKET)
    assert not recwarn.list  # only the leaking variant warns
    train, test = time_split(len(X), purge=12)
    scores = []
    for labels in (leaky, regime_labels(MARKET, window=1, threshold=0.001)):
        y = labels[features.n_warmup :]
        fitted = LogisticRegression(C=1e6, max_iter=2000).fit(X[train], y[train])
        known = test[y[test] >= 0]
        scores.append(fitted.score(X[known], y[known]))
    assert scores[0] > 0.95
    assert scores[1] < 0.75


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"source": "past"}, "'future', 'trailing' or 'same_candle'; got 'past'"),
        ({"window": 0}, "window must be at least 1"),
        ({"threshold": -1.0}, "finite number >= 0"),
        ({"threshold": "quantile"}, "or 'volatility'; got 'quantile'"),
        ({"factor": -1.0}, "factor must be"),
    ],
)
def test_bad_arguments_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        regime_labels(MARKET, **options)


def two_state_market(seed):
    """200 candles of small moves up, then 200 of large moves down, and so on."""
    rng = np.random.default_rng(seed)
    state = (np.arange(2000) // 200) % 2
    close = 100 * np.exp(
        np.cumsum(np.where(state == 0, 0.0004, -0.0008) + np.where(state, 0.004, 0.0005) * rng.standard_normal(2000))
    )
    return Candles(60_000 * np.arange(2000), close, close, close, close, np.ones(2000)), state


def test_clusters_find_the_states_of_a_made_market():
    candles, state = two_state_market(0)
    clusters = RegimeClusters(2, window=30, random_state=0).fit(candles[:1200])
    found = clusters.predict(candles)
    assert (found[:30] == -1).all()
    assert clusters.centers_[0, 0] < clusters.centers_[1, 0]  # the lowest return first
    settled = np.arange(2000) % 200 >= 30
    settled[:30] = False
    assert (found == 1 - state)[settled].mean() > 0.95


def test_clusters_know_the_past_alone():
    candles, _ = two_state_market(1)
    one = RegimeClusters(3, window=20, random_state=1).fit(candles[:900])
    other = RegimeClusters(3, window=20, random_state=1).fit(candles[:900])
    assert one.centers_.tobytes() == other.centers_.tobytes()
    whole = one.predict(candles)
    for n in (20, 21, 500, 1999):
        assert (one.predict(candles[:n]) == whole[:n]).all()
    assert len(one.predict(candles[:5])) == 5


def test_clusters_explain_misuse():
    with pytest.raises(ValueError, match="not fitted"):
        RegimeClusters().predict(MARKET)
    with pytest.raises(ValueError, match="n_regimes must be at least 2"):
        RegimeClusters(1)
    ones = np.ones(100)
    with pytest.raises(ValueError, match="100 candles hold 1 states; 3 regimes need more"):
        RegimeClusters().fit(Candles(60_000 * np.arange(100), ones, ones, ones, ones, ones))
    with pytest.raises(ValueError, match="hold 0 states"):
        RegimeClusters().fit(MARKET[:10])
