"""The live loop on an exchange that drops connections and answers wrongly: the decisions of the table, none missing."""

import asyncio
import contextlib
import json
import threading
from concurrent.futures import Future

import numpy as np
import pytest

from fastkd.deploy import RiskMonitor
from fastkd.distill import AdaptiveSchedule
from fastkd.features import FeatureSet
from fastkd.forecast import LiveForecaster
from fastkd.forecast.loop import LiveLoop, run_live
from fastkd.market import BybitClient, BybitStream, Candles, CandleStore, RequestGate, synthetic_market
from fastkd.market.emulator import BybitEmulator, Fault
from fastkd.market.stream import LiveCandle
from fastkd.models import MLPClassifier

STEP = 300_000
COLUMNS = ("start_ms", "open", "high", "low", "close", "volume", "turnover")
NAMES = ("DOWN", "FLAT", "UP")


@pytest.fixture(scope="module")
def candles():
    market = synthetic_market(3000, random_state=0, interval="5m")
    return Candles(*(getattr(market, name) for name in COLUMNS), symbol="BTCUSDT", interval="5m")


FEATURES = FeatureSet("rich")


def student(candles, seed=0):
    X, _ = FEATURES.transform(candles)
    y = np.random.default_rng(seed).integers(0, 3, len(X))
    return MLPClassifier(hidden=(8,), epochs=1, scale="standard", random_state=seed).fit(X, y)


def client_of(exchange):
    now = [1000.0]
    gate = RequestGate(1e6, clock=lambda: now[0], sleep=lambda s: now.__setitem__(0, now[0] + s))
    return BybitClient(exchange.base_url, random_state=0, gate=gate)


def playing(start_ms, steps):
    remaining = iter(steps)

    def play(exchange, topics):
        for _ in range(next(remaining, 0)):
            exchange.advance(exchange.now_ms + STEP, confirmations=2)

    return {"now_ms": start_ms + 5000, "on_subscribe": play}


def live_candles(candles):
    return [LiveCandle("BTCUSDT", "5m", candle) for candle in candles]


class AtOnce:
    """Threads without threads, for tests that know what comes when."""

    def submit(self, function, *arguments):
        future = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, **_):
        pass


def test_thousands_of_candles_through_a_bad_connection_give_the_decisions_of_the_table(candles, tmp_path):
    model, start = student(candles[:1000]), int(candles.start_ms[1000])
    steps = [700, 1, 500, 300, 493]
    faults = dict(enumerate((Fault.RESET, Fault.TRUNCATED_JSON, Fault.BAD_GATEWAY), start=2))
    log, seen = tmp_path / "decisions.jsonl", []
    with (
        CandleStore(tmp_path / "candles.db") as store,
        BybitEmulator(candles, drop_after=[350, 0, 200, 100], faults=faults, **playing(start, steps)) as exchange,
    ):
        store.write(candles[:1000])
        live = LiveForecaster(FEATURES, model, interval="5m", symbol="BTCUSDT")
        live.warm_up(store)
        stream = BybitStream(
            "BTCUSDT", "5m", client=client_of(exchange), start={"BTCUSDT": live.last_ms},
            url=exchange.stream_url, random_state=0,
        )  # fmt: skip
        watch = threading.Timer(120, stream.close)
        watch.start()
        summary = run_live(live, stream, stop_after=1990, names=NAMES, log=log, store=store, on_decision=seen.append)
        watch.cancel()
        stored = store.read("BTCUSDT", "5m")
    expected, known = live.predict_proba(candles)
    assert summary.candles == summary.forecasts == len(seen) == 1990
    assert stored == candles[:2990]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["known_at_ms"] for line in lines] == known[1000 - 48 : 2990 - 48].tolist()
    assert [line["answer"] for line in lines] == expected[1000 - 48 : 2990 - 48].tolist()
    assert [line["forecast"] for line in lines] == [NAMES[i] for i in expected[1000 - 48 : 2990 - 48].argmax(axis=1)]
    assert lines[0].keys() >= {"symbol", "close", "model", "halted", "events"}
    assert {line["model"] for line in lines} == {0}


def test_retraining_swaps_the_model_between_two_candles_and_misses_none(candles):
    """Real threads: from which candle on a model is used is open; that each decision is its row of the table is not."""
    models, begun = [], []

    def retrain(known, step):
        begun.append(known)
        models.append(student(known, seed=len(begun)))
        return models[-1]

    first, seen = student(candles[:1000]), []
    live = LiveForecaster(FEATURES, first, interval="5m", symbol="BTCUSDT")
    live.warm_up(candles[:1000])
    schedule = AdaptiveSchedule(interval=200, interval_range=(200, 200), detector=False)
    with LiveLoop(live, retrain=retrain, schedule=schedule, history=candles[:1000], keep=1200) as loop:
        for live_candle in live_candles(candles[1000:]):
            training = loop._training
            if training is not None and len(seen) % 50 == 0:
                training.exception()  # now and then the loop is slower than the training
            seen.append(loop.take(live_candle))
        tables = [live.predict_proba(candles)[0]] if not models else []
        for model in loop.models:
            X, _ = FEATURES.transform(candles)
            tables.append(model.predict_proba(X))
    assert len(seen) == 2000
    for t, decision in enumerate(seen, start=1000):
        assert decision.answer == tables[decision.model][t - 48].tolist()
    assert len(loop.models) >= 5
    assert loop.models[0] is first
    assert loop.summary.exchanges == len(loop.models) - 1
    assert begun[0] == candles[:1200]
    assert all(len(known) == 1200 for known in begun)
    numbers = [decision.model for decision in seen]
    assert numbers == sorted(numbers)


