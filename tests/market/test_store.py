"""The candle store: writing, reading, downloading, and several threads and processes at once."""

import sqlite3
import threading

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastkd.market import Candle, CandleError, Candles, CandleStore, UnknownSymbol
from fastkd.market.emulator import BybitEmulator, Fault

START = 1_704_067_200_000
STEP = 300_000


@pytest.fixture
def store(tmp_path):
    with CandleStore(tmp_path / "candles.db") as store:
        yield store


def rows(numbers, value=1.0, symbol="XUSDT", interval="5m"):
    columns = [np.full(len(numbers), value)] * 6
    return Candles([START + STEP * n for n in numbers], *columns, symbol=symbol, interval=interval)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sets(st.integers(0, 2000), min_size=1, max_size=40), st.floats(0.5, 1e9)), max_size=5))
def test_writing_is_what_a_dictionary_does(tmp_path_factory, writes):
    expected = {}
    with CandleStore(tmp_path_factory.mktemp("store") / "c.db") as store:
        for numbers, value in writes:
            for _ in range(2):  # writing twice is writing once
                store.write(rows(sorted(numbers), value))
            expected |= dict.fromkeys(numbers, value)
        held = store.read("XUSDT", "5m")
        assert held.start_ms.tolist() == [START + STEP * n for n in sorted(expected)]
        assert held.close.tolist() == [expected[n] for n in sorted(expected)]
        missing = {(gap.start_ms - START) // STEP + i for gap in store.gaps("XUSDT", "5m") for i in range(gap.missing)}
        assert missing == set(range(min(expected, default=0), max(expected, default=0))) - set(expected)


@pytest.mark.parametrize(
    ("a", "b"), [(0, 2999), (10, 20), (500, 1030), (511, 512), (-5, 3), (2990, 4000), (4000, 5000)]
)
def test_a_range_is_inclusive_at_both_ends(store, candles, a, b):
    store.write(candles)
    low, high = START + a * STEP, START + b * STEP
    expected = candles[max(a, 0) : b + 1]
    assert list(store.read("BTCUSDT", "5m", low, high)) == list(expected)
    assert list(store.read("BTCUSDT", "5", low - 1, high + 1)) == list(expected)


def test_bits_survive(store):
    values = np.array([0.1 + 0.2, 1e-300, 1e300, np.nextafter(1, 2), 5e-324, 123456789.123456789])
    written = Candles(START + STEP * np.arange(6), *[values] * 5, [np.nan, *values[1:]], symbol="XUSDT", interval="5m")
    store.write(written)
    read = store.read("XUSDT", "5m")
    for name in Candle._fields:
        assert getattr(read, name).tobytes() == getattr(written, name).tobytes()


def test_category_symbol_and_interval_are_kept_apart(store):
    store.write(rows([1, 2], 1.0))
    store.write(rows([1, 2, 3], 2.0), "spot")
    store.write(rows([1], 3.0, symbol="YUSDT"))
    store.write(rows([12], 4.0, interval="1h"))
    assert store.read("XUSDT", "5m").close.tolist() == [1.0, 1.0]
    assert store.read("XUSDT", "5m", category="spot").close.tolist() == [2.0, 2.0, 2.0]
    assert len(store.read("XUSDT", "15m")) == len(store.read("ZUSDT", "5m")) == 0
    assert [tuple(one) for one in store.series()] == [
        ("linear", "XUSDT", "1h", START + 12 * STEP, START + 12 * STEP, 1),
        ("linear", "XUSDT", "5m", START + STEP, START + 2 * STEP, 2),
        ("linear", "YUSDT", "5m", START + STEP, START + STEP, 1),
        ("spot", "XUSDT", "5m", START + STEP, START + 3 * STEP, 3),
    ]


def test_bad_candles_are_refused_whole(store):
    good = rows([1, 2, 3])
    store.write(good)
    for bad in (rows([5, 4]), rows([4, 4]), rows([4], -1.0)):
        with pytest.raises(CandleError):
            store.write(bad)
    with pytest.raises(CandleError, match="symbol"):
        store.write(rows([4], symbol=None))
    assert store.read("XUSDT", "5m") == good


def test_a_write_that_fails_midway_changes_nothing(store, candles, monkeypatch):
    store.write(candles[:100])
    calls = []

    def fail(table):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return table.tobytes()

    monkeypatch.setattr("fastkd.market.store.to_blob", fail)
    with pytest.raises(KeyboardInterrupt):
        store.write(candles)
    monkeypatch.undo()
    assert store.read("BTCUSDT", "5m") == candles[:100]
    store.write(candles)
    assert store.read("BTCUSDT", "5m") == candles


def test_export_and_import(store, candles, tmp_path):
    store.write(candles)
    held = store.read("BTCUSDT", "5m")
    held.to_csv(tmp_path / "c.csv.gz")
    held.to_parquet(tmp_path / "c.parquet")
    imported = [
        Candles.read_csv(tmp_path / "c.csv.gz", symbol="BTCUSDT"),
        Candles.read_parquet(tmp_path / "c.parquet"),
        Candles.from_frame(held.to_frame("pandas"), symbol="BTCUSDT"),
        Candles.from_frame(held.to_frame("polars"), symbol="BTCUSDT"),
    ]
    for k, one in enumerate(imported):
        store.write(one, category=["spot", "inverse", "linear", "linear"][k])
        assert one == candles
    assert store.read("BTCUSDT", "5m", category="inverse") == candles


def test_parquet_files_of_others_are_read(tmp_path, candles):
    pytest.importorskip("pyarrow")
    frame = candles[:5].to_frame("pandas")
    frame["start_ms"] = pd.to_datetime(frame["start_ms"], unit="ms")
    frame["extra"] = "x"
    frame.to_parquet(tmp_path / "pandas.parquet")
    assert Candles.read_parquet(tmp_path / "pandas.parquet", symbol="BTCUSDT", interval="5m") == candles[:5]
    pl.DataFrame({"start_ms": [1], "open": [1.0]}).write_parquet(tmp_path / "few.parquet")
    with pytest.raises(CandleError, match=r"few\.parquet.*high"):
        Candles.read_parquet(tmp_path / "few.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(CandleError, match=r"bad\.parquet"):
        Candles.read_parquet(tmp_path / "bad.parquet")
    with pytest.raises(FileNotFoundError):
        Candles.read_parquet(tmp_path / "none.parquet")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text.db").write_text("no database" * 200)
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(CandleError, match="not a candle store"):
        CandleStore(tmp_path / "text.db")
    with pytest.raises(CandleError, match="another program"):
        CandleStore(tmp_path / "other.db")
    with pytest.raises(CandleError, match="folder"):
        CandleStore(tmp_path / "none" / "c.db")
    with CandleStore(tmp_path / "later.db") as store:
        store._connection().execute("PRAGMA user_version = 9")
    with pytest.raises(CandleError, match="version 9"):
        CandleStore(tmp_path / "later.db")
    with pytest.raises(ValueError, match="closed"):
        store.read("XUSDT", "5m")


def test_a_download_asks_only_for_what_is_missing(store, candles, connect):
    with BybitEmulator(candles) as exchange:
        client = connect(exchange)
        end = START + 1499 * STEP

        def asked(*arguments, **options):
            before = len(exchange.requests)
            report = store.download(client, "BTCUSDT", "5m", *arguments, **options)
            windows = [(int(r.params["start"]), int(r.params["end"])) for r in exchange.requests[before:]]
            return report.received, [((a - START) // STEP, (b - START) // STEP) for a, b in windows]

        assert asked(START, end) == (1500, [(0, 999), (1000, 1499)])
        assert asked(START, end - STEP) == (0, [])  # all is there
        assert asked(START, end) == (1, [(1499, 1499)])  # the last one might not have been final
        assert asked(START, end + 10 * STEP) == (11, [(1499, 1509)])
        received, windows = asked()  # from the last stored one up to now
        assert (received, windows[0][0], windows[-1][1]) == (3000 - 1509, 1509, 2999)
        assert store.read("BTCUSDT", "5m") == candles


def test_time_before_the_listing_is_asked_for_once(store, candles, connect):
    with BybitEmulator(candles) as exchange:
        client = connect(exchange)
        early = START - 1500 * STEP
        store.download(client, "BTCUSDT", "5m", START + 500 * STEP)
        assert store.download(client, "BTCUSDT", "5m", early).received == 500 + 1
        before = len(exchange.requests)
        assert store.download(client, "BTCUSDT", "5m", early).received == 1
        assert len(exchange.requests) == before + 1
        assert store.read("BTCUSDT", "5m") == candles


def test_a_stopped_download_goes_on(store, candles, connect):
    class Stop(Exception):
        pass

    def stop(progress):
        assert store.read("BTCUSDT", "5m").start_ms[-1] == progress.done_ms  # committed before it is told
        raise Stop

    with BybitEmulator(candles) as exchange:
        for n in range(1, 30):
            with pytest.raises(Stop):
                store.download(connect(exchange), "BTCUSDT", "5m", START, limit=100, workers=3, progress=stop)
            assert store.read("BTCUSDT", "5m") == candles[: 100 * n - (n - 1)]  # each fetches the last one again


def test_progress_counts_up_to_the_end(store, candles, connect):
    seen = []
    with BybitEmulator(candles) as exchange:
        store.download(connect(exchange), "BTCUSDT", "5m", START, progress=seen.append)
        assert [at.received for at in seen] == [1000, 2000, 3000]
        assert {(at.start_ms, at.until_ms) for at in seen} == {(START, exchange.now_ms)}
        assert seen[-1].done_ms == candles.start_ms[-1]


def test_errors_of_a_download(store, candles, connect):
    with BybitEmulator(candles) as exchange:
        with pytest.raises(ValueError, match="nothing of BTCUSDT 5m is stored"):
            store.download(connect(exchange), "BTCUSDT", "5m")
        with pytest.raises(UnknownSymbol):
            store.download(connect(exchange), "NOPEUSDT", "5m", START)
        assert store.series() == []


def test_readers_see_whole_pages_while_several_symbols_are_downloaded(store, candles, connect):
    served = [Candles(*_columns(candles), symbol=f"X{k}USDT", interval="5m") for k in range(4)]
    errors, reads, done = [], [], threading.Event()

    def read(symbol):
        try:
            while True:
                last_round = done.is_set()
                held = store.read(symbol, "5m")
                assert list(held) == list(candles[: len(held)])
                assert len(held) % 100 == 0
                reads.append(len(held))
                if last_round:
                    return
        except BaseException as error:
            errors.append(error)

    with BybitEmulator(served, faults=lambda r: Fault.RESET if r.number % 20 == 0 else None) as exchange:
        client = connect(exchange)
        readers = [threading.Thread(target=read, args=(f"X{k}USDT",)) for k in (0, 3)]
        writers = [
            threading.Thread(
                target=store.download,
                args=(client, one.symbol, "5m", START, START + 2999 * STEP),
                kwargs={"limit": 100},
            )
            for one in served
        ]
        for thread in readers + writers:
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        for thread in readers:
            thread.join()
    assert errors == []
    assert len(set(reads)) > 2  # they did see it grow
    assert [store.read(one.symbol, "5m") for one in served] == served


def test_two_stores_of_one_file_take_turns(tmp_path, candles):
    with CandleStore(tmp_path / "c.db") as one, CandleStore(tmp_path / "c.db") as two:
        threads = [
            threading.Thread(target=lambda s=s, k=k: [s.write(candles[i : i + 7]) for i in range(k, 700, 14)])
            for s, k in ((one, 0), (two, 7))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert one.read("BTCUSDT", "5m") == two.read("BTCUSDT", "5m") == candles[:700]


def _columns(candles):
    return [getattr(candles, name) for name in Candle._fields]


def test_a_range_that_ends_before_the_stored_candles_hides_nothing_between(store, candles, connect):
    with BybitEmulator(candles) as exchange:
        client = connect(exchange)
        store.download(client, "BTCUSDT", "5m", START + 2000 * STEP)
        early = START - 1500 * STEP
        assert store.download(client, "BTCUSDT", "5m", early, START - 500 * STEP).received == 0
        store.download(client, "BTCUSDT", "5m", early)
        assert store.read("BTCUSDT", "5m") == candles


def test_ranges_and_categories_are_checked(store, candles, connect):
    store.write(candles)
    with pytest.raises(ValueError, match="start must not be later than end"):
        store.read("BTCUSDT", "5m", START + STEP, START)
    with BybitEmulator(candles) as exchange, pytest.raises(ValueError, match="start must not be later than end"):
        store.download(connect(exchange), "BTCUSDT", "5m", START + STEP, START)
    with pytest.raises(ValueError, match="category"):
        store.read("BTCUSDT", "5m", category="lineer")
    with pytest.raises(ValueError, match="category"):
        store.write(candles, category="foo")


def test_a_damaged_block_is_told(store, candles):
    store.write(candles)
    with store._transaction() as database:
        database.execute("UPDATE blocks SET data = substr(data, 1, 100)")
    with pytest.raises(CandleError, match="damaged"):
        store.read("BTCUSDT", "5m")
