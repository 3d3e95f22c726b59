import numpy as np
import pytest
from scipy.special import ndtr

from fastkd.features import Direction, FeatureSet, Standardizer, direction_labels, time_split
from fastkd.market import Candles, SyntheticMarket, synthetic_market


@pytest.fixture(scope="module")
def market():
    return synthetic_market(50_000, random_state=0)


def test_candles_are_valid_and_continuous(market):
    assert isinstance(market, Candles)
    assert len(market) == 50_000
    assert market.check().ok
    assert (market.open[1:] == market.close[:-1]).all()
    assert market.volume.min() > 0
    assert not np.isnan(market.turnover).any()
    assert 0.001 < np.std(np.diff(np.log(market.close))) < 0.003


def test_same_seed_same_candles():
    a, b, c = (synthetic_market(500, random_state=seed) for seed in (1, np.random.default_rng(1), 2))
    assert a == b
    assert (a.bayes_proba == b.bayes_proba).all()
    assert a != c


@pytest.mark.parametrize("threshold", [0.0, 0.0005, 0.001, 0.002])
def test_probabilities_are_calibrated(threshold):
    market = synthetic_market(30_000, random_state=3, threshold=threshold)
    proba, labels = market.bayes_proba[:-1], direction_labels(market, threshold)[:-1]
    np.testing.assert_allclose(proba.sum(axis=1), 1.0, rtol=0, atol=1e-12)
    assert proba.min() >= 0
    for move in Direction:
        p = proba[:, move]
        for part in np.array_split(np.argsort(p), 10):  # frequency in ten groups of like probability
            error = np.sqrt((p[part] * (1 - p[part])).sum()) + 1e-9
            assert abs((labels[part] == move).sum() - p[part].sum()) < 4 * error


def test_the_best_forecast_reaches_bayes_accuracy(market):
    proba, labels = market.bayes_proba[:-1], direction_labels(market)[:-1]
    best = proba.max(axis=1)
    hits = (proba.argmax(axis=1) == labels).mean()
    assert abs(hits - market.bayes_accuracy) < 4 * np.sqrt((best * (1 - best)).mean() / len(best))
    assert 0.70 < market.bayes_accuracy < 0.75
    shares = np.bincount(labels) / len(labels)
    np.testing.assert_allclose(shares, [0.3, 0.42, 0.28], atol=0.03)


def test_probabilities_follow_the_documented_formula_on_the_features(market):
    """So row t depends on candles t - 1 and t alone: the features do not look ahead."""
    X, _ = FeatureSet("ohlcv4", volume_change="raw").transform(market)
    r, body, upper, ratio = X.T
    p = 2.3 * (2 * upper + body - 1) + 1.4 * np.tanh(np.log(ratio) / 0.6) + 0.33 * np.tanh(r / 0.002)
    mu = np.where(body < 0.5, 0.0027 * np.tanh(1.5 * (np.sqrt((p + 0.5) ** 2 + 0.05) - 1.042)), 0)
    sigma = np.where(body < 0.5, 0.0014, 0.0007)
    np.testing.assert_allclose(market.bayes_proba[1:, 0], ndtr((-0.001 - mu) / sigma), rtol=0, atol=1e-8)
    np.testing.assert_allclose(market.bayes_proba[1:, 2], ndtr((mu - 0.001) / sigma), rtol=0, atol=1e-8)


def test_volatility_comes_in_clusters(market):
    size = np.abs(np.diff(np.log(market.close)))
    lagged = [np.corrcoef(size[:-k], size[k:])[0, 1] for k in (1, 10, 30)]
    assert min(lagged) > 5 / np.sqrt(len(size))


def test_prices_have_no_strong_drift():
    moves = [np.log(synthetic_market(20_000, random_state=s).close[-1] / 100.0) for s in range(8)]
    assert abs(np.mean(moves)) < 1.0


def test_slices_keep_their_probabilities(market):
    part = market[100:200]
    assert isinstance(part, SyntheticMarket)
    assert (part.bayes_proba == market.bayes_proba[100:200]).all()
    assert part.bayes_accuracy == market.bayes_proba[100:200].max(axis=1).mean()
    with pytest.raises(ValueError, match="read-only"):
        part.bayes_proba[0] = 0


def test_arguments():
    market = synthetic_market(3, random_state=0, interval="60", symbol="XY", start_ms=7_200_000, price=5.0)
    assert (market.symbol, market.interval, market.open[0]) == ("XY", "1h", 5.0)
    assert market.start_ms.tolist() == [7_200_000, 10_800_000, 14_400_000]
    assert len(synthetic_market(1, random_state=0)) == 1
    for n in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="n must be"):
            synthetic_market(n)
    with pytest.raises(ValueError, match="threshold"):
        synthetic_market(3, threshold=-0.1)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_small_network_comes_near_the_best_forecast_and_a_linear_model_does_not():
    linear_model = pytest.importorskip("sklearn.linear_model")
    neural_network = pytest.importorskip("sklearn.neural_network")
    market = synthetic_market(20_000, random_state=0)
    X, _ = FeatureSet("ohlcv4").transform(market)
    X, y, proba = X[:-1], direction_labels(market)[1:-1], market.bayes_proba[1:-1]
    train, test = time_split(len(X), purge=1)
    scaler = Standardizer().fit(X[train])
    Z, Z_test = scaler.transform(X[train]), scaler.transform(X[test])
    majority = (y[test] == np.bincount(y[train]).argmax()).mean()
    best = (proba[test].argmax(axis=1) == y[test]).mean() - majority
    linear = linear_model.LogisticRegression().fit(Z, y[train]).score(Z_test, y[test]) - majority
    network = neural_network.MLPClassifier((32, 16), random_state=0, max_iter=15, learning_rate_init=3e-3)
    gain = network.fit(Z, y[train]).score(Z_test, y[test]) - majority
    assert linear < 0.75 * best
    assert 0.93 * best < gain


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf")])
def test_price_must_be_a_price(price):
    with pytest.raises(ValueError, match="price"):
        synthetic_market(10, price=price)
