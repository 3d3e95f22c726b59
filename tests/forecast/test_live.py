"""A live forecaster gives the bits of the table, on every instruction set, across restarts, gaps and swaps."""

import copy
import json
import pickle

import numpy as np
import pytest

from fastkd import reference
from fastkd._core import _native
from fastkd.features import FeatureSet
from fastkd.forecast import Forecaster, LiveForecaster
from fastkd.forecast.loop import LiveLoop
from fastkd.market import Candle, CandleError, Candles, CandleStore, synthetic_market
from fastkd.market.stream import LiveCandle
from fastkd.models import LSTMClassifier, MLPClassifier, MLPRegressor

MARKET = synthetic_market(330, random_state=0, interval="5m")
RECIPES = ("ohlcv4", "regime3", "condense6", "rich")
COLUMNS = ("start_ms", "open", "high", "low", "close", "volume")


@pytest.fixture(params=_native.available_isas())
def isa(request):
    before = _native.isa()
    _native._use_isa(request.param)
    yield request.param
    _native._use_isa(before)


def student(
    features, *, kind=MLPClassifier, hidden=(32, 16), activation="relu", dtype="float32", scale="standard", seed=0
):
    X, _ = features.transform(MARKET)
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, len(X)) if kind is MLPClassifier else rng.standard_normal(len(X))
    made = kind(hidden=hidden, activation=activation, dtype=dtype, scale=scale, epochs=1, random_state=seed)
    return made.fit(X, y)


def answers(live, candles):
    given = [live.push(candle) for candle in candles]
    assert [a is None for a in given] == [i < live.n_warmup for i in range(len(candles))]
    return np.array(given[live.n_warmup :])


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(
    ("hidden", "activation", "dtype", "scale"),
    [
        ((32, 16), "relu", "float32", "standard"),
        ((32, 16), "relu", "float64", "minmax"),
        ((7,), "tanh", "float32", None),
        ((100, 33), "gelu", "float32", "robust"),
        ((5, 5, 5), "gelu", "float64", "standard"),
        ((), "relu", "float32", "standard"),
    ],
)
def test_live_answers_are_those_of_the_model_and_of_the_table(isa, name, hidden, activation, dtype, scale):
    features = FeatureSet(name)
    if scale is None:
        features.fit(MARKET[:100])
    model = student(features, hidden=hidden, activation=activation, dtype=dtype, scale=scale)
    live = LiveForecaster(features, model, interval="5m")
    given = answers(live, MARKET)
    table, known = live.predict_proba(MARKET)
    assert given.dtype == table.dtype == dtype
    assert given.tobytes() == table.tobytes()
    assert known[-1] == live.known_at_ms == MARKET.start_ms[-1] + 300_000
    X, _ = features.transform(MARKET)
    assert given.tobytes() == model.predict_proba(X).tobytes()
    assert np.array_equal(live.row, X[-1])


def test_the_model_is_what_the_definition_says():
    """Features, scaler and network from plain NumPy alone."""
    features = FeatureSet("rich", horizons=(1, 5), windows=(4,), volume_window=6)
    model = student(features, dtype="float64")
    X = reference.candle_features("rich", features.options, MARKET, [])
    X = (X - model.scaler_.mean_) / model.scaler_.scale_
    expected = reference.softmax(reference.mlp_forward(model.parameters, model._kernel.sizes, "relu", X), 1.0)
    given = answers(LiveForecaster(features, model, interval="5m"), MARKET)
    assert np.abs(given - expected).max() < 1e-12


def test_regressors_give_values():
    features = FeatureSet("condense6")
    model = student(features, kind=MLPRegressor)
    live = LiveForecaster(features, model, interval="5m")
    given = answers(live, MARKET)
    assert live.classes_ is None
    assert given.shape == (310, 1)
    assert np.array_equal(given[:, 0], model.predict(features.transform(MARKET)[0]))