def test_a_retraining_that_fails_leaves_the_model(candles):
    def fail(known, step):
        raise RuntimeError("no luck")

    live = LiveForecaster(FEATURES, student(candles[:500]), interval="5m")
    live.warm_up(candles[:500])
    loop = LiveLoop(live, retrain=fail, schedule=AdaptiveSchedule(interval=10, interval_range=(10, 10), detector=False))
    loop._threads = AtOnce()
    events = [event for item in live_candles(candles[500:530]) for event in loop.take(item).events]
    assert [e for e in events if "failed" in e] == ["retraining failed, the model stays: RuntimeError: no luck"] * 2
    assert (len(loop.models), loop.summary.exchanges) == (1, 0)
    wrong = LiveLoop(
        live, retrain=lambda known, step: MLPClassifier(hidden=(4,)).initialize(5, 3),
        schedule=AdaptiveSchedule(interval=1, interval_range=(1, 1), detector=False),
    )  # fmt: skip
    wrong._threads = AtOnce()
    events = [event for item in live_candles(candles[530:533]) for event in wrong.take(item).events]
    assert any("retraining failed" in event for event in events)


def test_a_slow_training_is_not_begun_twice(candles):
    release = threading.Event()

    def slow(known, step):
        release.wait(60)
        return student(known)

    live = LiveForecaster(FEATURES, student(candles[:500]), interval="5m")
    live.warm_up(candles[:500])
    schedule = AdaptiveSchedule(interval=5, interval_range=(5, 5), detector=False)
    with LiveLoop(live, retrain=slow, schedule=schedule, history=candles[:500]) as loop:
        events = [event for item in live_candles(candles[500:512]) for event in loop.take(item).events]
        assert events == [
            "retraining begins on 505 candles",
            "retraining is due, but the one before still runs",
        ]
        release.set()
        loop._training.result(60)
        assert "model 1 in use" in loop.take(live_candles(candles[512:513])[0]).events


def test_drift_of_features_and_of_agreement_are_events(candles):
    model = student(candles[:1000])
    wild = np.array(candles.close)
    wild[1500:] *= np.exp(0.02 * np.random.default_rng(0).standard_normal(1500))
    high, low = (
        np.maximum(candles.high, np.maximum(candles.open, wild)),
        np.minimum(candles.low, np.minimum(candles.open, wild)),
    )
    changed = Candles(candles.start_ms, candles.open, high, low, wild, candles.volume, symbol="BTCUSDT", interval="5m")
    when = []
    live = LiveForecaster(FEATURES, model, interval="5m")
    live.warm_up(changed[:1000])
    turned = [False]

    def teacher(rows):
        p = model.predict_proba(rows)
        return np.roll(p, 1, axis=1) if turned[0] else p

    loop = LiveLoop(live, teacher=teacher)
    loop._threads = AtOnce()
    for t, item in enumerate(live_candles(changed[1000:]), start=1000):
        turned[0] = t >= 2200
        when += [(t, event.split(":")[1][:12]) for event in loop.take(item).events]
    assert when
    features = [t for t, event in when if event == " the feature"]
    teachers = [t for t, event in when if event == " the teacher"]
    assert 1500 <= features[0] < 1700
    assert 2200 <= teachers[0] < 2400
    assert loop.summary.asked == 1999
    assert loop.summary.agreed < 1999
    assert loop.summary.drifts == len(when)


def test_the_risk_monitor_sees_every_row(candles):
    model = student(candles[:500])
    live = LiveForecaster(FEATURES, model, interval="5m")
    live.warm_up(candles[:500])
    X, _ = FEATURES.transform(candles)
    limit = float(np.quantile(X[:, 7], 0.9))
    monitor = RiskMonitor(lambda row: row[7], trip=limit, reset=limit / 2)
    loop = LiveLoop(live, risk=monitor)
    twin = RiskMonitor(lambda row: row[7], trip=limit, reset=limit / 2)
    decisions = [loop.take(item) for item in live_candles(candles[500:1500])]
    assert [d.halted for d in decisions] == [twin.update(row) for row in X[500 - 48 : 1500 - 48]]
    assert 0 < sum(d.halted for d in decisions) < 1000
    assert loop.summary.halts == sum("risk: halt" in event for d in decisions for event in d.events) > 0


def test_what_does_not_fit_is_refused(candles):
    live = LiveForecaster(FEATURES, student(candles[:500]), interval="5m")
    with pytest.raises(ValueError, match="go together"):
        LiveLoop(live, retrain=lambda known, step: None)
    with pytest.raises(ValueError, match="one name a class"):
        LiveLoop(live, names=("A", "B"))


def test_async_for_hands_out_the_same_candles_and_closes(candles):
    start = int(candles.start_ms[100])

    async def first(n, stream):
        got = []
        async with contextlib.aclosing(aiter(stream)) as source:
            async for item in source:
                got.append(item)
                if len(got) == n:
                    break
        return got

    with BybitEmulator(candles, drop_after=[17], **playing(start, [40, 40])) as exchange:
        stream = BybitStream("BTCUSDT", "5m", client=client_of(exchange), url=exchange.stream_url, random_state=0)
        got = asyncio.run(asyncio.wait_for(first(80, stream), 60))
    assert [item.candle for item in got] == list(candles[100:180])
    assert stream._closed


def test_async_for_passes_errors_on(candles):
    async def all_of(stream):
        return [item async for item in stream]

    with BybitEmulator(candles, **playing(int(candles.start_ms[100]), [1])) as exchange:
        stream = BybitStream("NOSUCHUSDT", "5m", client=client_of(exchange), url=exchange.stream_url)
        with pytest.raises(ValueError, match="refuses"):
            asyncio.run(asyncio.wait_for(all_of(stream), 60))
