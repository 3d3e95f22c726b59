"""The road of a new user on a local exchange: fetch, distill, live; what runs live is what the table says."""

import json

import numpy as np
import pytest

import fastkd
from fastkd import cli
from fastkd.market import Candle, Candles, CandleStore, synthetic_market
from fastkd.market.emulator import BybitEmulator

pytest.importorskip("websockets")
pytest.importorskip("cyclopts")
STEP = 300_000


@pytest.fixture(scope="module")
def candles():
    market = synthetic_market(2000, random_state=0)
    return Candles(*(getattr(market, name) for name in Candle._fields), symbol="BTCUSDT", interval="5m")


def playing(candles, closed, steps):
    """An exchange at the time when so many candles have closed; each subscription lets some more close."""
    remaining = iter(steps)

    def play(exchange, topics):
        for _ in range(next(remaining, 0)):
            exchange.advance(exchange.now_ms + STEP)

    return BybitEmulator(candles, now_ms=int(candles.start_ms[closed]) + 5000, on_subscribe=play)


def run(capsys, *arguments):
    code = cli.main([str(a) for a in arguments])
    return code, *capsys.readouterr()


@pytest.fixture(scope="module")
def model(candles, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "btc.safetensors"
    fastkd.Forecaster(kd_weight=0.0, random_state=0).fit(candles[:1500], category="linear").save(path)
    return path


def matches(decisions, model, candles):
    proba, known = fastkd.load(model).predict_proba(candles)
    for decision in decisions:
        want = proba[np.flatnonzero(known == decision["known_at_ms"])[0]]
        assert np.array_equal(np.array(decision["answer"], np.float32), want)
        assert decision["forecast"] == ("DOWN", "FLAT", "UP")[int(want.argmax())]


def test_fetch_distill_live(capsys, candles, tmp_path):
    store, model = tmp_path / "candles.db", tmp_path / "btc.safetensors"
    with playing(candles, 1600, [12]) as exchange:
        host = ["--base-url", exchange.base_url]
        fetch = ["fetch", "BTCUSDT", "5m", "--start", "2024-01-01", "--store", store, "--per-second", 1000]
        assert run(capsys, *fetch, *host)[0] == 0
        small = ["--teacher-epochs", 1, "--student-epochs", 1]
        assert run(capsys, "distill", store, "--output", model, *small)[0] == 0
        assert (fastkd.load(model).symbol, fastkd.load(model).interval) == ("BTCUSDT", "5m")
        live = ["live", model, "--store", store, "--stop-after", 10, "--stream-url", exchange.stream_url]
        code, out, err = run(capsys, *live, *host)
    assert code == 0, err
    decisions = [json.loads(line) for line in out.splitlines()]
    assert [d["known_at_ms"] for d in decisions] == candles.close_ms[1600:1610].tolist()
    matches(decisions, model, candles)
    with CandleStore(store) as held:
        assert len(held.read("BTCUSDT", "5m")) == 1610
    assert "live: BTCUSDT 5m" in err


def test_without_a_store_the_exchange_warms_it_up(capsys, candles, model, tmp_path):
    with playing(candles, 1700, [6]) as exchange:
        host = ["--base-url", exchange.base_url, "--stream-url", exchange.stream_url]
        log = tmp_path / "log.jsonl"
        more = ["--symbol", "BTCUSDT", "--stop-after", 5, "--log", log, "--quiet"]
        assert run(capsys, "live", model, *more, *host) == (0, "", "")
    decisions = [json.loads(line) for line in log.read_text().splitlines()]
    assert [d["known_at_ms"] for d in decisions] == candles.close_ms[1700:1705].tolist()
    matches(decisions, model, candles)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--stop-after", "0"], "--stop-after"),
        (["--retrain"], "--retrain needs --store"),
        (["--log", "/no/such/folder/log"], "no folder"),
        (["--on-gap", "jump"], "on-gap"),
    ],
)
def test_mistakes_are_one_line(capsys, model, more, words):
    code, out, err = run(capsys, "live", model, *more)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def test_a_model_without_a_symbol_says_so(capsys, candles, tmp_path):
    fastkd.Forecaster("ohlcv4", kd_weight=0.0, random_state=0).fit(candles[:500].named(None)).save(tmp_path / "m")
    code, _, err = run(capsys, "live", tmp_path / "m")
    assert code == 2
    assert "give --symbol" in err