def test_candles_come_as_tuples_arguments_and_arrays_with_out():
    features = FeatureSet("ohlcv4")
    model = student(features)
    lives = [LiveForecaster(features, model, interval="5m") for _ in range(5)]
    out = np.empty(3, np.float32)
    for candle in MARKET[:40]:
        plain = lives[0].push(candle)
        assert lives[1].push(*candle, out=out) is (None if plain is None else out)
        others = [
            lives[2].push(tuple(candle)[:6]),
            lives[3].push(list(candle)),
            lives[4].push(np.array(candle[:6])),
        ]
        for other in others:
            assert (other is None) if plain is None else other.tobytes() == plain.tobytes() == out.tobytes()
    for bad in (np.empty(4, np.float32), np.empty(3), np.empty((1, 3), np.float32), [0.0] * 3):
        with pytest.raises((TypeError, ValueError)):
            lives[0].push(MARKET[40], out=bad)
    assert lives[0].count == 40  # a wrong out is found before the candle is taken
    with pytest.raises(TypeError, match="got dict"):
        lives[0].push({"open": 1.0})
    with pytest.raises(TypeError, match="LiveCandle"):
        lives[0].push(LiveCandle("X", "5m", MARKET[40]))


def test_a_feature_beyond_the_dtype_gives_nan():
    features = FeatureSet("ohlcv4", volume_change="raw")
    live = LiveForecaster(features, student(features), interval="5m")
    live.push(0, 1.0, 1.0, 1.0, 1.0, 1e-300)
    assert np.isnan(live.push(300_000, 1.0, 1.0, 1.0, 1.0, 1e300)).all()
    assert np.isfinite(live.push(600_000, 1.0, 1.0, 1.0, 1.0, 1e300)).all()


def test_what_may_not_come_next_changes_nothing():
    features = FeatureSet("rich", horizons=(1,), windows=(2,), volume_window=2)
    live = LiveForecaster(features, student(features), interval="5m")
    twin = LiveForecaster(features, live.model, interval="5m")
    for candle in MARKET[:10]:
        live.push(candle)
        twin.push(candle)
    for bad, says in [
        (MARKET[9], "not after the last candle"),
        (MARKET[3], "not after the last candle"),
        (MARKET[12], r"2 candle\(s\) of 5m are missing"),
        (MARKET[10]._replace(start_ms=MARKET[10].start_ms + 1), "not a start of candles of 5m"),
        (MARKET[10]._replace(close=np.nan), "impossible"),
        (MARKET[10]._replace(low=MARKET[10].high * 2), "impossible"),
        (MARKET[10]._replace(start_ms=2**70), "impossible"),
    ]:
        with pytest.raises(CandleError, match=says):
            live.push(bad)
        assert live.state() == twin.state()
    assert live.push(MARKET[10]).tobytes() == twin.push(MARKET[10]).tobytes()


def without(candles, rows):
    return Candles(*(np.delete(getattr(candles, name), rows) for name in COLUMNS), interval="5m")


def test_gaps_are_bridged_as_in_the_table_or_begin_anew(caplog):
    features = FeatureSet("condense6", window=5)
    model = student(features)
    pasted = without(MARKET, [20, 21, 22])
    bridge = LiveForecaster(features, model, interval="5m", on_gap="bridge", symbol="XY")
    assert answers(bridge, pasted).tobytes() == bridge.predict_proba(pasted)[0].tobytes()
    anew = LiveForecaster(features, model, interval="5m", on_gap="reset")
    given = [anew.push(candle) for candle in pasted]
    assert [g is None for g in given] == [i < 5 or 20 <= i < 25 for i in range(len(pasted))]
    assert np.array(given[25:]).tobytes() == anew.predict_proba(MARKET[23:])[0].tobytes()
    assert (bridge.n_gaps, bridge.n_missing) == (anew.n_gaps, anew.n_missing) == (1, 3)
    assert "XY: 3 candle(s) are missing before" in caplog.text


