"""A self-check of speed: a few workloads of this package beside NumPy and whatever peer is installed."""

from __future__ import annotations

import gc
import importlib.util
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from fastkd.experiments.latency import numpy_forward

__all__ = ["WORKLOADS", "measure"]

Call = Callable[[], Any]
Calls = dict[str, Call]


def measure(what: str, make: Callable[[], Calls], seconds: float) -> list[dict[str, Any]]:
    """A row for each peer: smallest time a call of fastkd and of the peer, in turn, garbage collection off.

    `make` gives the calls by name, "fastkd" among them.
    """
    calls = make()
    loops = {name: _loops(call) for name, call in calls.items()}
    best = dict.fromkeys(calls, np.inf)
    end = perf_counter() + seconds
    enabled = gc.isenabled()
    gc.disable()
    try:
        while True:
            for name, call in calls.items():
                n = loops[name]
                start = perf_counter()
                for _ in range(n):
                    call()
                best[name] = min(best[name], (perf_counter() - start) / n)
            if perf_counter() >= end:
                break
    finally:
        if enabled:
            gc.enable()
    ours = best.pop("fastkd")
    return [{"what": what, "fastkd": ours, "other": name, "theirs": theirs} for name, theirs in best.items()]


def _loops(call: Call) -> int:
    """As many calls as take about a millisecond; the first one warms up."""
    call()
    start = perf_counter()
    call()
    return max(1, int(1e-3 / max(perf_counter() - start, 1e-7)))


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def one_forecast() -> Calls:
    """A student of 17-32-16-3, one row."""
    from fastkd.models import MLPClassifier

    rng = np.random.default_rng(0)
    model = MLPClassifier((32, 16), random_state=0).initialize(17, 3)
    predict, row = model.predictor(), rng.normal(size=17).astype(np.float32)
    out = predict(row)
    plain = numpy_forward((17, 32, 16, 3), model.parameters)
    calls: Calls = {"fastkd": lambda: predict(row, out=out), "NumPy": lambda: plain(row)}
    if _has("sklearn"):
        from sklearn.neural_network import MLPClassifier as Peer

        X, y = rng.normal(size=(100, 17)), np.arange(100) % 3
        peer = Peer((32, 16), max_iter=1).partial_fit(X, y, classes=[0, 1, 2])
        calls["scikit-learn"] = lambda: peer.predict_proba(X[:1])
    return calls


def many_forecasts() -> Calls:
    """The same student, 10,000 rows."""
    from fastkd.models import MLPClassifier

    model = MLPClassifier((32, 16), random_state=0).initialize(17, 3)
    rows = np.random.default_rng(0).normal(size=(10_000, 17)).astype(np.float32)
    predict, plain = model.predictor(), numpy_forward((17, 32, 16, 3), model.parameters)
    return {"fastkd": lambda: predict(rows), "NumPy": lambda: plain(rows)}


def soft_labels() -> Calls:
    """Softmax at a temperature of 100,000 rows of 3 classes."""
    from fastkd.losses import softmax

    z = np.random.default_rng(0).normal(size=(100_000, 3)).astype(np.float32)

    def plain() -> np.ndarray:
        e = np.exp((z - z.max(axis=1, keepdims=True)) / 2.0)
        return e / e.sum(axis=1, keepdims=True)

    calls: Calls = {"fastkd": lambda: softmax(z, 2.0), "NumPy": plain}
    if _has("scipy"):
        from scipy.special import softmax as theirs

        calls["SciPy"] = lambda: theirs(z / 2.0, axis=1)
    return calls


def robust_median() -> Calls:
    """Coordinate-wise median of 21 updates of 100,000 parameters."""
    from fastkd.aggregate import median

    updates = np.random.default_rng(0).normal(size=(21, 100_000)).astype(np.float32)
    return {"fastkd": lambda: median(updates), "NumPy": lambda: np.median(updates, axis=0)}


def robust_krum() -> Calls:
    """Krum of 21 updates of 100,000 parameters, 5 of them hostile."""
    from fastkd.aggregate import krum

    updates = np.random.default_rng(0).normal(size=(21, 100_000)).astype(np.float32)

    def plain() -> np.ndarray:
        norms = (updates**2).sum(axis=1)
        d = np.sort(norms[:, None] + norms - 2.0 * updates @ updates.T, axis=1)
        return updates[d[:, 1:15].sum(axis=1).argmin()]

    return {"fastkd": lambda: krum(updates, 5), "NumPy": plain}


def features_of_a_table() -> Calls:
    """The rich recipe of 10,000 candles, without scaling."""
    from fastkd.features import FeatureSet
    from fastkd.market import synthetic_market

    candles, features = synthetic_market(10_000, random_state=0), FeatureSet("rich")
    calls: Calls = {"fastkd": lambda: features.transform(candles)}
    if _has("pandas"):
        frame = candles.to_frame()

        def pandas_half() -> Any:
            """Not even half of the columns: the volatilities and returns."""
            import numpy

            close = numpy.log(frame["close"])
            squares = close.diff() ** 2
            return [close.diff(k) for k in (1, 3, 12, 48)] + [squares.rolling(w).mean() ** 0.5 for w in (12, 48)]

        calls["pandas (6 of 17 columns)"] = pandas_half
    return calls


def training() -> Calls:
    """One epoch of 20,000 rows, 17-32-16-3, batches of 128."""
    from fastkd.models import MLPClassifier

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20_000, 17)).astype(np.float32), rng.integers(0, 3, 20_000)
    model = MLPClassifier((32, 16), batch_size=128, random_state=0).initialize(17, 3)
    calls: Calls = {"fastkd": lambda: model.partial_fit(X, y)}
    if _has("sklearn"):
        from sklearn.neural_network import MLPClassifier as Peer

        peer = Peer((32, 16), batch_size=128, random_state=0)
        calls["scikit-learn"] = lambda: peer.partial_fit(X, y, classes=[0, 1, 2])
    return calls


WORKLOADS: dict[str, Callable[[], Calls]] = {
    "forecast, one row": one_forecast,
    "forecast, 10,000 rows": many_forecasts,
    "softmax, 100,000 rows": soft_labels,
    "median of 21 updates of 100,000": robust_median,
    "Krum of 21 updates of 100,000": robust_krum,
    "17 features of 10,000 candles": features_of_a_table,
    "training, one epoch of 20,000 rows": training,
}
