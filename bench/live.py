"""From a closed candle to probabilities, one candle at a time; 500 symbols in one call; and tables of features.

Peers get the same candles: river's running scaler and softmax regression on features that are given to it for nothing,
six indicators of talipp, windows of pandas over the last 60 candles, and a scikit-learn pipeline behind given features.
Single candles are clocked call by call (p50, p99, p99.9, less the cost of reading the clock), in alternating blocks.
Run: ``python -m bench.live --json PATH [--quick]``.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bench import common
from bench.common import Contender, optional
from fastkd.features import FeatureSet, direction_labels
from fastkd.forecast import LiveForecaster
from fastkd.market import Candle, Candles, synthetic_market
from fastkd.models import MLPClassifier

RECIPES = ("ohlcv4", "regime3", "condense6", "rich")
HIDDEN = (32, 16)
SYMBOLS = 500
WINDOW = 60
Feed = Callable[[Candle], Any]


def student(features: FeatureSet, candles: Candles) -> MLPClassifier:
    X, _ = features.transform(candles)
    y = direction_labels(candles, threshold="volatility")[features.n_warmup :]
    model = MLPClassifier(hidden=HIDDEN, epochs=2, scale="standard", random_state=0)
    return model.fit(X[y >= 0], y[y >= 0])


def ours(name: str, candles: Candles) -> list[tuple[str, Feed]]:
    features = FeatureSet(name)
    model = student(features, candles)
    plain, filled, arguments = (LiveForecaster(features, model, interval="5m") for _ in range(3))
    out = np.empty(3, np.float32)
    stream = features.stream()

    def push_arguments(candle: Candle) -> Any:
        start, open_, high, low, close, volume, turnover = candle
        return arguments.push(start, open_, high, low, close, volume, turnover, out=out)

    return [
        ("fastkd", plain.push),
        ("fastkd, out=", lambda candle: filled.push(candle, out=out)),
        ("fastkd, arguments, out=", push_arguments),
        ("fastkd, features alone", stream.push),
    ]


def river_feed(linear_model: Any, preprocessing: Any, rows: np.ndarray, y: np.ndarray) -> Feed:
    """Running scaler and softmax regression; its features are ready-made dicts, which costs it nothing."""
    model = preprocessing.StandardScaler() | linear_model.SoftmaxRegression()
    names = [f"x{i}" for i in range(rows.shape[1])]
    dicts = [dict(zip(names, row, strict=True)) for row in rows.tolist()]
    for x, label in zip(dicts[:500], y[:500].tolist(), strict=True):
        model.learn_one(x, label)
    turn = [0]

    def feed(candle: Candle) -> Any:
        turn[0] = (turn[0] + 1) % len(dicts)
        return model.predict_proba_one(dicts[turn[0]])

    return feed


def talipp_feed(indicators: Any, ohlcv: Any) -> Feed:
    by_close = [indicators.EMA(12), indicators.RSI(14), indicators.MACD(12, 26, 9), indicators.BB(20, 2.0)]
    by_candle = [indicators.ATR(14), indicators.OBV()]

    def feed(candle: Candle) -> Any:
        whole = ohlcv.OHLCV(candle.open, candle.high, candle.low, candle.close, candle.volume)
        for indicator in by_close:
            indicator.add(candle.close)
        for indicator in by_candle:
            indicator.add(whole)
        return [indicator[-1] for indicator in (*by_close, *by_candle)]

    return feed


def pandas_feed(pd: Any) -> Feed:
    """condense6 from a frame of the last candles, as many notebooks have it."""
    rows: list[tuple[float, ...]] = []

    def feed(candle: Candle) -> Any:
        rows.append(candle[1:6])
        del rows[:-WINDOW]
        frame = pd.DataFrame(rows, columns=["open", "high", "low", "close", "volume"])
        logs = np.log(frame[["high", "low", "close"]])
        change = logs.diff()
        volatility = (change["close"] ** 2).rolling(20).mean() ** 0.5
        ratio = frame["volume"] / frame["volume"].rolling(20).mean()
        last = change.iloc[-1]
        return [last["close"], last["high"], last["low"], volatility.iloc[-1], ratio.iloc[-1]]

    return feed


def sklearn_feed(rows: np.ndarray, y: np.ndarray) -> Feed:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)).fit(rows[:2000], y[:2000])
    turn = [0]

    def feed(candle: Candle) -> Any:
        turn[0] = (turn[0] + 1) % len(rows)
        return pipeline.predict_proba(rows[turn[0] : turn[0] + 1])

    return feed


def peers(candles: Candles) -> list[tuple[str, Feed]]:
    features = FeatureSet("condense6")
    X, _ = features.transform(candles)
    y = direction_labels(candles, threshold="volatility")[features.n_warmup :]
    X, y = X[y >= 0], y[y >= 0]
    found: list[tuple[str, Feed]] = []
    if (linear := optional("river.linear_model")) and (pre := optional("river.preprocessing")):
        found.append(("river scaler + softmax, no features", river_feed(linear, pre, X, y)))
    if (indicators := optional("talipp.indicators")) and (ohlcv := optional("talipp.ohlcv")):
        found.append(("talipp, 6 indicators, no model", talipp_feed(indicators, ohlcv)))
    if pd := optional("pandas"):
        found.append(("pandas windows, no model", pandas_feed(pd)))
    if optional("sklearn"):
        found.append(("scikit-learn pipeline, no features", sklearn_feed(X, y)))
    return found


def clock_each(
    found: Sequence[tuple[str, Feed]], candles: Sequence[Candle], *, block: int, slow: int
) -> list[Contender]:
    """Every contender takes the candles in order, in blocks that alternate; peers in blocks `slow` times as short."""
    contenders = [Contender(name, feed) for name, feed in found]
    places = [0] * len(found)
    lengths = [block if contender.name.startswith("fastkd") else max(block // slow, 20) for contender in contenders]
    clock = time.perf_counter_ns
    gc.collect()
    gc.disable()
    try:
        for turn in range(len(candles) // block):
            for i in common.rotated(len(found), turn):
                feed, store = found[i][1], contenders[i].latency_ns.append
                part = candles[places[i] : places[i] + lengths[i]]
                places[i] += lengths[i]
                began = clock()
                for candle in part:
                    begin = clock()
                    feed(candle)
                    end = clock()
                    store(end - begin)
                contenders[i].seconds.append((clock() - began) / len(part) * 1e-9)
    finally:
        gc.enable()
    for contender in contenders:
        del contender.latency_ns[:100]  # windows fill, caches warm
    return contenders


def many(name: str, candles: Candles, calls: int) -> Contender:
    """All symbols at once, each with a state of its own."""
    features = FeatureSet(name)
    live = LiveForecaster(features, student(features, candles), interval="5m")
    symbols = [f"S{i}" for i in range(SYMBOLS)]
    out = np.empty((SYMBOLS, 3), np.float32)
    contender = Contender("fastkd", live.push_many)
    clock = time.perf_counter_ns
    for candle in candles[: features.n_warmup + 1 + calls]:
        batch = dict.fromkeys(symbols, candle)
        begin = clock()
        live.push_many(batch, out=out)
        contender.latency_ns.append(clock() - begin)
    del contender.latency_ns[: features.n_warmup + 1]
    contender.seconds = [ns * 1e-9 for ns in contender.latency_ns]
    assert np.isfinite(out).all()
    return contender


def main() -> None:
    options = common.arguments(__doc__)
    n = 6_000 if options.quick else 60_000
    candles = synthetic_market(n, random_state=0, interval="5m")
    listed, timer_ns, cases = list(candles), common.timer_overhead_ns(), []
    for name in RECIPES:
        if options.only in f"candle, {name}":
            found = [*ours(name, candles), *(peers(candles) if name == "condense6" else [])]
            clocked = clock_each(found, listed, block=1_000, slow=10)
            cases.append(common.case("live", f"candle, {name}", clocked, timer_ns=timer_ns))
    for name in RECIPES:
        if options.only in f"{SYMBOLS} symbols, {name}":
            record = many(name, candles, 200 if options.quick else 3_000)
            cases.append(common.case("live", f"{SYMBOLS} symbols, {name}", [record], compare=False))
    for name in RECIPES:
        row = f"transform, {name}, {n} rows"
        if options.only in row:
            features = FeatureSet(name)
            table = [Contender("fastkd", features.transform, (candles,))]
            if (pd := optional("pandas")) and name == "condense6":
                table.append(Contender("pandas", pandas_table, (pd, candles)))
            common.throughput(table, rounds=3 if options.quick else 21)
            for contender in table:
                contender.notes["us a row"] = float(np.median(contender.seconds)) / n * 1e6
            cases.append(common.case("live", row, table))
    common.write("live", options, cases)


def pandas_table(pd: Any, candles: Candles) -> Any:
    frame = candles.to_frame()
    logs = np.log(frame[["high", "low", "close"]])
    change = logs.diff()
    volatility = (change["close"] ** 2).rolling(20).mean() ** 0.5
    ratio = frame["volume"] / frame["volume"].rolling(20).mean()
    return pd.concat([change, volatility, ratio, logs["high"] - logs["low"]], axis=1)


if __name__ == "__main__":
    main()