@pytest.mark.parametrize("cut", [0, 1, 30, 49, 120])
@pytest.mark.parametrize("name", RECIPES)
def test_a_saved_state_goes_on_bit_for_bit(name, cut):
    features = FeatureSet(name)
    model = student(features)
    first = LiveForecaster(features, model, interval="5m")
    for candle in MARKET[:cut]:
        first.push(candle)
    saved = json.loads(json.dumps(first.state()))
    second = LiveForecaster(features, model, interval="5m", state=saved)
    copies = [second, copy.deepcopy(first), pickle.loads(pickle.dumps(first))]
    assert second.state() == saved
    for candle in MARKET[cut : cut + 70]:
        one = first.push(candle)
        for two in (other.push(candle) for other in copies):
            assert (one is None and two is None) or one.tobytes() == two.tobytes()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: list(s), "expected what LiveForecaster.state"),
        (lambda s: s | {"format": "fastkd live 9"}, "expected what LiveForecaster.state"),
        (lambda s: s | {"own": s["own"] | {"features": {}}}, "other features"),
        (lambda s: s | {"own": s["own"] | {"interval": "1h"}}, "candles of 1h; this stream takes 5m"),
        (lambda s: s | {"own": s["own"] | {"candles": s["own"]["candles"][::-1]}}, "not after the last"),
        (lambda s: s | {"own": s["own"] | {"candles": s["own"]["candles"] * 9}}, "holds at most"),
        (lambda s: s | {"own": s["own"] | {"candles": [[0, 1.0, 1.0, 1.0, 1.0, -1.0, []]]}}, "impossible"),
        (lambda s: s | {"own": s["own"] | {"candles": [[1, 1.0, 1.0, 1.0, 1.0, 1.0, []]]}}, "not a start"),
        (
            lambda s: s | {"own": s["own"] | {"candles": [[0, 1.0, 1.0, 1.0, 1.0, 1.0, [2.0]]]}},
            "closes of other symbols",
        ),
    ],
)
def test_a_damaged_state_is_refused(change, says):
    features = FeatureSet("ohlcv4")
    live = LiveForecaster(features, student(features), interval="5m")
    for candle in MARKET[:5]:
        live.push(candle)
    with pytest.raises(ValueError, match=says):
        LiveForecaster(features, live.model, interval="5m", state=change(live.state()))


def live_candles(candles):
    return [LiveCandle("BTCUSDT", "5m", candle) for candle in candles]


def test_store_warm_up_stream_and_the_candle_that_both_have(tmp_path):
    """The documented restart: the stream begins with the store's last candle, and after a save with older ones."""
    candles = Candles(*(getattr(MARKET, name) for name in COLUMNS), symbol="BTCUSDT", interval="5m")
    features = FeatureSet("rich")
    model = student(features)
    with CandleStore(tmp_path / "candles.db") as store:
        live = LiveForecaster(features, model, interval="5m", symbol="BTCUSDT")
        with pytest.raises(CandleError, match="holds no candles of BTCUSDT 5m"):
            live.warm_up(store)
        store.write(candles[:200])
        now = live.warm_up(store)
        table, _ = live.predict_proba(candles)
        assert now.tobytes() == table[199 - 48].tobytes()
        given = [answer for _, answer in live.follow(live_candles(candles[199:260]))]
        assert np.array(given).tobytes() == table[200 - 48 : 260 - 48].tobytes()
        again = LiveForecaster(features, model, interval="5m", symbol="BTCUSDT", state=live.state())
        assert again.warm_up(store) is None  # the store ends before the state: nothing new
        assert [a.tobytes() for _, a in again.follow(live_candles(candles[230:300]))] == [
            row.tobytes() for row in table[260 - 48 : 300 - 48]
        ]
        other = candles[299]._replace(close=candles[299].low)
        with pytest.raises(CandleError, match="before, and is"):
            list(again.follow([LiveCandle("BTCUSDT", "5m", other)]))
        with pytest.raises(ValueError, match="takes candles of BTCUSDT; these are of ETHUSDT"):
            list(again.follow([LiveCandle("ETHUSDT", "5m", candles[300])]))
        with pytest.raises(ValueError, match="takes candles of 5m; these are of 1h"):
            again.warm_up(synthetic_market(60, random_state=0, interval="1h"))


def test_a_forecaster_goes_live_on_its_own_market_or_on_one_that_is_named():
    forecaster = Forecaster("ohlcv4", kd_weight=0.0, random_state=0).fit(
        synthetic_market(900, random_state=3, interval="5m")
    )
    live, other = forecaster.live(), forecaster.live(symbol="ETHUSDT")
    table, _ = forecaster.predict_proba(MARKET)
    assert answers(live, MARKET).tobytes() == table.tobytes()
    item = LiveCandle("ETHUSDT", "5m", MARKET[0])
    assert other.is_new(item)
    with pytest.raises(ValueError, match="takes candles of SYNTHETIC; these are of ETHUSDT"):
        live.is_new(item)


def test_many_symbols_have_states_of_their_own():
    features = FeatureSet("rich", horizons=(1, 3), windows=(4,), volume_window=4)
    model = student(features)
    markets = {f"S{i}": synthetic_market(40, random_state=i, interval="5m") for i in range(70)}
    live = LiveForecaster(features, model, interval="5m")
    single = {symbol: LiveForecaster(features, model, interval="5m") for symbol in markets}
    rng = np.random.default_rng(0)
    for t in range(40):
        names = rng.permutation(list(markets)).tolist()
        candles = {symbol: markets[symbol][t] for symbol in names}
        if t == 0:
            candles |= dict.fromkeys(names[:20])
        late = {symbol for symbol in names if candles[symbol] is None}
        for symbol in late:
            del markets[symbol]
        given = live.push_many(candles)
        for row, (symbol, candle) in zip(given, candles.items(), strict=True):
            alone = None if candle is None else single[symbol].push(candle)
            assert np.isnan(row).all() if alone is None else row.tobytes() == alone.tobytes()
        if t == 20:
            live = LiveForecaster(features, model, interval="5m", state=json.loads(json.dumps(live.state())))
    out = np.empty((1, 3), np.float32)
    symbol = next(iter(markets))
    before = live.state()
    for bad in (markets[symbol][39], markets[symbol][39]._replace(start_ms=7)):
        with pytest.raises(CandleError, match=symbol):
            live.push_many({symbol: bad}, out=out)
    good = markets[symbol][39]
    with pytest.raises(CandleError, match="Z"):
        live.push_many({symbol: good._replace(start_ms=good.start_ms + 300_000), "Z": good._replace(low=-1.0)})
    del before["symbols"]
    now = live.state()
    assert now["symbols"][symbol]["candles"][-1][0] == good.start_ms  # nothing was taken


def test_symbols_may_have_networks_of_their_own():
    features = FeatureSet("ohlcv4")
    shared, own = student(features), student(features, hidden=(9,), seed=1)
    live = LiveForecaster(features, shared, interval="5m")
    live.exchange(own, "B")
    for candle in MARKET[:30]:
        rows = live.push_many({"A": candle, "B": candle, "C": candle})
    X, _ = features.transform(MARKET[:30])
    assert rows[0].tobytes() == rows[2].tobytes() == shared.predict_proba(X)[-1].tobytes()
    assert rows[1].tobytes() == own.predict_proba(X)[-1].tobytes()


def test_an_exchanged_model_answers_from_the_next_candle_on():
    features = FeatureSet("rich")
    one, two = student(features), student(features, hidden=(64, 32, 8), seed=1)
    live = LiveForecaster(features, one, interval="5m")
    given = [live.push(candle) for candle in MARKET[:100]]
    live.exchange(two)
    given += [live.push(candle) for candle in MARKET[100:]]
    X, _ = features.transform(MARKET)
    expected = np.concatenate([one.predict_proba(X)[:52], two.predict_proba(X)[52:]])
    assert np.array(given[48:]).tobytes() == expected.tobytes()
    with pytest.raises(ValueError, match="the model forecasts None"):
        live.exchange(student(features, kind=MLPRegressor))
    with pytest.raises(ValueError, match="takes 6 features; the feature set gives 17"):
        live.exchange(student(FeatureSet("condense6")))
    with pytest.raises(ValueError, match="float32 can only be exchanged for such"):
        live.exchange(student(features, dtype="float64"))


def test_other_models_and_months_are_refused():
    features = FeatureSet("ohlcv4")
    windows = LSTMClassifier(units=3, epochs=1, random_state=0).fit(np.zeros((6, 4, 4)), [0, 1, 2] * 2)
    with pytest.raises(TypeError, match="takes windows"):
        LiveForecaster(features, windows, interval="5m")
    with pytest.raises(ValueError, match="no weights yet"):
        LiveForecaster(features, MLPClassifier(), interval="5m")
    with pytest.raises(TypeError, match="needs a fitted MLPClassifier"):
        LiveForecaster(features, object(), interval="5m")
    with pytest.raises(ValueError, match="months"):
        LiveForecaster(features, student(features), interval="1M")
    with pytest.raises(ValueError, match="on_gap must be"):
        LiveForecaster(features, student(features), interval="5m", on_gap="ignore")
    with pytest.raises(ValueError, match="takes 4 features; the feature set gives 3"):
        LiveForecaster(FeatureSet("regime3"), student(features), interval="5m")


def test_features_of_other_symbols():
    features = FeatureSet("rich", horizons=(1, 4), windows=(3,), volume_window=3, symbols=("ETH",))
    eth = synthetic_market(330, random_state=1, interval="5m")
    X, _ = features.transform(MARKET, {"ETH": eth})
    model = MLPClassifier(hidden=(8,), epochs=1, scale="standard", random_state=0).fit(X, np.arange(len(X)) % 3)
    live = LiveForecaster(features, model, interval="5m")
    given = [live.push(candle, others={"ETH": other}) for candle, other in zip(MARKET, eth, strict=True)]
    assert np.array(given[4:]).tobytes() == model.predict_proba(X).tobytes()
    with pytest.raises(ValueError, match="push_many takes no features of other symbols"):
        live.push_many({"A": MARKET[0]})
    with pytest.raises(ValueError, match="take no other symbols"):
        FeatureSet("ohlcv4").stream().push(MARKET[0], {"ETH": eth[0]})


def test_category_of_the_training_chooses_the_series_of_a_store(tmp_path):
    candles = MARKET.named("XUSDT")
    forecaster = Forecaster("ohlcv4", kd_weight=0.0, student=MLPClassifier((4,), epochs=1), random_state=0)
    with pytest.warns(UserWarning, match="say little"):
        forecaster.fit(candles[:300], category="spot")
    with CandleStore(tmp_path / "spot.db") as store:
        store.write(candles, "spot")
        live = forecaster.live()
        np.testing.assert_array_equal(live.warm_up(store), forecaster.predict_proba(candles)[0][-1])
        assert pickle.loads(pickle.dumps(live)).category == "spot"
        with pytest.raises(CandleError, match="linear"):
            forecaster.live().warm_up(store, category="linear")
        nxt = Candle(int(candles.close_ms[-1]), *candles[len(candles) - 1][1:])
        with LiveLoop(live, store=store) as loop:
            loop.take(LiveCandle("XUSDT", "5m", nxt))
        assert {(s.category, s.symbol) for s in store.series()} == {("spot", "XUSDT")}
        assert len(store.read("XUSDT", "5m", category="spot")) == len(candles) + 1


def test_a_state_goes_on_with_its_own_symbol_only():
    features = FeatureSet("ohlcv4")
    live = LiveForecaster(features, student(features), interval="5m", symbol="XUSDT")
    live.warm_up(MARKET[:50].named("XUSDT"))
    state = json.loads(json.dumps(live.state()))
    again = LiveForecaster(features, live.model, interval="5m", symbol="XUSDT", state=state)
    assert again.last_ms == live.last_ms
    with pytest.raises(ValueError, match=r"XUSDT.*YUSDT"):
        LiveForecaster(features, live.model, interval="5m", symbol="YUSDT", state=state)
